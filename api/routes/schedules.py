"""The schedule of a playbook: when it runs next, and what came of the times before."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import Connection

from api.auth import guard
from api.models import Answer, Timestamp
from api.openapi import answers
from api.paths import PLAYBOOK_PATH, PlaybookId
from api.services import ServicesDep
from api.times import iso
from executions.errors import NotFound
from executions.timetables import ACTION, MISSED, timetable_of
from storage import audit, playbooks
from storage.audit import AuditRow
from storage.clock import now_ms

router = APIRouter(tags=["playbooks"])

NEXT = 5
RECENT = 50
WITHIN_MS = (3_600_000, 86_400_000, 31 * 86_400_000, 366 * 86_400_000)
"""How far ahead is looked for the next times: no further than is needed."""


class Due(Answer):
    """A time at which the playbook was due."""

    due_at: Timestamp
    outcome: Literal["started", "conflict", "refused", "missed"]
    execution_id: str | None = Field(description="The execution that was started, or that stood in the way.")
    message: str | None
    count: int = Field(description="Of missed times: how many in a row, `due_at` being the last.")


class ScheduleAnswer(Answer):
    """A schedule."""

    cron: str
    timezone: str
    asset: str
    paused: bool = Field(description="Whether somebody has paused it in Temporal.")
    next: list[Timestamp] = Field(description="The next times within a year, at most five.")
    recent: list[Due] = Field(description="What came of the last times, newest first.")


@router.get(
    PLAYBOOK_PATH + "/schedule",
    name="playbook.schedule",
    responses=answers(404),
    dependencies=[guard("playbook:read")],
)
async def read_schedule(services: ServicesDep, playbook_id: PlaybookId) -> ScheduleAnswer:
    """Read when a playbook with `trigger: {event: schedule}` runs next, and what came of its last times.

    A time is `missed` when nothing could start the playbook within ten minutes: Temporal, the database or all workers
    were away. It is told half an hour later, and stands in the audit trail too. 404 for a playbook without a schedule.
    """
    row = await services.database.read(playbooks.get, playbook_id)
    if row is None:
        raise NotFound(f"There is no playbook {playbook_id}.")
    if timetable_of(row) is None:
        raise NotFound(f"The playbook {row.slug} has no schedule.")
    schedules = services.timetables.schedules
    now = now_ms()
    coming: list[int] = []
    for within in WITHIN_MS:
        coming = await schedules.due(row.id, now, now + within)
        if len(coming) >= NEXT:
            break
    return ScheduleAnswer(
        cron=row.trigger["cron"],
        timezone=row.trigger.get("timezone") or "UTC",
        asset=row.trigger["asset"],
        paused=await schedules.is_paused(row.id),
        next=[iso(time) for time in coming[:NEXT]],
        recent=[_due(entry) for entry in await services.database.read(_recent, row.id)],
    )


def _recent(connection: Connection, playbook_id: str) -> list[AuditRow]:
    rows, _ = audit.list_audit(
        connection, action=ACTION, object_type="playbook", object_id=playbook_id, per_page=RECENT
    )
    return rows


def _due(entry: AuditRow) -> Due:
    details = entry.details if isinstance(entry.details, dict) else {}
    return Due(
        due_at=iso(entry.at),
        outcome=entry.outcome,
        execution_id=details.get("execution_id"),
        message=details.get("message"),
        count=details["count"] if entry.outcome == MISSED else 1,
    )
