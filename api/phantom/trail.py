"""The audit trail: an array without pages, which is how Phantom answers it, as JSON or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.phantom.auth import Caller
from api.phantom.routing import AUDIT, READ, Rest, number_of
from api.phantom.wire import answer, parse_time, time_of
from api.services import Services
from executions.errors import BadRequest
from playbooks.record import Json
from storage import audit
from storage.audit import AuditRow
from storage.clock import now_ms

rest = Rest()

AT_MOST: Final = 500
DAYS: Final = 30 * 24 * 3_600_000
"""How far back from its end the trail is told where nothing else is said, in ms."""

DAY: Final = 24 * 3_600_000
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With what a cell begins that a spreadsheet would take for a formula, and run."""

SUBSETS: Final = ("user", "role", "playbook", "authentication", "administration", "tenant")
"""What Phantom chooses entries by, and this does not; asking for all of them is no choice."""


@rest.route("GET", "/audit", AUDIT)
async def list_audit(request: Request, services: Services, caller: Caller) -> Response:
    """The latest entries, or those about one `container`, between `start` and `end`."""
    for name in SUBSETS:
        if _choice(request.query_params, name) is not None:
            raise BadRequest(f'Entries cannot be chosen by "{name}" here, only by container, start and end.')
    number = _choice(request.query_params, "container")
    if number is not None and not (number.isascii() and number.isdecimal()):
        raise BadRequest('"container" must be the number of one.')
    return await _told(request, services, caller, number)


@rest.route("GET", "/container/{number}/audit", READ)
async def audit_of_container(request: Request, services: Services, caller: Caller) -> Response:
    """The entries about a container; from which addresses, who may read the whole trail is told."""
    return await _told(request, services, caller, str(number_of(request)))


async def _told(request: Request, services: Services, caller: Caller, number: str | None) -> Response:
    since, until = _time(request, "start"), _time(request, "end", DAY - 1)
    latest = now_ms() if until is None else min(until, now_ms())
    rows, _ = await services.database.read(
        audit.list_audit,
        object_type=None if number is None else "container",
        object_id=number,
        since=latest - DAYS if since is None else since,
        until=until,
        per_page=AT_MOST,
    )
    with_address = AUDIT[0] in caller.principal.permissions
    entries = [_entry(row, with_address) for row in rows]
    if request.query_params.get("sort", "").lower() == "asc":
        entries.reverse()
    if request.query_params.get("format", "json").lower() != "csv":
        return answer(list[Json](entries))
    return Response(_table(entries), media_type="text/csv")


def _choice(params: Mapping[str, str], name: str) -> str | None:
    """What is chosen by ``name``, where that is less than everything."""
    value = params.get(name, "").strip().strip("\"'")
    return value if value not in ("", "*") else None


def _time(request: Request, name: str, of_day: int = 0) -> int | None:
    """A time in the query; of a date without one, the moment ``of_day`` (ms).  Raises BadRequest."""
    text = request.query_params.get(name, "").strip().strip("\"'")
    if not text:
        return None
    try:
        return parse_time(text) + (of_day if len(text) == len("2017-07-07") else 0)
    except (ValueError, OverflowError):
        raise BadRequest(f'"{name}" must be a time such as 2016-01-15T22:15:55Z.') from None


def _entry(row: AuditRow, with_address: bool) -> dict[str, Json]:
    """An entry by the names that it has in Phantom, and by those of the product."""
    time = time_of(row.at)
    return {
        "AUDIT SOURCE": row.object_type,
        "TIME": time,
        "USER": row.actor_name,
        "NOTE": f"{row.action}: {row.outcome}",
        "OLD VALUE": None,
        "NEW VALUE": None,
        "id": row.id,
        "time": time,
        "user": row.actor_name,
        "action": row.action,
        "object": row.object_type,
        "object_id": row.object_id,
        "outcome": row.outcome,
        "ip_address": row.address if with_address else None,
    }


def _table(entries: list[dict[str, Json]]) -> str:
    text = io.StringIO()
    if entries:
        writer = csv.DictWriter(text, list(entries[0]))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in entry.items()} for entry in entries)
    return text.getvalue()


def _cell(value: Json) -> Json:
    """A value as a spreadsheet shows it; users and tokens have any names."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
