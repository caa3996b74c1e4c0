"""Runs of playbooks on containers: start, read, list, cancel, and their logs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Container, Mapping, Sequence
from typing import Final

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
    cancelled_of,
    log_of,
    run_json,
)
from api.phantom.routing import EXECUTE, READ_RUNS, Rest, listed, number_of
from api.phantom.wire import answer, failure, flag, json_in, number_in, parse_time, read_object, truth_of
from api.services import Services
from executions.container_runs import ContainerRequest, start_on_container
from executions.errors import BadRequest, NotFound, NotRunning, ParametersInvalid
from executions.truth import Cancel, Unsettled
from playbooks.record import Json
from playbooks.states import State
from storage.phantom import runs
from storage.phantom.filters import Condition, Fields, Kind
from storage.phantom.records import Query, Record
from storage.phantom.runs import RunRow, Scope

rest = Rest()

AT_ONCE: Final = 20
"""Runs that one request reads at the same time."""


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
    found = await read_all(services, rows)
    return listed([_shown(request, run) for run in found], total, query)


@rest.route("GET", "/playbook_run/{number}", READ_RUNS)
async def read_run(request: Request, services: Services, caller: Caller) -> Response:
    """Read how a run stands."""
    number, pretty = number_of(request), flag(request, "pretty")
    known = None if pretty else services.phantom.closed.get(number)
    if known is not None:
        return known
    run = await run_of(request, services)
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
    run = await read_one(services, row)
    state = run.truth.record.state
    if state.is_final and state is not State.CANCELLED:
        return failure(f"Playbook run {number} is not running: it has ended", 400)
    reason = body.get("reason") or body.get("message") or f"cancelled by {caller.principal.name}"
    why = cancelled_of(await _cancel(request, services, caller, row, str(reason)))
    return {"cancelled": True, "message": f"Playbook run {number} was cancelled: {why}"}


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
    return in_memory(request, log_of(await run_of(request, services)), memory.declared(kinds))


@rest.route("GET", "/playbook_run/{number}/{field}", READ_RUNS)
async def read_run_field(request: Request, services: Services, caller: Caller) -> Json:
    """Read one field of a run."""
    return one_field(request, run_json(await run_of(request, services)))


@rest.route("GET", "/container/{number}/playbook_runs", READ_RUNS)
async def list_runs_in(request: Request, services: Services, caller: Caller) -> Json:
    """List the runs on a container."""
    query = list_query(request, runs.RUN_FIELDS)
    own = Condition("container", "exact", number_of(request))
    rows, total = await services.database.read(runs.page, _with(query, own))
    return listed([_shown(request, run) for run in await read_all(services, rows)], total, query)


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
    return await read_all(services, rows)


async def cancel_runs_of(request: Request, services: Services, caller: Caller, playbook: int) -> None:
    """Cancels every run of a playbook that is under way."""
    running = [Condition("status", "exact", runs.RUNNING), Condition("playbook", "exact", playbook)]
    rows, _ = await services.database.read(runs.page, Query(running, size=0))
    for row in rows:
        with contextlib.suppress(NotFound, NotRunning, Unsettled):
            await _cancel(request, services, caller, row, "the playbook was deactivated")


async def _cancel(request: Request, services: Services, caller: Caller, row: RunRow, reason: str) -> Run:
    execution = await services.executions.row(row.execution_id)
    cancel = Cancel(by=caller.principal.id, reason=reason[:1000])
    details: dict[str, Json] = {"run": row.id}
    entry = services.journal.entry(request, "execution.cancel", "execution", row.execution_id, details, "requested")
    truth = await services.executions.canceller.cancel(execution, cancel, entry)
    return Run(row, truth, {})


async def run_of(request: Request, services: Services) -> Run:
    """The run whose number is in the path, read once for all who ask at once.  Raises NotFound."""
    number = number_of(request)
    run: Run = await services.phantom.reading.read(str(number), lambda: _numbered(services, number))
    return run


async def _numbered(services: Services, number: int) -> Run:
    row = await services.database.read(runs.get, number)
    if row is None:
        raise _unknown(number)
    return await read_one(services, row)


async def read_one(services: Services, row: RunRow) -> Run:
    """The truth about a run."""
    truth = await services.executions.read(row.execution_id)
    io = await services.executions.io(truth) if truth.row.closed_at is not None else {}
    return Run(row, truth, io or {})


async def read_all(services: Services, rows: Sequence[RunRow]) -> list[Run]:
    """The truth about each of these runs."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(row: RunRow) -> Run | None:
        async with slots:
            try:
                return await read_one(services, row)
            except (NotFound, Unsettled):
                return None

    found = await asyncio.gather(*(one(row) for row in rows))
    return [run for run in found if run is not None]


def in_memory(request: Request, rows: Sequence[Record], fields: Fields, hidden: Container[str] = ()) -> Json:
    """A page of a list that is computed; ``hidden`` fields are there to be filtered by only."""
    query = list_query(request, fields)
    for row in rows:
        for name in ("playbook_run", "container", "action_run"):
            if f"{name}_id" in fields:
                row[f"{name}_id"] = row.get(name)
    page, total = memory.page_of(rows, fields, query)
    shown = [{name: value for name, value in row.items() if name not in hidden} for row in page]
    return listed([shown_pretty(request, row) for row in shown], total, query)


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
        return {**shown_pretty(request, shown), **named}
    return shown


def shown_pretty(request: Request, shown: Record) -> Record:
    """A record, with its times in words where they are asked for."""
    if not flag(request, "pretty"):
        return shown
    times = {
        name: parse_time(value)
        for name, value in shown.items()
        if (name.endswith("_time") or name == "time") and isinstance(value, str)
    }
    return {**shown, **pretty_times(times)}


def one_field(request: Request, shown: Record) -> Record:
    """The one field that the path names.  Raises NotFound."""
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
