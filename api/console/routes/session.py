"""Signing in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.pages import page, redirect
from api.console.sessions import SignedIn, begin, end, read_form, refuse_foreign
from api.services import ServicesDep

router = APIRouter(include_in_schema=False)


@router.get("/sign-in", name="console.sign_in")
async def sign_in_page(request: Request) -> Response:
    """Ask for a token."""
    return page(request, None, "sign_in.html", next=_local(request.query_params.get("next", "")), problem="")


@router.post("/sign-in", name="session.create")
async def sign_in(request: Request, services: ServicesDep) -> Response:
    """Start a session for a good token; one that is not is counted and noted like at the interface."""
    refuse_foreign(request)
    form = await read_form(request)
    wanted = _local(form.get("next"))
    token = form.get("token").strip()
    principal, problem = await services.tokens.find(token) if token else (None, "Enter a token.")
    if services.limiter is not None:
        services.limiter.take(request.scope, principal.id if principal else None)
    if principal is None:
        services.journal.denied(request, None, "unauthorized")
        return page(request, None, "sign_in.html", status=401, next=wanted, problem=problem)
    answer = redirect(wanted or "/")
    await begin(request, answer, principal, token)
    return answer


@router.post("/sign-out", name="session.delete")
async def sign_out(request: Request, visitor: SignedIn) -> Response:
    """End the session."""
    answer = redirect("/sign-in")
    await end(request, answer, visitor)
    return answer


def _local(path: str) -> str:
    """``path`` if it is one of this site, else an empty text: nobody is sent elsewhere by a link to us."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_path and "\\" not in path else ""
