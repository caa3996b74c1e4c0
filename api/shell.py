"""What surrounds every request: its id, the access log, metrics, headers of every answer, and the last resort.

A plain ASGI middleware: Starlette's ``BaseHTTPMiddleware`` would copy every body through a queue and hold back
event streams.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import shaped
from api.limits import Limiter, address_of
from api.metrics import Metrics
from api.phantom.errors import is_phantom
from api.phantom.wire import failure
from engine.tracing import tracing

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SECRET_PATHS = ("/api/hooks/", "/api/codec/with/")

HARDENING = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What every answer tells a browser: take it for what it says it is, frame it nowhere, tell nobody where it was."""

STRICT_POLICY = b"default-src 'none'; frame-ancestors 'none'"
"""The policy of what is no page; a page brings its own."""
RUN_IDS = ("execution_id", "playbook_id", "asset_id")
"""What a line of a run is found by."""

_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger("api.access")


class Shell:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, limiter: Limiter | None, hsts_seconds: int = 0) -> None:
        self.app = app
        self.hsts_seconds = hsts_seconds
        self.metrics = metrics
        self.limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(self, scope, send)
        if answer.without_body:
            # RFC 9110 §9.3.2: what GET would answer, without its content.
            scope = {**scope, "method": "GET"}
        structlog.contextvars.bind_contextvars(request_id=answer.request_id)
        self.metrics.in_progress.inc()
        try:
            await self._traced(scope, receive, answer)
        finally:
            self.metrics.in_progress.dec()
            self._record(scope, answer, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id", "trace_id", *RUN_IDS)

    async def _traced(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        traced = tracing()
        if traced is None or scope["path"] in _QUIET:
            await self._run(scope, receive, answer)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with traced.request(scope["method"], headers) as span:
            structlog.contextvars.bind_contextvars(trace_id=traced.trace_id())
            await self._run(scope, receive, answer)
            route = getattr(scope.get("route"), "path", "unmatched")
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", answer.status or 499)

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = 499
        except Exception:
            log.exception("unhandled error", method=scope["method"], path=told_path(scope["path"]))
            if answer.status is not None:
                raise
            told = f"Something went wrong here; the log knows it as {answer.request_id}."
            phantom = is_phantom(scope["path"])
            response = failure(told, 500) if phantom else shaped(500, "internal", told)
            await response(scope, receive, answer.send)

    def _record(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        status = answer.status if answer.status is not None else 499
        self.metrics.observe(route, scope["method"], status, None if answer.is_stream else seconds)
        principal = scope.get("state", {}).get("principal")
        write = log.debug if route in _QUIET else log.info
        write(
            "request",
            method=scope["method"],
            path=told_path(scope["path"]),
            status=status,
            ms=round(seconds * 1000, 1),
            principal=getattr(principal, "id", None),
            **_told_ids(scope),
            address=address_of(scope),
        )


class _Answer:
    """The answer of one request on its way out."""

    def __init__(self, shell: Shell, scope: Scope, send: Send) -> None:
        self.status: int | None = None
        self.is_stream = False
        self._ended = False
        self.without_body = scope["method"] == "HEAD"
        self.request_id = _request_id(scope)
        self._shell = shell
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass ``message`` on, with the headers that every answer carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            self.is_stream = any(value.startswith(b"text/event-stream") for name, value in headers)
            message = {**message, "headers": [*headers, *self._headers(headers)]}
        elif self.without_body:
            if self._ended:
                return
            self._ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", self.request_id.encode()), *HARDENING]
        if all(name != b"content-security-policy" for name, _ in given):
            headers.append((b"content-security-policy", STRICT_POLICY))
        if self._shell.hsts_seconds and self._scope["scheme"] == "https":
            headers.append((b"strict-transport-security", b"max-age=%d" % self._shell.hsts_seconds))
        if self._scope["path"].startswith("/api/"):
            if all(name != b"cache-control" for name, _ in given):
                headers.append((b"cache-control", b"no-store"))
            if self._shell.limiter is not None:
                headers += self._shell.limiter.allowance(self._scope).headers()
        return headers


def told_path(path: str) -> str:
    """``path`` as a log may have it: without the token of a hook, or of the codec."""
    return next((f"{secret}***" for secret in _SECRET_PATHS if path.startswith(secret)), path)


def _told_ids(scope: Scope) -> dict[str, str]:
    """What a request was about, by the names that its path gives it, unless the run that it began says so."""
    bound = structlog.contextvars.get_contextvars()
    given = scope.get("path_params") or {}
    return {name: str(given[name]) for name in RUN_IDS if name in given and name not in bound}


def _request_id(scope: Scope) -> str:
    """The caller's ``X-Request-ID`` where it is a plain word, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex
