"""Tickets of GitHub: the issues of a repository (REST API, version 2022-11-28)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
class GitHub:
    """One repository; see ``TicketService``."""

    client: ServiceClient
    repository: str

    @classmethod
    def of(cls, inputs: TicketServiceInput, context: ActionContext) -> GitHub:
        """The repository of ``inputs``.  Raises ``ActionError`` with code ``invalid_url``."""
        headers = {
            "authorization": f"Bearer {inputs.token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
        }
        return cls(
            ServiceClient(inputs.base, headers, context.egress, f"GitHub at {host_of(inputs.base)}"), inputs.project
        )

    @property
    def who(self) -> str:
        """What messages call it."""
        return self.client.who

    async def find(self, mark: str) -> Ticket | None:
        """By the search, and on the newest pages, which know a ticket before the search does."""
        found, is_sure = await self._search(mark)
        if found is not None:
            return found
        query = {"state": "all", "sort": "created", "direction": "desc", "per_page": str(PAGE)}
        limit = NEWEST_PAGES if is_sure else ALL_PAGES
        async for page in self.client.pages(f"/repos/{self.repository}/issues", query, limit):
            for issue in page:
                if has_mark(issue.get("body"), mark):
                    return self._ticket(issue)
        return None

    async def create(self, inputs: TicketCreateInput, mark: str) -> Ticket:
        """Opens an issue."""
        document: dict[str, Json] = {
            **inputs.fields,
            "title": inputs.title,
            "body": marked(silent(inputs.text), mark),
            "labels": list(inputs.labels),
            "assignees": list(inputs.assignees),
        }
        return self._ticket(await self.client.ask("POST", f"/repos/{self.repository}/issues", document))

    async def find_comment(self, ticket: str, mark: str) -> Comment | None:
        """The list has the oldest first, so it is read from its end."""
        path = f"/repos/{self.repository}/issues/{ticket}/comments"
        async for page in self.client.pages(path, {"per_page": str(PAGE)}, ALL_PAGES, from_last=True):
            for one in page:
                if has_mark(one.get("body"), mark):
                    return self._comment(one)
        return None

    async def comment(self, inputs: TicketCommentInput, mark: str) -> Comment:
        """Writes a comment."""
        path = f"/repos/{self.repository}/issues/{inputs.ticket}/comments"
        return self._comment(await self.client.ask("POST", path, {"body": marked(silent(inputs.text), mark)}))

    async def read(self, ticket: str) -> Ticket:
        """The issue as it is."""
        return self._ticket(await self.client.ask("GET", f"/repos/{self.repository}/issues/{ticket}"))

    async def close(self, inputs: TicketCloseInput) -> None:
        """Closes an issue."""
        document: dict[str, Json] = {"state": "closed", "state_reason": inputs.reason}
        await self.client.ask("PATCH", f"/repos/{self.repository}/issues/{inputs.ticket}", document)

    async def _search(self, mark: str) -> tuple[Ticket | None, bool]:
        """What the search finds, and whether it could answer: it refuses repositories that it has not indexed."""
        query = {"q": f"{mark} in:body type:issue repo:{self.repository}", "per_page": "10"}
        try:
            found = await self.client.ask("GET", "/search/issues", query=query)
        except ActionError as error:
            if error.code != "refused":
                raise
            return None, False
        items = found.get("items") if isinstance(found, dict) else None
        if not isinstance(items, list):
            raise ActionError("bad_answer", f"{self.who} answered a search without items.")
        for issue in items:
            if isinstance(issue, dict) and has_mark(issue.get("body"), mark):
                return self._ticket(issue), True
        return None, not found.get("incomplete_results")

    def _ticket(self, issue: Any) -> Ticket:
        number, state = text_of(issue, "number", self.who), text_of(issue, "state", self.who)
        return Ticket(number, text_of(issue, "html_url", self.who), state == "open")

    def _comment(self, found: Any) -> Comment:
        return Comment(text_of(found, "id", self.who), text_of(found, "html_url", self.who))
