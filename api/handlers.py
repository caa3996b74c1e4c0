"""From exceptions to answers: whatever a route raises leaves in the one error shape."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from api.body import model_details
from api.console.faults import refusal_page, wants_page
from api.errors import UNNAMED, MethodNotAllowed, error_response, shaped
from api.phantom.errors import is_phantom, phantom_error
from api.services import services_of
from engine.errors import TemporalUnavailable
from executions.errors import BadRequest, Detail, NotFound, Refusal, Unavailable
from executions.truth import Unsettled
from storage.errors import DatabaseUnavailable
from storage.phantom.filters import BadFilter

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def install(app: FastAPI) -> None:
    """Register the handlers with ``app``."""
    app.add_exception_handler(Refusal, _api_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(DatabaseUnavailable, _database_unavailable)
    app.add_exception_handler(TemporalUnavailable, _temporal_unavailable)
    app.add_exception_handler(BadFilter, _bad_filter)
    app.add_exception_handler(Unsettled, _unsettled)


async def _api_error(request: Request, error: Exception) -> Response:
    return _answer(request, cast(Refusal, error))


async def _http_exception(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    match error.status_code:
        case 404:
            return _answer(request, NotFound(f"There is no route {request.url.path}."))
        case 405:
            return _answer(request, _not_allowed(request))
        case 400:
            return _answer(request, BadRequest(error.detail))
    return shaped(error.status_code, UNNAMED, error.detail, headers=error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    details = model_details(cast(RequestValidationError, error).errors())
    if any(detail.path.startswith("/path/") for detail in details):
        # An id that cannot exist does not exist.
        return _answer(request, NotFound(f"There is nothing at {request.url.path}."))
    return _answer(request, BadRequest("The request has faults.", details))


async def _database_unavailable(request: Request, error: Exception) -> Response:
    return _shaped(request, Unavailable("database", cast(DatabaseUnavailable, error).detail))


async def _temporal_unavailable(request: Request, error: Exception) -> Response:
    return _shaped(request, Unavailable("temporal", str(error)))


async def _bad_filter(request: Request, error: Exception) -> Response:
    return _answer(request, BadRequest(str(error)))


async def _unsettled(request: Request, error: Exception) -> Response:
    return _answer(request, NotFound(f"There is no execution {str(error)!r}."))


def _answer(request: Request, error: Refusal) -> Response:
    if error.status not in (401, 403):
        services_of(request).journal.refused(request, error.code)
    return _shaped(request, error)


def _shaped(request: Request, error: Refusal) -> Response:
    if wants_page(request):
        return refusal_page(request, error)
    return phantom_error(error) if is_phantom(request.url.path) else error_response(error)


def _not_allowed(request: Request) -> MethodNotAllowed:
    """405 with all methods of the path; Starlette would name only those of the first route that fits."""
    if is_phantom(request.url.path):
        return MethodNotAllowed(f"{request.method} is not supported here.")
    allowed = [method for method in METHODS if _is_routed(request, method)]
    if "GET" in allowed:
        allowed.insert(1, "HEAD")
    return MethodNotAllowed(
        f"{request.method} is not supported here; use {', '.join(allowed)}.",
        [Detail("", f"allowed: {method}") for method in allowed],
        headers={"Allow": ", ".join(allowed)},
    )


def _is_routed(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)
