"""Tokens: listed, made (and shown this once), revoked."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.backend import Backend, Refused, path_of
from api.console.pages import page, redirect
from api.console.sessions import Form, SignedIn
from api.tokens import PERMISSIONS

router = APIRouter(include_in_schema=False)

TOKENS: Final = "/api/tokens"
LIMITS: Final = ("playbooks", "playbook_tags", "asset_tags")


@router.get("/tokens", name="console.tokens")
async def tokens_page(request: Request, visitor: SignedIn) -> Response:
    """List the tokens beside the form that makes one."""
    return await _page(request, visitor)


@router.post("/tokens", name="console.token_create")
async def create(request: Request, visitor: SignedIn) -> Response:
    """Make a token and show it; nothing shows it again."""
    form = visitor.form
    body: dict[str, Any] = {"name": form.get("name").strip(), "permissions": form.all("permission")}
    if form.get("expires"):
        # A browser's date has no zone: the token is good to the end of that day, UTC.
        body["expires_at"] = f"{form.get('expires')}T23:59:59Z"
    limits = {name: [line for line in map(str.strip, form.get(name).splitlines()) if line] for name in LIMITS}
    if any(limits.values()):
        body["limits"] = limits
    try:
        made = await Backend(request, visitor).post(TOKENS, body)
    except Refused as refused:
        if refused.status != 400:
            raise
        return await _page(request, visitor, refused=refused, status=400)
    return await _page(request, visitor, made=made, status=201)


@router.post("/tokens/{token_id}/revoke", name="console.token_revoke")
async def revoke(request: Request, visitor: SignedIn, token_id: str) -> Response:
    """Revoke a token; the sessions that it began end with it."""
    await Backend(request, visitor).delete(path_of(TOKENS, token_id))
    return redirect("/tokens")


async def _page(
    request: Request, visitor: SignedIn, *, made: Any = None, refused: Refused | None = None, status: int = 200
) -> Response:
    listed = await Backend(request, visitor).get(TOKENS, page=request.query_params.get("page", "1"))
    return page(
        request,
        visitor,
        "tokens.html",
        status=status,
        listed=listed,
        permissions=PERMISSIONS,
        typed=_typed(visitor.form) if refused else None,
        made=made,
        refused=refused,
    )


def _typed(form: Form) -> dict[str, Any]:
    return {"permissions": form.all("permission"), **{name: form.get(name) for name in ("name", *LIMITS)}}
