"""Playbooks, as the Phantom interface shows them: ``local/<name>``, with a number."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection
from starlette.requests import Request

from api.errors import Forbidden
from api.phantom.auth import Caller
from api.phantom.query import list_query
from api.phantom.resources import pretty_times
from api.phantom.results import REPOSITORY
from api.phantom.routing import EXECUTE, READ_PLAYBOOKS, Rest, listed, number_of
from api.phantom.runs import cancel_runs_of
from api.phantom.wire import flag, number_in, read_object, time_of, truth_of
from api.services import Services
from executions.errors import BadRequest, NotFound
from playbooks.record import Json
from storage import audit, playbooks
from storage.audit import NewAudit
from storage.phantom import runs
from storage.phantom.filters import Condition
from storage.phantom.records import Query, Record

rest = Rest()
WRITE_PLAYBOOKS = ("playbook:write",)


@rest.route("GET", "/playbook", READ_PLAYBOOKS)
async def list_playbooks(request: Request, services: Services, caller: Caller) -> Json:
    """List the playbooks."""
    query = list_query(request, runs.PLAYBOOK_FIELDS)
    rows, total = await services.database.read(runs.list_playbooks, query)
    return listed([_shown(request, row) for row in rows], total, query)


@rest.route("GET", "/playbook/{number}", READ_PLAYBOOKS)
async def read_playbook(request: Request, services: Services, caller: Caller) -> Json:
    """Read a playbook; `coa_data` and `python` hold its definition."""
    return await _whole(request, services)


@rest.route("GET", "/playbook/{number}/{field}", READ_PLAYBOOKS)
async def read_playbook_field(request: Request, services: Services, caller: Caller) -> Json:
    """Read one field of a playbook."""
    name = str(request.path_params["field"])
    shown = await _whole(request, services)
    if name not in shown:
        raise NotFound(f'Playbook has no "{name[:100]}"; it has {", ".join(sorted(shown))}')
    return {name: shown[name]}


@rest.route("POST", "/playbook/{number}", WRITE_PLAYBOOKS)
async def update_playbook(request: Request, services: Services, caller: Caller) -> Json:
    """Mark a playbook as active, or not, and with `cancel_runs` end its runs; the native interface changes the rest."""
    return await _activate(request, services, caller, number_of(request), await read_object(request))


@rest.route("POST", "/playbooks", WRITE_PLAYBOOKS)
async def toggle_playbook(request: Request, services: Services, caller: Caller) -> Json:
    """The same by `id` and `active` in the query or in the body, as some clients ask for it."""
    given: Mapping[str, Json] = dict(request.query_params)
    if "id" not in given:
        given = await read_object(request)
    number = number_in(given, "id")
    if number is None:
        raise BadRequest('"id" is required.')
    return await _activate(request, services, caller, number, given)


async def _activate(
    request: Request, services: Services, caller: Caller, number: int, body: Mapping[str, Json]
) -> Json:
    if "active" not in body:
        raise BadRequest('"active" is required: nothing else of a playbook can be changed here.')
    active = truth_of(body["active"], "active")
    cancels = not active and truth_of(body.get("cancel_runs", False), "cancel_runs")
    if cancels and EXECUTE[0] not in caller.principal.permissions:
        raise Forbidden(EXECUTE[0])
    entry = services.journal.entry(request, "playbook.activate", "playbook", str(number), {"active": active})
    await services.database.write(_set_active, number, active, entry)
    if cancels:
        await cancel_runs_of(request, services, caller, number)
    return {"success": True, "id": number}


def _set_active(connection: Connection, number: int, active: bool, entry: NewAudit) -> None:
    if not runs.set_active(connection, number, active):
        raise NotFound(f'Playbook "{number}" not found')
    audit.append(connection, entry)


async def _whole(request: Request, services: Services) -> Record:
    number = number_of(request)
    rows, _ = await services.database.read(runs.list_playbooks, Query([Condition("id", "exact", number)]))
    if not rows:
        raise NotFound(f'Playbook "{number}" not found')
    row = rows[0]
    revision = await services.database.read(playbooks.get_revision, str(row["playbook_id"]), int(row["revision"]))
    definition = revision.definition if revision else {}
    source = revision.source if revision else ""
    return {**_shown(request, row), "coa_data": {"definition": definition, "notes": row["description"]},
            "python": source}  # fmt: skip


def _shown(request: Request, row: Record) -> Record:
    times = {"create_time": row["created_at"], "update_time": row["updated_at"]}
    shown: Record = {
        **runs.PLAYBOOK_CONSTANTS,
        "active": row["active"],
        "create_time": time_of(row["created_at"]),
        "description": row["description"],
        "id": row["id"],
        "labels": list(runs.LABELS),
        "name": row["name"],
        "scm": runs.LOCAL,
        "slug": row["slug"],
        "tags": row["tags"],
        "update_time": time_of(row["updated_at"]),
        "version": row["revision"],
    }
    if flag(request, "pretty"):
        return {**shown, **pretty_times(times), "_pretty_scm": REPOSITORY}
    return shown
