"""A real HTTP server on a port of its own, whose answers a test writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: ``body`` is JSON unless it is bytes; ``cut`` closes the connection before the end.

    Status 0 is no answer at all.
    """

    status: int = 200
    body: Any = None
    media: str = "application/json"
    cut: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class FakeApi:
    """Serves what ``answer`` says; keeps what was asked."""

    answer: Callable[[Asked], Reply]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> FakeApi:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    _server: ThreadingHTTPServer = field(init=False)
    _thread: threading.Thread = field(init=False)


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One connection a request, so that a cut answer is seen as cut."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, dict(self.headers), body)
            api.asked.append(asked)
            reply = api.answer(asked)
            if reply.status == 0:
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            content = b"" if reply.status == 204 else content
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.media)
            self.send_header("Content-Length", str(len(content) + (1 if reply.cut else 0)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
            """Nothing."""

    return Handler


def error(status: int, code: str, message: str, details: list[dict[str, Any]] | None = None) -> Reply:
    """An error in the API's one shape."""
    return Reply(status, {"status": "error", "error": {"code": code, "message": message, "details": details or []}})


def execution(status: str, *steps: str) -> dict[str, Any]:
    """An execution with steps in the states ``steps``."""
    return {
        "execution_id": "exec-1",
        "status": status,
        "dry_run": False,
        "error": None,
        "steps": [
            {"index": index, "name": f"Step {index}", "action": "core.echo", "status": state, "duration_ms": None}
            for index, state in enumerate(steps)
        ],
    }


def events(*snapshots: dict[str, Any], first: int = 1) -> bytes:
    """The event stream of ``snapshots``, with ids from ``first``."""
    return b"".join(
        f"event: execution\nid: {number}\ndata: {json.dumps(snapshot)}\n\n".encode()
        for number, snapshot in enumerate(snapshots, start=first)
    )


def listed(*entries: dict[str, Any]) -> Reply:
    """The only page of a list."""
    return Reply(body={"data": list(entries), "meta": {"total": len(entries), "page": 1, "per_page": 100}})
