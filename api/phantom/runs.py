"""Runs of playbooks on containers: start, read, list, cancel, and their actions and logs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api.limits import address_of
from api.phantom import memory
from api.phantom.auth import Caller
from api.phantom.containers import context
from api.phantom.query import list_query
from api.phantom.resources import pretty_times
from api.phantom.results import (
    Run,
    action_runs,
    app_runs,
    cancelled_of,
    log_of,
    place_of,
    run_json,
)
from api.phantom.routing import EXECUTE, READ_RUNS, Rest, listed, number_of
from api.phantom.wire import answer, failure, flag, json_in, number_in, parse_time, read_object, truth_of
from api.services import Services
from executions.container_runs import ContainerRequest, start_on_container
from executions.errors import BadRequest, NotFound, ParametersInvalid
from executions.truth import Cancel, Unsettled
from playbooks.record import Json
from playbooks.states import State
from storage import audit
from storage.phantom import runs
from storage.phantom.filters import Condition, Kind
from storage.phantom.records import Query, Record
from storage.phantom.runs import RunRow, Scope

rest = Rest()

AT_ONCE: Final = 20
"""Runs that one request reads at the same time."""

RECENT: Final = 500
"""Runs whose steps a list of action runs looks through, where no run and no container is named."""

ACTION_FIELDS: Final = memory.declared(
    dict[str, Kind](
        id="number", action="text", name="text", status="text", message="text", container="number",
        playbook="number", playbook_run="number", owner="number", creator="number", type="text",
        create_time="time", close_time="time", update_time="time", effective_user="number", cancelled="text",
    )
    | {"playbook_run_id": "number", "container_id": "number"}
)  # fmt: skip
APP_FIELDS: Final = memory.declared(
    dict[str, Kind](
        id="number", action="text", action_run="number", app="number", app_name="text", asset="number",
        asset_name="text", container="number", playbook_run="number", status="text", message="text",
        start_time="time", end_time="time",
    )
    | {"playbook_run_id": "number", "container_id": "number", "action_run_id": "number"}
)  # fmt: skip


@rest.route("POST", "/playbook_run", EXECUTE)
async def start_run(request: Request, services: Services, caller: Caller) -> Json:
    """Run a playbook on a container; the answer says that it is queued."""
    body = await read_object(request)
    container = number_in(body, "container_id", "container")
    if container is None:
        raise BadRequest('"container_id" is required.')
    if "run" in body and not truth_of(body["run"], "run"):
        raise BadRequest('"run" must be true: there is nothing else to ask for.')
    asked = ContainerRequest(
        container=container,
        playbook_id=await playbook_named(services, body.get("playbook_id", body.get("playbook"))),
        scope=_scope(body.get("scope")),
        parameters=_inputs(body.get("inputs")),
        owner=caller.number,
        address=address_of(request.scope),
        principal_id=caller.principal.id,
        exclusive=services.settings.phantom_exclusive,
    )
    entry = services.journal.entry(request, "execution.run", "execution", None, outcome="requested")
    try:
        truth = await start_on_container(services.executions.starter, asked, entry, context)
    except ParametersInvalid as error:
        faults = "; ".join(f"{detail.path.removeprefix('/parameters')}: {detail.message}" for detail in error.details)
        raise BadRequest(f"The inputs do not fit the playbook: {faults}") from error
    return {"playbook_run_id": str(truth.row.number), "received": True}


@rest.route("GET", "/playbook_run", READ_RUNS)
async def list_runs(request: Request, services: Services, caller: Caller) -> Json:
    """List the runs."""
    query = list_query(request, runs.RUN_FIELDS)
    rows, total = await services.database.read(runs.page, query)
    found = await _read_all(services, rows)
    return listed([_shown(request, run) for run in found], total, query)


@rest.route("GET", "/playbook_run/{number}", READ_RUNS)
async def read_run(request: Request, services: Services, caller: Caller) -> Response:
    """Read how a run stands."""
    number, pretty = number_of(request), flag(request, "pretty")
    known = None if pretty else services.phantom.closed.get(number)
    if known is not None:
        return known
    run = await _run(request, services)
    shown = answer(_shown(request, run))
    if not pretty and run.truth.row.closed_at is not None:
        services.phantom.closed.put(number, shown)
    return shown


@rest.route("POST", "/playbook_run/{number}", EXECUTE)
async def cancel_run(request: Request, services: Services, caller: Caller) -> Response | Json:
    """Cancel a run."""
    number = number_of(request)
    body = await read_object(request)
    if not truth_of(body.get("cancel", False), "cancel"):
        raise BadRequest('"cancel" must be true: nothing else of a run can be changed.')
    row = await services.database.read(runs.get, number)
    if row is None:
        raise _unknown(number)
    run = await _read(services, row)
    state = run.truth.record.state
    if state.is_final and state is not State.CANCELLED:
        return failure(f"Playbook run {number} is not running: it has ended", 400)
    reason = body.get("reason") or body.get("message") or f"cancelled by {caller.principal.name}"
    execution = await services.executions.row(row.execution_id)
    cancel = Cancel(by=caller.principal.id, reason=str(reason)[:1000])
    truth = await services.executions.canceller.cancel(execution, cancel)
    entry = services.journal.entry(request, "execution.cancel", "execution", row.execution_id, {"run": number})
    await services.database.write(audit.append, entry)
    why = cancelled_of(Run(row, truth, {}))
    return {"cancelled": True, "message": f"Playbook run {number} was cancelled: {why}"}


@rest.route("GET", "/playbook_run/{number}/actions", READ_RUNS)
async def list_actions_of(request: Request, services: Services, caller: Caller) -> Json:
    """List the action runs of a run."""
    return _in_memory(request, action_runs(await _run(request, services)), ACTION_FIELDS)


@rest.route("GET", "/playbook_run/{number}/log", READ_RUNS)
async def list_log(request: Request, services: Services, caller: Caller) -> Json:
    """List what happened in a run, line by line."""
    kinds: dict[str, Kind] = {
        "id": "number",
        "time": "time",
        "message_type": "number",
        "message": "text",
        "playbook_run": "number",
    }
    return _in_memory(request, log_of(await _run(request, services)), memory.declared(kinds))


@rest.route("GET", "/playbook_run/{number}/{field}", READ_RUNS)
async def read_run_field(request: Request, services: Services, caller: Caller) -> Json:
    """Read one field of a run."""
    return _field(request, run_json(await _run(request, services)))


@rest.route("GET", "/action_run", READ_RUNS)
async def list_action_runs(request: Request, services: Services, caller: Caller) -> Json:
    """List action runs: each step that ran."""
    found = await _candidates(services, list_query(request, ACTION_FIELDS))
    return _in_memory(request, [one for run in found for one in action_runs(run)], ACTION_FIELDS)


@rest.route("GET", "/app_run", READ_RUNS)
async def list_app_runs(request: Request, services: Services, caller: Caller) -> Json:
    """List app runs: one for each action run."""
    found = await _candidates(services, list_query(request, APP_FIELDS))
    return _in_memory(request, [one for run in found for one in app_runs(run)], APP_FIELDS)


@rest.route("GET", "/action_run/{number}", READ_RUNS)
async def read_action_run(request: Request, services: Services, caller: Caller) -> Json:
    """Read an action run."""
    return _pretty(request, await _of_step(request, services, action_runs))


@rest.route("GET", "/app_run/{number}", READ_RUNS)
async def read_app_run(request: Request, services: Services, caller: Caller) -> Json:
    """Read an app run."""
    return _pretty(request, await _of_step(request, services, app_runs))


@rest.route("GET", "/action_run/{number}/app_runs", READ_RUNS)
async def list_app_runs_of(request: Request, services: Services, caller: Caller) -> Json:
    """List the app runs of an action run."""
    return _in_memory(request, [await _of_step(request, services, app_runs)], APP_FIELDS)


@rest.route("GET", "/action_run/{number}/{field}", READ_RUNS)
async def read_action_field(request: Request, services: Services, caller: Caller) -> Json:
    """Read one field of an action run."""
    return _field(request, await _of_step(request, services, action_runs))


@rest.route("GET", "/app_run/{number}/{field}", READ_RUNS)
async def read_app_field(request: Request, services: Services, caller: Caller) -> Json:
    """Read one field of an app run."""
    return _field(request, await _of_step(request, services, app_runs))


@rest.route("GET", "/container/{number}/actions", READ_RUNS)
async def list_actions_in(request: Request, services: Services, caller: Caller) -> Json:
    """List the action runs on a container."""
    only = Query([Condition("container", "exact", number_of(request))], size=0)
    rows, _ = await services.database.read(runs.page, only)
    found = await _read_all(services, rows)
    return _in_memory(request, [one for run in found for one in action_runs(run)], ACTION_FIELDS)


@rest.route("GET", "/container/{number}/playbook_runs", READ_RUNS)
async def list_runs_in(request: Request, services: Services, caller: Caller) -> Json:
    """List the runs on a container."""
    query = list_query(request, runs.RUN_FIELDS)
    own = Condition("container", "exact", number_of(request))
    rows, total = await services.database.read(runs.page, _with(query, own))
    return listed([_shown(request, run) for run in await _read_all(services, rows)], total, query)


async def playbook_named(services: Services, given: Json) -> str:
    """The id of the playbook that a number, digits, ``repo/name`` or a name mean.  Raises BadRequest, NotFound."""
    if given is None or given == "":
        raise BadRequest('"playbook_id" is required.')
    found: str | None = None
    if (isinstance(given, int) and not isinstance(given, bool)) or str(given).isdecimal():
        number = number_in({"playbook_id": given}, "playbook_id")
        found = await services.database.read(runs.playbook_by_number, number or 0)
    elif isinstance(given, str):
        repository, slash, name = given.partition("/")
        if not slash or repository == "local":
            named = await services.database.read(runs.playbooks_by_name, name if slash else given)
            if len(named) > 1:
                raise BadRequest(f'Several playbooks are named "{given}"; use the id of one.')
            found = named[0] if named else None
    if found is None:
        raise NotFound(f'Playbook "{given}" not found')
    return found


async def read_open(services: Services) -> list[Run]:
    """Every run on a container that is under way."""
    rows, _ = await services.database.read(runs.page, Query([Condition("status", "exact", runs.RUNNING)], size=0))
    return await _read_all(services, rows)


async def _run(request: Request, services: Services) -> Run:
    number = number_of(request)
    row = await services.database.read(runs.get, number)
    if row is None:
        raise _unknown(number)
    return await _read(services, row)


async def _read(services: Services, row: RunRow) -> Run:
    truth = await services.executions.read(row.execution_id)
    io = await services.executions.io(truth) if truth.row.closed_at is not None else {}
    return Run(row, truth, io or {})


async def _read_all(services: Services, rows: Sequence[RunRow]) -> list[Run]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(row: RunRow) -> Run | None:
        async with slots:
            try:
                return await _read(services, row)
            except (NotFound, Unsettled):
                return None

    found = await asyncio.gather(*(one(row) for row in rows))
    return [run for run in found if run is not None]


async def _candidates(services: Services, query: Query) -> list[Run]:
    """The runs whose steps may fit: those of the run or the container that the query names, else the latest."""
    conditions: list[Condition] = []
    for one in query.conditions:
        if one.exclude or one.operator != "exact":
            continue
        if one.field in ("playbook_run", "playbook_run_id"):
            conditions.append(Condition("id", "exact", one.value))
        elif one.field in ("container", "container_id"):
            conditions.append(Condition("container", "exact", one.value))
        elif one.field in ("id", "action_run", "action_run_id") and isinstance(one.value, int):
            conditions.append(Condition("id", "exact", place_of(one.value)[0]))
    size = 0 if conditions else RECENT
    rows, _ = await services.database.read(runs.page, Query(conditions, sort="id", descending=True, size=size))
    return await _read_all(services, rows)


async def _of_step(request: Request, services: Services, listing: Any) -> Record:
    number = number_of_step(request)
    row = await services.database.read(runs.get, place_of(number)[0])
    if row is not None:
        for one in listing(await _read(services, row)):
            if one["id"] == number:
                return dict(one)
    raise NotFound(f'Action run "{number}" not found')


def number_of_step(request: Request) -> int:
    """The number of an action run in the path.  Raises NotFound."""
    text = str(request.path_params["number"])
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text)
    raise NotFound(f'Nothing has the id "{text[:100]}"')


def _in_memory(request: Request, rows: Sequence[Record], fields: Any) -> Json:
    query = list_query(request, fields)
    for row in rows:
        for name in ("playbook_run", "container", "action_run"):
            if f"{name}_id" in fields:
                row[f"{name}_id"] = row.get(name)
    page, total = memory.page_of(rows, fields, query)
    return listed([_pretty(request, row) for row in page], total, query)


def _shown(request: Request, run: Run) -> Record:
    shown = run_json(run)
    if flag(request, "pretty"):
        row = run.row
        named = {
            "_pretty_container": row.container_name,
            "_pretty_playbook": row.playbook_name,
            "_pretty_owner": row.owner_name,
            "_pretty_effective_user": row.owner_name,
        }
        return {**_pretty(request, shown), **named}
    return shown


def _pretty(request: Request, shown: Record) -> Record:
    if not flag(request, "pretty"):
        return shown
    times = {
        name: parse_time(value)
        for name, value in shown.items()
        if (name.endswith("_time") or name == "time") and isinstance(value, str)
    }
    return {**shown, **pretty_times(times)}


def _field(request: Request, shown: Record) -> Record:
    name = str(request.path_params["field"])
    if name not in shown:
        raise NotFound(f'There is no "{name[:100]}"; there are {", ".join(sorted(shown))}')
    return {name: shown[name]}


def _with(query: Query, condition: Condition) -> Query:
    return Query([*query.conditions, condition], query.sort, query.descending, query.page, query.size)


def _scope(given: Json) -> Scope:
    """``all``, ``new`` (also where nothing is said), or the numbers of artifacts.  Raises BadRequest."""
    if given in (None, ""):
        return "new"
    if isinstance(given, str) and given.strip().startswith("["):
        try:
            given = json_in(given)
        except ValueError:
            raise BadRequest('"scope" must be all, new, or a list of artifact ids.') from None
    if given in ("all", "new"):
        return "all" if given == "all" else "new"
    if isinstance(given, list):
        numbers = [number_in({"scope": one}, "scope") for one in given]
        if None not in numbers:
            return [one for one in dict.fromkeys(numbers) if one is not None]
    raise BadRequest('"scope" must be all, new, or a list of artifact ids.')


def _inputs(given: Json) -> dict[str, Json]:
    if isinstance(given, str) and given.strip():
        try:
            given = json_in(given)
        except ValueError as error:
            raise BadRequest(f'"inputs" must be an object, or JSON of one: {error}') from None
    if given in (None, "", []):
        return {}
    if not isinstance(given, Mapping):
        raise BadRequest('"inputs" must be an object, or JSON of one.')
    return dict(given)


def _unknown(number: int) -> NotFound:
    return NotFound(f'Playbook run "{number}" not found')
