"""Playbooks that run by the clock: their schedules in Temporal, kept as the playbooks say, and what was missed.

The stored playbook is the truth.  Its schedule in Temporal is made and changed after it, and again by the sweep, so
that nothing is lost when a process dies between the two; a schedule that is out of date starts nothing.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from engine.schedules import CATCH_UP, Schedules, Timetable, note_of
from playbooks.contract import Scheduled
from playbooks.cron import parse_cron
from playbooks.record import Json
from playbooks.triggers import SCHEDULE
from storage import audit, playbooks
from storage.audit import AuditRow, NewAudit
from storage.clock import now_ms
from storage.database import Database
from storage.playbooks import PlaybookRow

ACTION = "playbook.schedule"
"""What the audit trail calls each time at which a playbook was due."""

ACTOR = "schedule"
MISSED = "missed"

SETTLED_MS = 2 * int(CATCH_UP.total_seconds()) * 1000 + 300_000
"""After this a due time has come to whatever it will come to: caught up on, tried, and written down."""

LOOK_BACK_MS = 7 * 86_400_000
"""How far a process that has just begun looks for what was missed."""

MAX_NOTED = 20_000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Timetables:
    """Keeps the schedules.  Raises DatabaseUnavailable and TemporalUnavailable."""

    database: Database
    schedules: Schedules
    _looked_until: dict[str, int] = field(default_factory=dict)

    async def follow(self, row: PlaybookRow, before: Mapping[str, Json] | None = None) -> None:
        """Makes Temporal's schedule what the stored playbook says; ``before`` is the trigger that it replaces."""
        wanted = timetable_of(row)
        if wanted is not None:
            await self.schedules.put(wanted)
        elif before is None or before.get("event") == SCHEDULE:
            await self.schedules.remove(row.id)

    async def keep(self) -> None:
        """Makes every schedule what the playbooks say, and takes away those of playbooks that have none."""
        rows = await self.database.read(playbooks.scheduled)
        wanted = {row.id: timetable for row in rows if (timetable := timetable_of(row)) is not None}
        kept = await self.schedules.kept()
        for playbook_id, timetable in wanted.items():
            if kept.get(playbook_id) != note_of(timetable):
                await self.schedules.put(timetable)
        for playbook_id in kept:
            if playbook_id not in wanted:
                await self._remove_stale(playbook_id)

    async def _remove_stale(self, playbook_id: str) -> None:
        row = await self.database.read(playbooks.get, playbook_id)
        if row is None or timetable_of(row) is None:
            await self.schedules.remove(playbook_id)

    async def tell_missed(self) -> int:
        """Writes down every time at which a playbook was due and nothing was begun; returns how many."""
        missed = 0
        until = now_ms() - SETTLED_MS
        for row in await self.database.read(playbooks.scheduled):
            since = max(row.updated_at, self._looked_until.get(row.id, now_ms() - LOOK_BACK_MS))
            if since < until:
                missed += await self._tell_missed(row.id, since, until)
                self._looked_until[row.id] = until
        return missed

    async def _tell_missed(self, playbook_id: str, since: int, until: int) -> int:
        if await self.schedules.is_paused(playbook_id):
            return 0
        due = await self.schedules.due(playbook_id, since, until)
        if not due:
            return 0
        entries = await self.database.read(_noted, playbook_id, since)
        times = _unnoted(due, entries)
        if times:
            log.warning("scheduled runs were missed", playbook_id=playbook_id, count=len(times))
            await self.database.write(note, missed_entry(playbook_id, times))
        return len(times)


def timetable_of(row: PlaybookRow) -> Timetable | None:
    """The schedule of a playbook, or None where nothing but a request or a webhook starts it."""
    trigger = row.trigger
    cron = trigger.get("cron")
    # A playbook that was stored before schedules were checked may say less than one needs.
    if trigger.get("event") != SCHEDULE or not cron or not trigger.get("asset"):
        return None
    try:
        calendars = parse_cron(cron)
    except ValueError:
        return None
    zone = trigger.get("timezone")
    return Timetable(
        given=Scheduled(playbook_id=row.id, key=key_of(trigger)),
        calendars=calendars,
        timezone=zone,
        told=f"{row.name}: {cron} {zone or 'UTC'} on {trigger['asset']}",
    )


def key_of(trigger: Mapping[str, Json]) -> str:
    """What tells one schedule of a playbook from another."""
    parts = [trigger.get(name) for name in ("event", "cron", "timezone", "asset", "parameters")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def missed_entry(playbook_id: str, times: list[int]) -> NewAudit:
    """The entry of the audit trail for times (ms) at which a playbook was due and did not run."""
    return due_entry(playbook_id, times[-1], MISSED, {"from": times[0], "to": times[-1], "count": len(times)})


def due_entry(playbook_id: str, due_at: int, outcome: str, details: dict[str, Json]) -> NewAudit:
    """The entry of the audit trail for a time (ms) at which a playbook was due."""
    return NewAudit(
        at=due_at,
        actor_id=ACTOR,
        actor_name=ACTOR,
        action=ACTION,
        object_type="playbook",
        object_id=playbook_id,
        outcome=outcome,
        address=None,
        details=details,
    )


def note(connection: Connection, entry: NewAudit) -> None:
    """Writes an entry, unless it was written before."""
    if not audit.contains(connection, entry):
        audit.append(connection, entry)


def _noted(connection: Connection, playbook_id: str, since: int) -> list[AuditRow]:
    rows, _ = audit.list_audit(
        connection, action=ACTION, object_type="playbook", object_id=playbook_id, since=since, per_page=MAX_NOTED
    )
    return rows


def _unnoted(due: Sequence[int], entries: Sequence[AuditRow]) -> list[int]:
    """The times, which are in order, of which no entry tells; in one pass, since in a week there are thousands."""
    missed = [entry.details for entry in entries if entry.outcome == MISSED and isinstance(entry.details, dict)]
    known = {entry.at for entry in entries if entry.outcome != MISSED}
    for told in missed:
        known.update(due[bisect_left(due, told["from"]) : bisect_right(due, told["to"])])
    return [time for time in due if time not in known]
