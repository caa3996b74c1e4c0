"""A small HTTP server on this machine that stands in for what an incident triage talks to, and records what came.

It plays the incoming webhook of a chat, a source of threat intelligence and a ticket system; for the demo and tests.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

SAFE = frozenset({"GET", "HEAD"})
MAX_BODY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One request: method, path with query, and its body, decoded where it is JSON."""

    method: str
    path: str
    body: Any

    @property
    def changes(self) -> bool:
        """True unless the request only reads."""
        return self.method not in SAFE


class Receiver:
    """The server: ``with Receiver() as receiver`` serves at ``receiver.url`` until the end of the block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.address}"

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def received(self) -> list[Received]:
        """What came since the last ``clear``, in order."""
        with self._lock:
            return list(self._received)

    def clear(self) -> None:
        """Forgets what came."""
        with self._lock:
            self._received.clear()

    def record(self, request: Received) -> int:
        """Keeps ``request``; returns how many there are now."""
        with self._lock:
            self._received.append(request)
            return len(self._received)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def reply(method: str, path: str, body: Any) -> tuple[int, Any]:
    """Status and body of the answer: text stays text, everything else is JSON."""
    parts = urlsplit(path)
    place = parts.path.strip("/").split("/")[0]
    if place == "slack" and method == "POST":
        return 200, "ok"
    if place == "intel" and method in SAFE:
        asked = parse_qs(parts.query)
        indicator = next((values[0] for values in asked.values()), parts.path.rsplit("/", 1)[-1])
        verdict = {"indicator": indicator, "verdict": "malicious", "score": 92, "sources": ["local-feed"]}
        return 200, verdict | {"severity": "high"}
    if place == "tickets" and method == "POST":
        title = body.get("title") if isinstance(body, dict) else None
        return 201, {"id": "INC-1001", "title": title, "state": "open"}
    if place == "tickets" and method in SAFE:
        return 200, {"id": "INC-1001", "state": "open"}
    return 404, {"error": "nothing is here"}


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Records each request and answers it by ``reply``."""

        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = min(int(self.headers.get("Content-Length") or 0), MAX_BODY)
            body = _decode(self.rfile.read(size))
            receiver.record(Received(self.command, self.path, body))
            status, answer = reply(self.command, self.path, body)
            content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            # Without Date and Server, which would differ between a rehearsal and its run.
            self.send_response_only(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
            """Nothing: what came is recorded."""

    return Handler


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")
