"""A service that answers every request with the secrets of its caller, in every notation, and with any status."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.secrets.markers import Marker, written

CUTS = (150, 170, 190, 195, 199, 480, 495)
"""Where a message may be cut: a secret stands across each of these places."""


@contextmanager
def leaky_service(markers: dict[str, Marker]) -> Iterator[str]:
    """Its base URL.

    ``/{source}/{status}/{shape}``: json, text, plain (that alone), cut, redirect, hang, ok, Vault, or the name of a
    service for the words with which it takes a message.
    """
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urllib.parse.urlsplit(self.path).path
            if path.startswith("/v1/secret/data/stanchion/"):
                self._send(*vault(markers, path.rpartition("/")[2]))
                return
            source, status, shape = [*path.strip("/").split("/"), "200", "text"][:3]
            marker = markers[source]
            if shape == "hang":
                stop.wait(30)
            kinds = ("plain",) if shape == "plain" else ("hard", "plain")
            leaked = [form for kind in kinds for form in written(getattr(marker, kind))]
            taken = {"pagerduty": {"status": "success", "message": leaked}, "opsgenie": {"requestId": marker.hard}}
            taken["discord"] = {"id": marker.hard, "content": leaked}
            body: Any = {"json": leaked, "ok": "ok", **taken}.get(shape, "\n".join(leaked))
            if shape.startswith("cut"):
                at = int(shape.removeprefix("cut"))
                body = "x" * (at - 12) + marker.hard
            location = {"Location": f"/{source}/200/text?token={urllib.parse.quote(marker.hard)}"}
            self._send(int(status), body, location if shape == "redirect" else {})

        def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def vault(markers: dict[str, Marker], name: str) -> tuple[int, Any]:
    """What Vault's KV engine, version 2, answers to a read of ``name``."""
    values = markers["vault"].values() if "vault" in markers else {}
    if name not in values:
        return 404, {"errors": []}
    return 200, {"data": {"data": {"value": values[name]}, "metadata": {"version": 1}}}
