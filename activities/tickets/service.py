"""What GitHub, GitLab and Jira have in common: requests, pages, limits, and texts that do nothing but be read."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from activities.egress import EgressPolicy
from activities.errors import ActionError
from activities.http_request import retry_after
from activities.rest import check, parsed, send_json
from activities.tickets.models import TicketCloseInput, TicketCommentInput, TicketCreateInput
from activities.web import Answer, parse_url
from playbooks.record import Json

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one answer: a page has a hundred tickets with all their text."""

PAGE: Final = 100
NEWEST_PAGES: Final = 3
"""Pages of the newest tickets that are looked at beside the search, whose index lags behind."""

ALL_PAGES: Final = 50
"""Pages that are looked at where no search can answer, and of comments."""

LONGEST_WAIT: Final = 3600.0
"""Seconds; a service that asks for more has set its clock wrong."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket that is there."""

    id: str
    url: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment that is there."""

    id: str
    url: str


class TicketService(Protocol):
    """One project of a service.  Every method may raise ``ActionError``."""

    @property
    def who(self) -> str:
        """What messages call it."""
        ...

    async def find(self, mark: str) -> Ticket | None:
        """The ticket that has ``mark``, also when it was opened a moment ago."""
        ...

    async def create(self, inputs: TicketCreateInput, mark: str) -> Ticket:
        """Opens a ticket that has ``mark``."""
        ...

    async def find_comment(self, ticket: str, mark: str) -> Comment | None:
        """The comment of ``ticket`` that has ``mark``."""
        ...

    async def comment(self, inputs: TicketCommentInput, mark: str) -> Comment:
        """Writes a comment that has ``mark``."""
        ...

    async def read(self, ticket: str) -> Ticket:
        """The ticket as it is."""
        ...

    async def close(self, inputs: TicketCloseInput) -> None:
        """Closes a ticket that is open."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """Sends requests below ``base`` and judges their answers; ``who`` is what messages call the service."""

    base: str
    headers: Mapping[str, str]
    policy: EgressPolicy
    who: str

    async def ask(self, method: str, path: str, document: Json = None, query: Mapping[str, str] | None = None) -> Any:
        """The JSON of a successful answer, None where it has none.  Raises ``ActionError``."""
        answer = await self._send(method, self.base + path, document, query)
        return parsed(answer, self.who) if answer.body else None

    async def look(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """As ``ask`` by GET; None where nothing is there (404)."""
        try:
            return await self.ask("GET", path, query=query)
        except ActionError as error:
            if error.code == "not_found":
                return None
            raise

    async def pages(
        self, path: str, query: Mapping[str, str], limit: int, *, from_last: bool = False
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The pages of a list, at most ``limit``, by their Link headers (RFC 8288).

        ``from_last``: the first page, then the last and on backwards, for a list whose newest stand at its end.
        """
        url: str | None = self.base + path
        given: Mapping[str, str] | None = query
        first = True
        while url is not None and limit > 0:
            answer = await self._send("GET", url, None, given)
            yield _objects(parsed(answer, self.who), self.who)
            links = links_of(answer)
            url = links.get(("last" if first else "prev") if from_last else "next")
            if from_last and not first and url is not None and url == links.get("first"):
                return
            self._same_place(url)
            given, first, limit = None, False, limit - 1

    async def _send(self, method: str, url: str, document: Json, query: Mapping[str, str] | None) -> Answer:
        answer = await send_json(
            method,
            url,
            self.policy,
            document,
            headers={"accept": "application/json", **self.headers},
            query=list((query or {}).items()),
            max_bytes=MAX_BYTES,
        )
        _refuse_limit(answer, self.who)
        check(answer, self.who)
        return answer

    def _same_place(self, url: str | None) -> None:
        """A link elsewhere would get the token."""
        if url is None:
            return
        one, other = parse_url(url), parse_url(self.base)
        if (one.scheme, one.raw_host, one.port) != (other.scheme, other.raw_host, other.port):
            raise ActionError("bad_answer", f"{self.who} names a next page on another host.", retryable=False)


def links_of(answer: Answer) -> dict[str, str]:
    """The targets of the Link header by their relation."""
    found = re.findall(r'<([^<>]+)>\s*;[^,<]*?\brel="?([A-Za-z]+)"?', answer.headers.get("link", ""))
    return {relation.lower(): target for target, relation in found}


def hidden(mark: str) -> str:
    """``mark`` as Markdown that nobody sees."""
    return f"<!-- {mark} -->"


def marked(text: str, mark: str) -> str:
    """``text`` with ``mark`` below it."""
    return f"{text.rstrip()}\n\n{hidden(mark)}"


def has_mark(text: Any, mark: str) -> bool:
    """True where ``text`` of a ticket or comment has ``mark``."""
    return isinstance(text, str) and hidden(mark) in text


def silent(text: str) -> str:
    """``text`` in which an ``@name`` calls nobody: an attacker may have written the finding."""
    return re.sub(r"(?<![\w@])@(?=\w)", "@\u2060", text)


def text_of(found: Any, name: str, who: str) -> str:
    """A field of an answer as text.  Raises ``ActionError`` with code ``bad_answer`` when it is not there."""
    value = found.get(name) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ActionError("bad_answer", f"{who} answered without {name}.")
    return str(value)


def _objects(document: Any, who: str) -> list[dict[str, Any]]:
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        raise ActionError("bad_answer", f"{who} answered without a list.")
    return document


def _refuse_limit(answer: Answer, who: str) -> None:
    """GitHub limits with 403 too, and says the second from which on it may be asked again."""
    headers = answer.headers
    limited = answer.status == 403 and (
        headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers or "rate limit" in answer.text.lower()
    )
    if not limited and answer.status != 429:
        return
    wait = retry_after(answer)
    reset = headers.get("x-ratelimit-reset", headers.get("ratelimit-reset", ""))
    if wait is None and reset.isascii() and reset.isdigit() and len(reset) < 12:
        wait = max(float(reset) - time.time(), 1.0)
    message = f"{who} asks for fewer requests" + (f" for {min(wait, LONGEST_WAIT):.0f} s." if wait else ".")
    raise ActionError("rate_limited", message, True, None if wait is None else min(wait, LONGEST_WAIT))
