"""Routes of the Phantom interface: who may, what they are answered, with and without a trailing slash."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from api.phantom.auth import Caller
from api.phantom.wire import LARGEST, answer, json_in
from api.services import Services, services_of
from executions.errors import NotFound
from playbooks.record import Json
from storage.phantom.records import Query

PREFIX: Final = "/rest"
_SLASHES: Final = re.compile("/{2,}")
EXECUTE: Final = ("playbook:execute",)
READ_RUNS: Final = ("playbook:execute", "playbook:read")
READ: Final = ("asset:read",)
WRITE: Final = ("asset:write",)
AUDIT: Final = ("audit:read",)
READ_PLAYBOOKS: Final = ("playbook:read", "playbook:execute")
ANY: Final = ("playbook:read", "playbook:execute", "asset:read", "audit:read")

Handler = Callable[[Request, Services, Caller], Awaitable[Json | Response]]


class Rest:
    """The routes of one subject; ``api.phantom.app`` puts them together."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def route(self, method: str, path: str, permissions: Sequence[str]) -> Callable[[Handler], Handler]:
        """Answers ``method`` on ``path`` by the function, for who has one of ``permissions``."""

        def put(handler: Handler) -> Handler:
            async def endpoint(request: Request) -> Response:
                services = services_of(request)
                caller = await services.phantom.enter(request, services, permissions)
                content = await handler(request, services, caller)
                return content if isinstance(content, Response) else answer(content)

            self.routes.append(Route(path, endpoint, methods=[method], name=f"phantom.{handler.__name__}"))
            return handler

        return put


class Everything(Mount):
    """What is mounted; several slashes in a row count as one: clients join a host and a path that both have one."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is below, and what the routes there see of it."""
        scope = {**scope, "path": _SLASHES.sub("/", scope["path"])}
        match, inside = super().matches(scope)
        return match, {**inside, "path": scope["path"]} if match is not Match.NONE else inside


class WithoutSlash:
    """Takes the trailing slash from the path: clients write both."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            scope = {**scope, "path": path[:-1]}
        await self.app(scope, receive, send)


def mounted(subjects: Sequence[Rest]) -> Mount:
    """Everything under ``/rest``."""
    routes = [route for subject in subjects for route in subject.routes]
    return Everything(PREFIX, app=WithoutSlash(Router(routes, redirect_slashes=False)), name="phantom")


def number_of(request: Request, name: str = "number") -> int:
    """The number in the path.  Raises NotFound: a number that cannot exist does not."""
    text = str(request.path_params[name])
    if text.isascii() and text.isdecimal() and len(text) < 12 and 0 < int(text) <= LARGEST:
        return int(text)
    raise NotFound(f'Nothing has the id "{text[:100]}"')


def texts_in_query(request: Request, name: str) -> list[str]:
    """The values under ``name`` in the query: repeated, with commas between them, or a list in JSON."""
    found: list[str] = []
    for text in request.query_params.getlist(name):
        try:
            parsed = json_in(text)
        except ValueError:
            parsed = None
        if isinstance(parsed, list):
            found += [str(one) for one in parsed]
        else:  # a bare 1.10 is a text too, which as a number would lose its zero
            found += [parsed] if isinstance(parsed, str) else text.split(",")
    return found


def listed(rows: Sequence[Json], total: int, query: Query) -> dict[str, Json]:
    """A list as it is answered: ``{"count", "num_pages", "data"}``."""
    pages = -(-total // query.size) if query.size else 1
    return {"count": total, "num_pages": max(pages, 1) if total else 0, "data": list(rows)}
