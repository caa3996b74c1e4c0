"""How the pages do what they do: by the interface that programs use, in this process, as the token that signed in.

So there is no second way of doing a thing: checks, errors, permissions, the audit trail and the limits are those of
the interface.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from starlette.requests import Request
from starlette.types import Message

from api.auth import SIGNED_IN
from api.console.sessions import Visitor
from executions.errors import Detail
from playbooks.record import Json

PLAYBOOKS: Final = "/api/playbooks"
EXECUTIONS: Final = "/api/playbooks/executions"
ASSETS: Final = "/api/assets"
_KEPT_HEADERS: Final = (b"host", b"x-request-id")


class Refused(Exception):
    """The interface has refused; the error is its own."""

    def __init__(self, status: int, error: Mapping[str, Json]) -> None:
        super().__init__(str(error.get("message")))
        self.status = status
        self.code = str(error.get("code"))
        self.message = str(error.get("message"))
        self.details = [
            Detail(detail["path"], detail["message"], detail.get("line"), detail.get("column"))
            for detail in error.get("details", [])
        ]
        self.execution_id: str | None = error.get("execution_id")


@dataclass(frozen=True, slots=True)
class Answered:
    """What the interface has answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The content as JSON; None where there is none."""
        return json.loads(self.content) if self.content else None


@dataclass(frozen=True, slots=True)
class Backend:
    """The interface, as the visitor of the page ``request`` may use it."""

    request: Request
    visitor: Visitor

    async def get(self, path: str, **query: str | int | None) -> Any:
        """What GET answers; a parameter that is None is left out.  Raises Refused."""
        given = {name: value for name, value in query.items() if value is not None}
        return (await self.send("GET", path, query=urlencode(given))).json()

    async def post(self, path: str, body: Json = None, headers: Mapping[str, str] | None = None) -> Any:
        """What POST answers to a JSON body.  Raises Refused."""
        return (await self.send("POST", path, _encoded(body), headers=headers)).json()

    async def put(self, path: str, body: Json) -> Any:
        """What PUT answers to a JSON body.  Raises Refused."""
        return (await self.send("PUT", path, _encoded(body))).json()

    async def delete(self, path: str) -> None:
        """DELETE.  Raises Refused."""
        await self.send("DELETE", path)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        query: str = "",
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """The answer to any request.  Raises Refused where it is an error."""
        given = {"content-type": media_type} if body else {}
        call = _Call(body)
        scope = _scope(self.request, method, path, query, {**given, **(headers or {})})
        scope[SIGNED_IN] = self.visitor.principal
        # A task of its own, so that what it binds to the log's context stays there.
        await asyncio.create_task(_run(self.request, scope, call))
        answered = call.answered()
        if answered.status >= 400:
            error = answered.json() or {}
            raise Refused(answered.status, error.get("error", {}))
        return answered


def path_of(*parts: str) -> str:
    """A path of the interface; each part after the first is one segment, escaped."""
    return "/".join([parts[0], *(quote(part, safe="") for part in parts[1:])])


async def _run(request: Request, scope: dict[str, Any], call: _Call) -> None:
    await request.app(scope, call.receive, call.send)


class _Call:
    """One request without a connection."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 500
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []

    async def receive(self) -> Message:
        """The body, whole; then that nobody listens any more."""
        if self._body is None:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Takes a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self._chunks.append(message.get("body", b""))

    def answered(self) -> Answered:
        """The whole answer."""
        return Answered(self._status, self._headers, b"".join(self._chunks))


def _scope(request: Request, method: str, path: str, query: str, headers: Mapping[str, str]) -> dict[str, Any]:
    kept = [(name, value) for name, value in request.scope["headers"] if name in _KEPT_HEADERS]
    given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    outer = request.scope
    return {
        "type": "http",
        "asgi": outer["asgi"],
        "http_version": outer["http_version"],
        "scheme": outer["scheme"],
        "server": outer.get("server"),
        "client": outer.get("client"),
        "root_path": "",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [*kept, *given],
        "state": {},
    }


def _encoded(body: Json) -> bytes:
    return b"" if body is None else json.dumps(body).encode()
