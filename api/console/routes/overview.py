"""The first page: what runs, what waits for somebody, what happened last."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.backend import EXECUTIONS, PLAYBOOKS, Backend, Refused, path_of
from api.console.names import READS_EXECUTIONS, names_of
from api.console.pages import page, redirect
from api.console.sessions import SignedIn, Visitor
from api.services import ServicesDep
from playbooks.record import Json

router = APIRouter(include_in_schema=False)

COUNTED = ("running", "pending", "completed", "failed", "cancelled")
LOOKED_INTO = 20
"""Open executions that are searched for steps that wait for an approval."""


@router.get("/", name="console.overview")
async def overview(request: Request, services: ServicesDep, visitor: SignedIn) -> Response:
    """Show how things stand."""
    backend = Backend(request, visitor)
    if not visitor.may(*READS_EXECUTIONS):
        return _elsewhere(request, visitor)
    counts, recent, running = await asyncio.gather(
        asyncio.gather(*(backend.get(EXECUTIONS, status=state, per_page=1) for state in COUNTED)),
        backend.get(EXECUTIONS, per_page=8),
        backend.get(EXECUTIONS, status="running", per_page=LOOKED_INTO),
    )
    waiting = await _waiting(backend, running["data"])
    popular = await backend.get(PLAYBOOKS, per_page=6) if visitor.may("playbook:read") else {"data": []}
    return page(
        request,
        visitor,
        "overview.html",
        counts={state: found["meta"]["total"] for state, found in zip(COUNTED, counts, strict=True)},
        recent=recent["data"],
        waiting=waiting,
        playbooks=popular["data"],
        names=await names_of(services, visitor, [*recent["data"], *(one for one, _ in waiting)]),
    )


def _elsewhere(request: Request, visitor: Visitor) -> Response:
    """The first page of a token that may not see executions."""
    if visitor.may("asset:read"):
        return redirect("/assets")
    if visitor.may("audit:read"):
        return redirect("/audit")
    if visitor.may("token:admin"):
        return redirect("/tokens")
    return page(request, visitor, "nothing.html")


async def _waiting(backend: Backend, running: list[Json]) -> list[tuple[Json, Json]]:
    """The executions with a step that waits for an approval, each with that step."""

    async def look(one: Json) -> Json:
        try:
            return await backend.get(path_of(EXECUTIONS, one["execution_id"]))
        except Refused:
            return None

    found = await asyncio.gather(*(look(one) for one in running))
    return [
        (execution, step)
        for execution in found
        if execution is not None
        for step in execution["steps"]
        if step["waiting_for"] and step["waiting_for"]["kind"] == "approval"
    ]
