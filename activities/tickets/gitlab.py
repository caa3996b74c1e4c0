"""Tickets of GitLab: the issues of a project (REST API, version 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from activities.action import ActionContext
from activities.errors import ActionError
from activities.rest import host_of
from activities.tickets.models import TicketCloseInput, TicketCommentInput, TicketCreateInput, TicketServiceInput
from activities.tickets.service import (
    ALL_PAGES,
    NEWEST_PAGES,
    PAGE,
    Comment,
    ServiceClient,
    Ticket,
    has_mark,
    marked,
    silent,
    text_of,
)
from playbooks.record import Json


@dataclass(frozen=True, slots=True)
class GitLab:
    """One project; see ``TicketService``."""

    client: ServiceClient
    issues: str

    @classmethod
    def of(cls, inputs: TicketServiceInput, context: ActionContext) -> GitLab:
        """The project of ``inputs``.  Raises ``ActionError`` with code ``invalid_url``."""
        headers = {"authorization": f"Bearer {inputs.token}"}
        client = ServiceClient(f"{inputs.base}/api/v4", headers, context.egress, f"GitLab at {host_of(inputs.base)}")
        return cls(client, f"/projects/{quote(inputs.project, safe='')}/issues")

    @property
    def who(self) -> str:
        """What messages call it."""
        return self.client.who

    async def find(self, mark: str) -> Ticket | None:
        """By the search, and on the newest pages, which know a ticket before the search does."""
        newest = {"scope": "all", "order_by": "created_at", "sort": "desc", "per_page": str(PAGE)}
        for query in ({"scope": "all", "search": mark, "in": "description", "per_page": "10"}, newest):
            async for page in self.client.pages(self.issues, query, NEWEST_PAGES):
                for issue in page:
                    if has_mark(issue.get("description"), mark):
                        return self._ticket(issue)
        return None

    async def create(self, inputs: TicketCreateInput, mark: str) -> Ticket:
        """Opens an issue."""
        assignees: list[Json] = [await self._user(name) for name in inputs.assignees]
        document: dict[str, Json] = {
            **inputs.fields,
            "title": inputs.title,
            "description": marked(harmless(inputs.text), mark),
            "labels": ",".join(inputs.labels),
        }
        if assignees:
            document["assignee_ids"] = assignees
        return self._ticket(await self.client.ask("POST", self.issues, document))

    async def find_comment(self, ticket: str, mark: str) -> Comment | None:
        """Newest first."""
        query = {"sort": "desc", "order_by": "created_at", "per_page": str(PAGE)}
        async for page in self.client.pages(f"{self.issues}/{ticket}/notes", query, ALL_PAGES):
            for note in page:
                if has_mark(note.get("body"), mark):
                    return await self._comment(ticket, note)
        return None

    async def comment(self, inputs: TicketCommentInput, mark: str) -> Comment:
        """Writes a note."""
        document: dict[str, Json] = {"body": marked(harmless(inputs.text), mark)}
        note = await self.client.ask("POST", f"{self.issues}/{inputs.ticket}/notes", document)
        return await self._comment(inputs.ticket, note)

    async def read(self, ticket: str) -> Ticket:
        """The issue as it is."""
        return self._ticket(await self.client.ask("GET", f"{self.issues}/{ticket}"))

    async def close(self, inputs: TicketCloseInput) -> None:
        """Closes an issue."""
        await self.client.ask("PUT", f"{self.issues}/{inputs.ticket}", {"state_event": "close"})

    async def _user(self, name: str) -> int:
        found = await self.client.ask("GET", "/users", query={"username": name})
        for user in found if isinstance(found, list) else []:
            if isinstance(user, dict) and isinstance(user.get("id"), int):
                number: int = user["id"]
                return number
        raise ActionError("unknown_assignee", f"{self.who} has no user {name!r}.", retryable=False)

    def _ticket(self, issue: Any) -> Ticket:
        number, state = text_of(issue, "iid", self.who), text_of(issue, "state", self.who)
        return Ticket(number, text_of(issue, "web_url", self.who), state == "opened")

    async def _comment(self, ticket: str, note: Any) -> Comment:
        number = text_of(note, "id", self.who)
        return Comment(number, f"{(await self.read(ticket)).url}#note_{number}")


def harmless(text: str) -> str:
    """``text`` in which no line is a command such as ``/close``, which GitLab would obey with the token's rights."""
    return re.sub(r"(?m)^(\s*)/(?=\w)", r"\1\\/", silent(text))
