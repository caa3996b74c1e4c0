"""Who asks, and may they: the first checks of every ``/api`` route, in the order 401, 429, 403, 400, and 404 by labels.

They run as a dependency, before any body is read, so that a stranger learns nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Annotated, Any, Final, cast

from fastapi import Depends
from starlette.requests import Request

from api.errors import Forbidden, Unauthorized
from api.labels import refuse_unseen
from api.query import refuse_unknown_query
from api.services import Services, services_of
from api.tokens import Principal

Check = Callable[[Request], Awaitable[Principal]]

SIGNED_IN: Final = "stanchion.signed_in"
"""Where a request that the console makes inside of this process carries its principal; none from outside can."""


@lru_cache
def require(*permissions: str) -> Check:
    """A dependency that answers with the principal, if its token has one of ``permissions``.

    Raises:
        Unauthorized: no good token.
        RateLimited: too many requests with this token, or from this address without one.
        Forbidden: the token lacks the permission.
        BadRequest: a query parameter that the route does not know.
        NotFound: the path names what the limits of the token leave out.
    """

    async def check(request: Request) -> Principal:
        services = services_of(request)
        principal = await _authenticate(request, services)
        request.state.principal = principal
        if services.limiter is not None:
            services.limiter.take(request.scope, principal.id)
        if not principal.permissions.intersection(permissions):
            services.journal.denied(request, principal, "forbidden")
            raise Forbidden(" or ".join(permissions))
        refuse_unknown_query(request)
        if principal.limits is not None:
            await refuse_unseen(request, services, principal.limits)
        return principal

    return check


def guard(*permissions: str) -> Any:
    """``require`` for the ``dependencies`` of a route that does not need the principal itself."""
    return Depends(require(*permissions))


async def _current(request: Request) -> Principal:
    return cast(Principal, request.state.principal)


CurrentPrincipal = Annotated[Principal, Depends(_current)]
"""The principal of a route that is guarded already."""


async def _authenticate(request: Request, services: Services) -> Principal:
    signed_in = request.scope.get(SIGNED_IN)
    if isinstance(signed_in, Principal):
        return signed_in
    token, problem = presented_token(request)
    principal: Principal | None = None
    if token is not None:
        principal, problem = await services.tokens.find(token)
    if principal is None:
        if services.limiter is not None:
            services.limiter.take(request.scope, None)
        services.journal.denied(request, None, "unauthorized")
        raise Unauthorized(problem)
    return principal


def presented_token(request: Request) -> tuple[str | None, str]:
    """The token of the request's headers; or None and what is wrong with them.

    ``Authorization: Bearer <token>`` (RFC 6750 §2.1; the scheme in any case, RFC 9110 §11.1) or ``X-API-Key``. Both
    may stand there if they say the same.
    """
    tokens: set[str] = set()
    for header in request.headers.getlist("authorization"):
        scheme, _, credentials = header.strip().partition(" ")
        credentials = credentials.strip()
        if scheme.lower() != "bearer" or not credentials or " " in credentials:
            return None, "The Authorization header must read: Bearer <token>."
        tokens.add(credentials)
    for header in request.headers.getlist("x-api-key"):
        if not header.strip():
            return None, "The X-API-Key header is empty."
        tokens.add(header.strip())
    if not tokens:
        return None, "A token is required: Authorization: Bearer <token>."
    if len(tokens) > 1:
        return None, "The request carries two different tokens."
    return tokens.pop(), ""
