"""Executions, to look at: the list, one of them, what its steps had and gave, its files, two side by side."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.backend import ASSETS, EXECUTIONS, PLAYBOOKS, Backend, path_of
from api.console.execution_view import LOOPS, View, needs_io
from api.console.names import names_of
from api.console.pages import HEADERS, page
from api.console.sessions import SignedIn
from api.event_ids import event_id, signature, state_letter
from api.services import ServicesDep
from executions.truth import Truth
from playbooks.record import Json
from playbooks.states import State

router = APIRouter(include_in_schema=False)

FILTERS = ("playbook_id", "target_asset_id", "status", "dry_run")
LONGEST_SINCE = 4_000
"""Characters of an address that say what the page has shown; a longer run is told whole again."""


@router.get("/executions", name="console.executions")
async def executions_page(request: Request, services: ServicesDep, visitor: SignedIn) -> Response:
    """List executions; what the list is narrowed to stands in the address."""
    backend = Backend(request, visitor)
    chosen = {name: request.query_params.get(name, "") for name in FILTERS}
    given = {name: value for name, value in chosen.items() if value}
    number = request.query_params.get("page", "1")
    listed = await backend.get(EXECUTIONS, page=number, **given)
    return page(
        request,
        visitor,
        "executions.html",
        listed=listed,
        names=await names_of(services, visitor, listed["data"]),
        chosen=chosen,
        given=given,
        states=[state.value for state in State],
        playbooks=await choices(backend, PLAYBOOKS, "playbook:read"),
        assets=await choices(backend, ASSETS, "asset:read"),
    )


async def choices(backend: Backend, path: str, permission: str) -> list[Json]:
    """What can be chosen from a list, as far as the visitor may see it: its first hundred entries."""
    if not backend.visitor.may(permission):
        return []
    found: list[Json] = (await backend.get(path, per_page=100))["data"]
    return found


@router.get("/executions/{execution_id}", name="console.execution")
async def execution_page(request: Request, services: ServicesDep, visitor: SignedIn, execution_id: str) -> Response:
    """Show an execution; while it is open, the page follows it."""
    backend = Backend(request, visitor)
    truth_before = await services.executions.read(execution_id)
    execution = await read_execution(backend, execution_id)
    names = await names_of(services, visitor, [execution])
    opposite = await _opposite(backend, execution)
    return page(
        request,
        visitor,
        "execution.html",
        opposite=opposite,
        since=_since(truth_before),
        **View(execution, visitor, names).values(),
    )


async def read_execution(backend: Backend, execution_id: str) -> Json:
    """The execution with its files, and with what its steps had and gave where the rows show it."""
    path = path_of(EXECUTIONS, execution_id)
    execution = await backend.get(path, include="artifacts")
    return await backend.get(path, include="io,artifacts") if needs_io(execution) else execution


def _since(truth: Truth) -> str:
    """What the page has shown at least: read before it, so that nothing in between is missed."""
    steps = [signature(step) for step in truth.record.steps]
    text = event_id(state_letter(truth.record.state), steps)
    return text if len(text) <= LONGEST_SINCE else ""


async def _opposite(backend: Backend, execution: Json) -> Json:
    """The latest execution of the other kind, a rehearsal for a live run, of the same playbook on the same asset."""
    found = await backend.get(
        EXECUTIONS,
        playbook_id=execution["playbook_id"],
        target_asset_id=execution["target_asset_id"],
        dry_run="false" if execution["dry_run"] else "true",
        per_page=1,
    )
    return found["data"][0] if found["data"] else None


@router.get("/executions/{execution_id}/steps/{action_id}", name="console.step")
async def step_part(request: Request, visitor: SignedIn, execution_id: str, action_id: str) -> Response:
    """Show what one step had and gave; of a loop, its iterations."""
    execution = await Backend(request, visitor).get(path_of(EXECUTIONS, execution_id), include="io,iterations")
    step = next((one for one in execution["steps"] if one["action_id"] == action_id), None)
    values: dict[str, Any] = {
        "execution": execution,
        "step": step,
        "is_loop": step is not None and step["type"] in LOOPS,
        "may_act": visitor.may("playbook:execute"),
    }
    return page(request, visitor, "parts/step_io.html", status=200 if step else 404, **values)


@router.get("/executions/{execution_id}/artifacts/{name}", name="console.artifact")
async def artifact_file(request: Request, visitor: SignedIn, execution_id: str, name: str) -> Response:
    """Download a file that a step has made."""
    path = path_of(EXECUTIONS, execution_id, "artifacts", name)
    answered = await Backend(request, visitor).send("GET", path)
    kept = {"content-disposition", "content-security-policy", "content-type"}
    headers = {name: value for name, value in answered.headers.items() if name in kept}
    return Response(answered.content, headers={**HEADERS, **headers})


@router.get("/executions/{execution_id}/compare/{other}", name="console.compare")
async def compare_page(
    request: Request, services: ServicesDep, visitor: SignedIn, execution_id: str, other: str
) -> Response:
    """Show two executions side by side, where they differ marked."""
    compared = await Backend(request, visitor).get(path_of(EXECUTIONS, execution_id, "compare", other))
    names = await names_of(services, visitor, [compared["left"], compared["right"]])
    return page(request, visitor, "compare.html", compared=compared, names=names)
