"""Query parameters: those that a route does not know are refused, so that a misspelt filter never lists everything."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.requests import Request

from executions.errors import BadRequest, Detail

Page = Annotated[int, Query(ge=1, le=1_000_000, description="Page, counted from 1.")]
PerPage = Annotated[int, Query(ge=1, le=100, description="Entries on a page.")]

_names: dict[object, frozenset[str]] = {}


def refuse_unknown_query(request: Request) -> None:
    """Check the names of the query parameters against those that the route declares.

    Raises:
        BadRequest: naming each one that is unknown.
    """
    if not request.scope["query_string"]:
        return
    route = request.scope["route"]
    known = _known_names(route) if isinstance(route, APIRoute) else frozenset[str]()
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise BadRequest(
            "The request has query parameters that this route does not know.",
            [Detail("/query/" + pointer_part(name), "unknown query parameter") for name in unknown],
        )


def pointer_part(name: str | int) -> str:
    """One reference token of a JSON Pointer, escaped (RFC 6901 §3)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def _known_names(route: APIRoute) -> frozenset[str]:
    names = _names.get(route.endpoint)
    if names is None:
        fields = get_flat_params(route.dependant)
        names = frozenset(field.alias for field in fields if isinstance(field.field_info, params.Query))
        _names[route.endpoint] = names
    return names
