"""Steps of runs on containers, as the Phantom interface knows them: action runs, and their app runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import Request

from api.phantom import memory
from api.phantom.auth import Caller
from api.phantom.query import list_query
from api.phantom.results import Run, action_runs, app_runs, place_of, status_of
from api.phantom.routing import READ_RUNS, Rest, number_of
from api.phantom.runs import in_memory, one_field, read_all, read_one, run_of, shown_pretty
from api.services import Services
from executions.errors import NotFound
from playbooks.record import Json
from storage.phantom import runs
from storage.phantom.filters import Condition, Fields, Kind
from storage.phantom.records import Query, Record

rest = Rest()

Listing = Callable[[Run], list[Record]]

RECENT: Final = 500
"""Runs whose steps a list of action runs looks through, where no run and no container is named."""

OF_RUN: Final[dict[str, Kind]] = {
    "playbook_run__status": "text",
    "playbook__name": "text",
    "container__name": "text",
    "container__label": "text",
}
"""Fields of the run that a step belongs to, by which steps are found."""

ACTION_FIELDS: Final = memory.declared(
    dict[str, Kind](
        id="number", action="text", name="text", status="text", message="text", container="number",
        playbook="number", playbook_run="number", owner="number", creator="number", type="text",
        create_time="time", close_time="time", update_time="time", effective_user="number", cancelled="text",
    )
    | {"playbook_run_id": "number", "container_id": "number"} | OF_RUN
)  # fmt: skip
APP_FIELDS: Final = memory.declared(
    dict[str, Kind](
        id="number", action="text", action_run="number", app="number", app_name="text", asset="number",
        asset_name="text", container="number", playbook_run="number", status="text", message="text",
        start_time="time", end_time="time", parameter="text", result_data="text",
    )
    | {"playbook_run_id": "number", "container_id": "number", "action_run_id": "number"} | OF_RUN
)  # fmt: skip


@rest.route("GET", "/playbook_run/{number}/actions", READ_RUNS)
async def list_actions_of(request: Request, services: Services, caller: Caller) -> Json:
    """List the action runs of a run."""
    return _listed(request, [await run_of(request, services)], action_runs, ACTION_FIELDS)


@rest.route("GET", "/action_run", READ_RUNS)
async def list_action_runs(request: Request, services: Services, caller: Caller) -> Json:
    """List action runs: each step that ran."""
    found = await _candidates(services, list_query(request, ACTION_FIELDS))
    return _listed(request, found, action_runs, ACTION_FIELDS)


@rest.route("GET", "/app_run", READ_RUNS)
async def list_app_runs(request: Request, services: Services, caller: Caller) -> Json:
    """List app runs: one for each action run."""
    found = await _candidates(services, list_query(request, APP_FIELDS))
    return _listed(request, found, app_runs, APP_FIELDS)


@rest.route("GET", "/action_run/{number}", READ_RUNS)
async def read_action_run(request: Request, services: Services, caller: Caller) -> Json:
    """Read an action run."""
    return shown_pretty(request, await _of_step(request, services, action_runs))


@rest.route("GET", "/app_run/{number}", READ_RUNS)
async def read_app_run(request: Request, services: Services, caller: Caller) -> Json:
    """Read an app run."""
    return shown_pretty(request, await _of_step(request, services, app_runs))


@rest.route("GET", "/action_run/{number}/app_runs", READ_RUNS)
async def list_app_runs_of(request: Request, services: Services, caller: Caller) -> Json:
    """List the app runs of an action run."""
    number, run = await _run_of_step(request, services)
    return _listed(request, [run], lambda run: [one for one in app_runs(run) if one["id"] == number], APP_FIELDS)


@rest.route("GET", "/action_run/{number}/{field}", READ_RUNS)
async def read_action_field(request: Request, services: Services, caller: Caller) -> Json:
    """Read one field of an action run."""
    return one_field(request, await _of_step(request, services, action_runs))


@rest.route("GET", "/app_run/{number}/{field}", READ_RUNS)
async def read_app_field(request: Request, services: Services, caller: Caller) -> Json:
    """Read one field of an app run."""
    return one_field(request, await _of_step(request, services, app_runs))


@rest.route("GET", "/container/{number}/actions", READ_RUNS)
async def list_actions_in(request: Request, services: Services, caller: Caller) -> Json:
    """List the action runs on a container."""
    only = Query([Condition("container", "exact", number_of(request))], size=0)
    rows, _ = await services.database.read(runs.page, only)
    found = await read_all(services, rows)
    return _listed(request, found, action_runs, ACTION_FIELDS)


async def _candidates(services: Services, query: Query) -> list[Run]:
    """The runs whose steps may fit: those of the run or the container that the query names, else the latest."""
    conditions: list[Condition] = []
    related: list[Condition] = []
    for one in query.conditions:
        if one.field in OF_RUN:
            related.append(replace(one, field=one.field.removeprefix("playbook_run__")))
        elif one.exclude or one.operator != "exact":
            continue
        elif one.field in ("playbook_run", "playbook_run_id"):
            conditions.append(Condition("id", "exact", one.value))
        elif one.field in ("container", "container_id"):
            conditions.append(Condition("container", "exact", one.value))
        elif one.field in ("id", "action_run", "action_run_id") and isinstance(one.value, int):
            conditions.append(Condition("id", "exact", place_of(one.value)[0]))
    size = 0 if conditions else RECENT
    wanted = Query([*conditions, *related], sort="id", descending=True, size=size)
    rows, _ = await services.database.read(runs.page, wanted)
    return await read_all(services, rows)


async def _run_of_step(request: Request, services: Services) -> tuple[int, Run]:
    """The number of an action run in the path, and the run that it is of.  Raises NotFound."""
    number = number_of_step(request)
    row = await services.database.read(runs.get, place_of(number)[0])
    if row is not None:
        run = await read_one(services, row)
        if any(one["id"] == number for one in action_runs(run)):
            return number, run
    raise NotFound(f'Action run "{number}" not found')


async def _of_step(request: Request, services: Services, listing: Listing) -> Record:
    number, run = await _run_of_step(request, services)
    return next(one for one in listing(run) if one["id"] == number)


def number_of_step(request: Request) -> int:
    """The number of an action run in the path.  Raises NotFound."""
    text = str(request.path_params["number"])
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text)
    raise NotFound(f'Nothing has the id "{text[:100]}"')


def _listed(request: Request, found: Sequence[Run], listing: Listing, fields: Fields) -> Json:
    """A page of the steps of these runs; what they are filtered by of their run is not shown."""
    rows = [{**one, **_of_run(run)} for run in found for one in listing(run)]
    return in_memory(request, rows, fields, hidden=OF_RUN)


def _of_run(run: Run) -> Record:
    return {
        "playbook_run__status": status_of(run.truth.record.state),
        "playbook__name": run.row.playbook_name,
        "container__name": run.row.container_name,
        "container__label": run.row.container_label,
    }
