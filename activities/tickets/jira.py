"""Tickets of Jira: Cloud by version 3 of its REST API, Data Center and Server by version 2.

A ticket has its mark as a label, a comment as a property that nobody sees.  The search's index lags behind, and nothing
lists issues without it; but their keys are numbered, so those after the newest that it knows are asked for one by one.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from activities.action import ActionContext
from activities.errors import ActionError
from activities.rest import host_of
from activities.tickets.models import TicketCloseInput, TicketCommentInput, TicketCreateInput, TicketServiceInput
from activities.tickets.service import ALL_PAGES, Comment, ServiceClient, Ticket, text_of
from playbooks.record import Json

NEWEST: Final = 50
PROBES: Final = 100
"""Keys after the newest known one that are asked for at most."""

GAP: Final = 5
"""So many missing keys in a row are the end: issues are deleted and moved away."""

PROPERTY: Final = "stanchion"
FIELDS: Final = "labels,status"


@dataclass(frozen=True, slots=True)
class Jira:
    """One project; see ``TicketService``."""

    client: ServiceClient
    site: str
    project: str
    cloud: bool

    @classmethod
    def of(cls, inputs: TicketServiceInput, context: ActionContext) -> Jira:
        """The project of ``inputs``.  Raises ``ActionError`` with code ``invalid_url``."""
        cloud = inputs.service == "jira"
        authorization = f"Bearer {inputs.token}"
        if inputs.user is not None:
            authorization = "Basic " + base64.b64encode(f"{inputs.user}:{inputs.token}".encode()).decode()
        # Without this Data Center takes a POST for one of a browser and refuses it.
        headers = {"authorization": authorization, "x-atlassian-token": "no-check"}
        base = f"{inputs.base}/rest/api/{3 if cloud else 2}"
        client = ServiceClient(base, headers, context.egress, f"Jira at {host_of(inputs.base)}")
        return cls(client, inputs.base, inputs.project, cloud)

    @property
    def who(self) -> str:
        """What messages call it."""
        return self.client.who

    async def find(self, mark: str) -> Ticket | None:
        """By the search, and by the keys that the search may not know yet."""
        for issue in await self._search(f'project = "{self.project}" AND labels = "{mark}"', 10):
            if mark in _labels(issue):
                return self._ticket(issue)
        newest = await self._search(f'project = "{self.project}" ORDER BY created DESC', NEWEST)
        last = max((self._number(issue) for issue in newest), default=0)
        missing = 0
        for number in range(last + 1, last + 1 + PROBES):
            issue = await self.client.look(f"/issue/{self.project}-{number}", {"fields": FIELDS})
            if issue is not None and mark in _labels(issue):
                return self._ticket(issue)
            missing = missing + 1 if issue is None else 0
            if missing == GAP:
                break
        return None

    async def create(self, inputs: TicketCreateInput, mark: str) -> Ticket:
        """Opens an issue."""
        fields: dict[str, Json] = {
            **inputs.fields,
            "project": {"key": self.project},
            "issuetype": {"name": inputs.type},
            "summary": inputs.title,
            "description": self._body(inputs.text),
            "labels": [*inputs.labels, mark],
        }
        if inputs.assignees:
            fields["assignee"] = {"accountId" if self.cloud else "name": inputs.assignees[0]}
        made = await self.client.ask("POST", "/issue", {"fields": fields})
        key = text_of(made, "key", self.who)
        return Ticket(key, self._url(key), True)

    async def find_comment(self, ticket: str, mark: str) -> Comment | None:
        """Newest first."""
        start = 0
        for _ in range(ALL_PAGES):
            query = {"orderBy": "-created", "expand": "properties", "maxResults": "100", "startAt": str(start)}
            found = await self.client.ask("GET", f"/issue/{ticket}/comment", query=query)
            comments = _list(found, "comments", self.who)
            for one in comments:
                if mark in _marks(one):
                    return self._comment(ticket, one)
            start += len(comments)
            total = found.get("total")
            if not comments or not isinstance(total, int) or start >= total:
                break
        return None

    async def comment(self, inputs: TicketCommentInput, mark: str) -> Comment:
        """Writes a comment."""
        document: dict[str, Json] = {
            "body": self._body(inputs.text),
            "properties": [{"key": PROPERTY, "value": {"marker": mark}}],
        }
        return self._comment(inputs.ticket, await self.client.ask("POST", f"/issue/{inputs.ticket}/comment", document))

    async def read(self, ticket: str) -> Ticket:
        """The issue as it is."""
        return self._ticket(await self.client.ask("GET", f"/issue/{ticket}", query={"fields": FIELDS}))

    async def close(self, inputs: TicketCloseInput) -> None:
        """Takes the transition.  Raises ``ActionError`` with code ``no_transition`` where there is none."""
        path = f"/issue/{inputs.ticket}/transitions"
        found = _list(await self.client.ask("GET", path), "transitions", self.who)
        chosen = next((one for one in found if _leads(one, inputs.transition)), None)
        if chosen is None:
            names = ", ".join(str(one.get("name")) for one in found) or "none"
            wanted = f"named {inputs.transition!r}" if inputs.transition else "to a status that counts as done"
            message = f"{inputs.ticket} has no transition {wanted} now; it has {names}."
            raise ActionError("no_transition", message, retryable=False)
        document: dict[str, Json] = {"transition": {"id": text_of(chosen, "id", self.who)}}
        if inputs.fields:
            document["fields"] = dict(inputs.fields)
        await self.client.ask("POST", path, document)

    async def _search(self, jql: str, most: int) -> list[dict[str, Any]]:
        path = "/search/jql" if self.cloud else "/search"
        document: dict[str, Json] = {"jql": jql, "maxResults": most, "fields": list(FIELDS.split(","))}
        return _list(await self.client.ask("POST", path, document), "issues", self.who)

    def _body(self, text: str) -> Json:
        return document_of(text) if self.cloud else text

    def _number(self, issue: dict[str, Any]) -> int:
        project, _, number = str(issue.get("key", "")).rpartition("-")
        return int(number) if project == self.project and number.isdigit() else 0

    def _ticket(self, issue: Any) -> Ticket:
        key = text_of(issue, "key", self.who)
        return Ticket(key, self._url(key), _category(_at(issue, "fields", "status")) != "done")

    def _url(self, key: str) -> str:
        return f"{self.site}/browse/{quote(key, safe='')}"

    def _comment(self, ticket: str, found: Any) -> Comment:
        number = text_of(found, "id", self.who)
        return Comment(number, f"{self._url(ticket)}?focusedCommentId={quote(number, safe='')}")


def document_of(text: str) -> dict[str, Json]:
    """``text`` as Atlassian's document format has it: paragraphs, and lines within them."""
    return {"type": "doc", "version": 1, "content": [_paragraph(part) for part in text.split("\n\n") if part.strip()]}


def _paragraph(text: str) -> dict[str, Json]:
    content: list[Json] = []
    for line in text.strip("\n").splitlines():
        if content:
            content.append({"type": "hardBreak"})
        if line:
            content.append({"type": "text", "text": line})
    return {"type": "paragraph", "content": content}


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _labels(issue: Any) -> list[Any]:
    labels = _at(issue, "fields", "labels")
    return labels if isinstance(labels, list) else []


def _marks(comment: Any) -> list[Any]:
    properties = _at(comment, "properties")
    return [
        _at(one, "value", "marker")
        for one in (properties if isinstance(properties, list) else [])
        if isinstance(one, dict)
    ]


def _category(status: Any) -> Any:
    return _at(status, "statusCategory", "key")


def _leads(transition: dict[str, Any], wanted: str | None) -> bool:
    target = transition.get("to")
    if wanted is None:
        return bool(_category(target) == "done")
    return wanted.lower() in (str(transition.get("name")).lower(), str(_at(target, "name")).lower())


def _list(document: Any, name: str, who: str) -> list[dict[str, Any]]:
    found = _at(document, name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ActionError("bad_answer", f"{who} answered without {name}.")
    return found
