"""A small HTTP server on this machine that stands in for what an incident triage talks to, and records what came.

It plays the incoming webhook of a chat, a source of threat intelligence and GitLab; for the demo and tests.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cli.received import SAFE, Inbox, Received

MAX_BODY = 1024 * 1024

TICKET_TOKEN = "token-of-the-demo"
"""What the receiver's GitLab takes for a token."""


class Receiver(Inbox):
    """The server: ``with Receiver() as receiver`` serves at ``receiver.url`` until the end of the block."""

    def __init__(self) -> None:
        super().__init__()
        self.tickets = Tickets()
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

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(slots=True)
class Tickets:
    """The issues of one project of GitLab, as far as a run needs them (REST API, version 4)."""

    kept: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, method: str, path: str, body: Any, authorized: bool) -> tuple[int, Any]:
        """Status and body of the answer: lists issues, newest first, finds them by their text, opens and shows one."""
        parts = urlsplit(path)
        found = re.fullmatch(r"/api/v4/projects/[^/]+/issues(?:/(\d+))?", parts.path)
        if not authorized:
            return 401, {"message": "401 Unauthorized"}
        if found is None:
            return 404, {"message": "404 Not Found"}
        if found[1] is not None:
            issue = next((one for one in self.kept if one["iid"] == int(found[1])), None)
            return (404, {"message": "404 Not found"}) if issue is None else (200, issue)
        if method in SAFE:
            word = parse_qs(parts.query).get("search", [""])[0]
            return 200, [one for one in reversed(self.kept) if word in str(one.get("description"))]
        if method != "POST" or not isinstance(body, dict) or not body.get("title"):
            return 400, {"message": {"title": ["can't be blank"]}}
        number = len(self.kept) + 1
        place = f"https://gitlab.example.com/security/incidents/-/issues/{number}"
        self.kept.append({**body, "id": 1000 + number, "iid": number, "state": "opened", "web_url": place})
        return 201, self.kept[-1]


def reply(method: str, path: str, body: Any) -> tuple[int, Any]:
    """Status and body of the answer of all but GitLab: text stays text, everything else is JSON."""
    parts = urlsplit(path)
    place = parts.path.strip("/").split("/")[0]
    if place == "slack" and method == "POST":
        return 200, "ok"
    if place == "intel" and method in SAFE:
        asked = parse_qs(parts.query)
        indicator = next((values[0] for values in asked.values()), parts.path.rsplit("/", 1)[-1])
        verdict = {"indicator": indicator, "verdict": "malicious", "score": 92, "sources": ["local-feed"]}
        return 200, verdict | {"severity": "high"}
    return 404, {"error": "nothing is here"}


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Records each request and answers it by ``reply``."""

        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = min(int(self.headers.get("Content-Length") or 0), MAX_BODY)
            body = _decode(self.rfile.read(size))
            receiver.record(Received(self.command, self.path, body))
            if self.path.startswith("/api/v4/"):
                authorized = self.headers.get("Authorization") == f"Bearer {TICKET_TOKEN}"
                status, answer = receiver.tickets.reply(self.command, self.path, body, authorized)
            else:
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
