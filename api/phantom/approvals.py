"""Approvals: steps of runs on containers that wait for somebody, with the numbers of their action runs."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from api.limits import address_of
from api.phantom import memory
from api.phantom.auth import Caller
from api.phantom.query import list_query
from api.phantom.results import Run, action_run_id, place_of
from api.phantom.routing import EXECUTE, READ_RUNS, Rest, listed, number_of
from api.phantom.runs import read_open
from api.phantom.steps import number_of_step
from api.phantom.wire import read_object, time_of
from api.services import Services
from executions.errors import BadRequest, NotFound
from playbooks.contract import Decide
from playbooks.record import Json
from storage.phantom import runs
from storage.phantom.filters import Kind
from storage.phantom.records import Record

rest = Rest()

KINDS: dict[str, Kind] = {
    "id": "number", "status": "text", "name": "text", "type": "text", "action_run": "number",
    "action_run__container_id": "number", "action_run__container": "number", "container": "number",
    "playbook_run": "number", "start_time": "time", "message": "text",
}  # fmt: skip
FIELDS = memory.declared(KINDS)
REJECTING = frozenset({"deny", "denied", "reject", "rejected", "no"})


@rest.route("GET", "/approval", READ_RUNS)
async def list_approvals(request: Request, services: Services, caller: Caller) -> Json:
    """List what waits for a decision."""
    return _listed(request, await read_open(services))


@rest.route("GET", "/container/{number}/approvals", READ_RUNS)
async def list_approvals_in(request: Request, services: Services, caller: Caller) -> Json:
    """List what waits for a decision in the runs on a container."""
    number = number_of(request)
    return _listed(request, [run for run in await read_open(services) if run.row.container == number])


@rest.route("GET", "/approval/{number}", READ_RUNS)
async def read_approval(request: Request, services: Services, caller: Caller) -> Json:
    """Read one that waits."""
    number = number_of_step(request)
    for run in await read_open(services):
        for one in _waiting(run):
            if one["id"] == number:
                return one
    raise NotFound(f'Approval "{number}" not found: nothing waits for it')


@rest.route("POST", "/approval/{number}", EXECUTE)
async def decide(request: Request, services: Services, caller: Caller) -> Json:
    """Approve, or with `status` `deny` reject."""
    number = number_of_step(request)
    body = await read_object(request)
    run_number, index = place_of(number)
    row = await services.database.read(runs.get, run_number)
    if row is None:
        raise NotFound(f'Approval "{number}" not found')
    execution = await services.executions.row(row.execution_id)
    truth = await services.executions.reader.read(execution)
    if index >= len(truth.revision.step_ids):
        raise NotFound(f'Approval "{number}" not found')
    said = str(body.get("status", "approve")).lower()
    if said not in REJECTING and said not in ("approve", "approved", "yes"):
        raise BadRequest('"status" must be approve or deny.')
    decision = Decide(
        approve=said not in REJECTING,
        step=truth.revision.step_ids[index],
        comment=_comment(body),
        by=caller.principal.name,
        by_id=caller.principal.id,
        permissions=sorted(caller.principal.permissions),
        address=address_of(request.scope),
    )
    await services.executions.decider.decide(execution, decision)
    return {"success": True, "id": number}


def _listed(request: Request, found: Sequence[Run]) -> Json:
    query = list_query(request, FIELDS)
    page, total = memory.page_of([one for run in found for one in _waiting(run)], FIELDS, query)
    return listed(page, total, query)


def _waiting(run: Run) -> list[Record]:
    found: list[Record] = []
    for index, step in enumerate(run.truth.record.steps):
        if step.waiting_for is None or step.waiting_for.kind != "approval":
            continue
        name = run.truth.revision.steps[index]
        number = action_run_id(run.row.id, index)
        found.append(
            {
                "id": number,
                "status": "pending",
                "name": name.name,
                "type": "manual",
                "message": name.name,
                "action_run": number,
                "action_run__container_id": run.row.container,
                "action_run__container": run.row.container,
                "container": run.row.container,
                "playbook_run": run.row.id,
                "start_time": time_of(step.started_at),
                "due_time": time_of(step.waiting_for.until),
                "responses": [],
            }
        )
    return found


def _comment(body: dict[str, Json]) -> str | None:
    said = [str(body["message"])] if body.get("message") else []
    responses = body.get("responses")
    if isinstance(responses, list):
        said += [str(one) for one in responses]
    return ", ".join(said)[:1000] or None
