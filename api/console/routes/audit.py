"""The audit trail."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.backend import Backend
from api.console.pages import page
from api.console.sessions import SignedIn

router = APIRouter(include_in_schema=False)

FILTERS: Final = ("actor", "action", "object_type", "object_id")


@router.get("/audit", name="console.audit")
async def audit_page(request: Request, visitor: SignedIn) -> Response:
    """List what was done and what was refused; what the list is narrowed to stands in the address."""
    given = {name: value for name in FILTERS if (value := request.query_params.get(name))}
    number = request.query_params.get("page", "1")
    listed = await Backend(request, visitor).get("/api/audit", page=number, per_page=50, **given)
    return page(request, visitor, "audit.html", listed=listed, given=given)
