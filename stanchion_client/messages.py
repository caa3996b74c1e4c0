"""What the core and its two faces say to each other.

The core does no I/O.  A *procedure* is a generator that yields what it wants done, and is sent what came of it; the
faces (``synchronous``, ``asynchronous``) do it, each in its way.  So what is asked, repeated, waited for and believed
stands in one place for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from stanchion_client.errors import ApiError, error_class

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """One request.  ``body`` is sent as JSON, ``content`` as it is; entries of ``query`` that are None are left out."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; the names of ``headers`` are in lower case, the ``content`` of a stream is empty."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.is_success and self.headers.get("content-type", "").startswith(EVENT_STREAM)

    def json(self) -> Any:
        """The document; None where there is none."""
        try:
            return json.loads(self.content) if self.content else None
        except ValueError:
            return None

    def retry_after(self, now: Callable[[], float]) -> float | None:
        """Seconds of ``Retry-After``, which may name a date too (RFC 9110, section 10.2.3)."""
        text = self.headers.get("retry-after", "").strip()
        if not text:
            return None
        if text.isdecimal():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - now())
        except ValueError:
            return None

    def error(self, request: Request, now: Callable[[], float]) -> ApiError:
        """The error that this answer is."""
        document = self.json()
        shaped = isinstance(document, dict) and isinstance(document.get("error"), dict)
        code = document["error"].get("code") if shaped else None
        message = document["error"].get("message") if shaped else None
        return error_class(self.status, code)(
            str(message or f"{request.method} {request.path} was answered {self.status}."),
            self.status,
            document if shaped else None,
            request_id=self.headers.get("x-request-id"),
            retry_after=self.retry_after(now),
        )


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A request, how its answer is read, and whether it may be sent again when nobody knows what came of it.

    ``gone_is_done``: 404 is a success where an earlier try may have done it.  ``also`` are statuses beside 2xx that
    are answers.
    """

    request: Request
    read: Callable[[Answer], T_co]
    repeatable: bool = False
    gone_is_done: bool = False
    also: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Send:
    """Do the request; sent back: its ``Answer``.  ``ConnectionFailed`` is thrown where none came."""

    request: Request


@dataclass(frozen=True, slots=True)
class Listen:
    """Do the request and leave its answer open where it is a stream, else like ``Send``."""

    request: Request
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class Hear:
    """Sent back: the next line of the stream, None after the last."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the stream."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Tell(Generic[T_co]):
    """Give the caller a result."""

    value: T_co


Wish: TypeAlias = Send | Listen | Hear | Close | Pause
Procedure: TypeAlias = Generator[Wish | Tell[T], Any, None]
Steps: TypeAlias = Generator[Wish, Any, T]


def path_of(*parts: str) -> str:
    """A path below ``/api``; each part stays one part, whatever it holds."""
    return "/api/" + "/".join(quote(part, safe="") for part in parts)


def as_document(answer: Answer) -> Any:
    """The JSON of an answer."""
    return answer.json()


def as_nothing(answer: Answer) -> None:
    """For answers without a body."""


def as_content(answer: Answer) -> bytes:
    """The body as it came."""
    return answer.content
