"""Connections: how long a request may take to arrive, and how much of it is kept before it has.

What uvicorn and httptools do by themselves, looked up and tried: an idle connection is closed after a request, but one
that has not sent its first request, or sends it a byte a minute, is kept for ever; a head is kept whatever its size.
Bodies are read no faster than the application takes them, so ``api.body`` bounds them; here they get a deadline.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from settings import settings

MAX_HEADERS: Final = 200
"""Fields of one head, those of trailers among them."""

REASONS: Final = {
    400: ("bad_request", "This is no request in HTTP/1.1."),
    408: ("timeout", "The request did not arrive in time."),
    431: ("too_large", "The head of the request is too large."),
}


class TooLargeHead(Exception):
    """The head of a request is larger than ``STANCHION_MAX_HEAD_BYTES``, or has too many fields."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with deadlines and bounds for what a client sends."""

    head_bytes: int
    head_seconds: float
    body_seconds: float

    def __init__(self, config: Config, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        given = settings()
        self.head_bytes = given.max_head_bytes
        self.head_seconds, self.body_seconds = given.head_seconds, given.body_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = False
        self._completed = False  # whether a request was complete within the piece that is read
        self._fed = 0  # bytes of a head that is not complete
        self._seen = 0  # bytes of the fields that are complete
        self._fields = 0
        self._refusal = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first request has as long as any other."""
        super().connection_made(transport)
        self._expect(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a request has come."""
        self._completed = False
        super().data_received(data)
        if not self._in_head:
            self._fed = 0
        elif not self._completed:  # else the piece was in part of an earlier request, and only the next ones count
            self._fed += len(data)
            if self._fed > self.head_bytes and not self.transport.is_closing():
                self._refuse(431)

    def on_message_begin(self) -> None:
        """The first byte of a request: from here its head has its time."""
        super().on_message_begin()
        self._in_head, self._seen, self._fields, self._refusal = True, 0, 0, 400
        self._expect(self.head_seconds)

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, of the head or of a trailer."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there, and the body has its time."""
        self._in_head = False
        self._expect(self.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there; how long its answer takes is not judged here."""
        self._expect(None)
        self._completed = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What could not be parsed, or was refused while it was: in the one shape of errors."""
        if not self.transport.is_closing():
            self._refuse(self._refusal)

    def _count(self, size: int) -> None:
        self._seen += size
        if self._seen > self.head_bytes or self._fields > MAX_HEADERS:
            self._refusal = 431
            raise TooLargeHead  # the parser stops here, and comes back by ``send_400_response``

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.scope is None or (self.cycle is not None and not self._in_head and self.cycle.response_started):
            self.transport.close()  # nothing was asked yet, or an answer is on its way
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        code, message = REASONS[status]
        shape = {"status": "error", "error": {"code": code, "message": message, "details": []}}
        content = json.dumps(shape, separators=(",", ":")).encode()
        busy = self.cycle is not None and not self.cycle.response_complete
        if not (busy and (self._in_head or self.cycle.response_started)):
            # Else an answer to an earlier request is on its way, and this must not stand in the middle of it.
            self.transport.write(
                STATUS_LINE[status]
                + b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
                + f"content-length: {len(content)}\r\n\r\n".encode()
                + content
            )
        self.transport.close()
