"""Executions, to act on: cancel, run again, approve, reject.

A page that is open shows the change in place; without its script the browser comes back to the page.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from api.console.backend import EXECUTIONS, Backend, path_of
from api.console.execution_view import View
from api.console.names import names_of
from api.console.pages import HEADERS, redirect
from api.console.routes.executions import read_execution
from api.console.sessions import SignedIn
from api.services import Services, ServicesDep

router = APIRouter(include_in_schema=False)

ANSWERED: Final = 100
"""Steps that an answer to a form shows anew."""


@router.post("/executions/{execution_id}/cancel", name="console.cancel")
async def cancel(request: Request, services: ServicesDep, visitor: SignedIn, execution_id: str) -> Response:
    """Cancel an execution, with a reason where one was given."""
    backend = Backend(request, visitor)
    await backend.post(path_of(EXECUTIONS, execution_id, "cancel"), {"reason": visitor.form.get("reason") or None})
    return await _shown(services, backend, execution_id)


@router.post("/executions/{execution_id}/rerun", name="console.rerun")
async def rerun(request: Request, visitor: SignedIn, execution_id: str) -> Response:
    """Run an execution again, and go to the new one."""
    body = {"from": visitor.form.get("from") or "start"}
    key = {"Idempotency-Key": visitor.form.get("key")} if visitor.form.get("key") else None
    started = await Backend(request, visitor).post(path_of(EXECUTIONS, execution_id, "rerun"), body, key)
    return redirect(f"/executions/{started['execution_id']}")


@router.post("/executions/{execution_id}/steps/{action_id}/{decision}", name="console.decide")
async def decide(
    request: Request, services: ServicesDep, visitor: SignedIn, execution_id: str, action_id: str, decision: str
) -> Response:
    """Approve or reject a step that waits for it."""
    backend = Backend(request, visitor)
    path = path_of(EXECUTIONS, execution_id, "steps", action_id, decision)
    await backend.post(path, {"comment": visitor.form.get("comment") or None})
    return await _shown(services, backend, execution_id)


async def _shown(services: Services, backend: Backend, execution_id: str) -> Response:
    """The execution as it is now: its parts for a page that is open, else the page."""
    if "hx-request" not in backend.request.headers:
        return redirect(f"/executions/{execution_id}")
    execution = await read_execution(backend, execution_id)
    names = await names_of(services, backend.visitor, [execution])
    view = View(execution, backend.visitor, names)
    # Of a long run the page hears by its events.
    steps = range(len(execution["steps"])) if len(execution["steps"]) <= ANSWERED else ()
    return HTMLResponse(view.parts(steps), headers=HEADERS)
