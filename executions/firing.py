"""Starts a playbook that is due by its schedule: the activity behind ``workflows.schedule``."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity

from executions.errors import Conflict, Refusal, Unavailable
from executions.requests import RunRequest
from executions.starting import Starter
from executions.targets import asset_named
from executions.timetables import ACTOR, due_entry, key_of, note
from playbooks.contract import FIRE_ACTIVITY, Fire, Fired
from playbooks.record import Json
from storage import playbooks
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.database import Database
from storage.playbooks import PlaybookRow

SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Firer:
    """The activity.  It may be repeated: a due time is the idempotency key of its run."""

    database: Database
    starter: Starter

    @activity.defn(name=FIRE_ACTIVITY)
    async def fire(self, due: Fire) -> Fired:
        """Starts the run and writes down what came of it.

        Raises what Temporal should try again: DatabaseUnavailable, TemporalUnavailable, Unavailable.
        """
        row = await self.database.read(playbooks.get, due.playbook_id)
        if row is None or key_of(row.trigger) != due.key:
            return Fired(outcome=SUPERSEDED, message="the playbook has another schedule now, or none")
        fired = await self._start(row, due)
        details: dict[str, Json] = fired.model_dump(exclude_none=True, exclude={"outcome"})
        await self.database.write(note, due_entry(row.id, due.due_at, fired.outcome, details))
        return fired

    async def _start(self, row: PlaybookRow, due: Fire) -> Fired:
        trigger = row.trigger
        try:
            request = RunRequest(
                target_asset_id=await asset_named(self.database, str(trigger.get("asset"))),
                parameters=trigger.get("parameters") or {},
                dry_run=False,
                dry_run_reads=True,
                idempotency_key=str(due.due_at),
                principal_id=f"{ACTOR}:{row.id}",
                source=ACTOR,
            )
            truth = await self.starter.start(row.id, request, _entry())
        except Unavailable:
            raise
        except Conflict as refusal:
            return Fired(outcome="conflict", execution_id=refusal.extra.get("execution_id"), message=refusal.message)
        except Refusal as refusal:
            return Fired(outcome="refused", message=_told(refusal))
        return Fired(outcome="started", execution_id=truth.row.id)


def _told(refusal: Refusal) -> str:
    return " ".join([refusal.message, *(f"{detail.path}: {detail.message}" for detail in refusal.details[:5])])


def _entry() -> NewAudit:
    return NewAudit(
        at=now_ms(),
        actor_id=ACTOR,
        actor_name=ACTOR,
        action="execution.run",
        object_type="execution",
        object_id=None,
        outcome="requested",
        address=None,
    )
