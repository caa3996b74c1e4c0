"""Temporal Schedules: one for each playbook that runs by the clock (Temporal docs: *Schedules*).

A schedule starts ``workflows.schedule`` at its times, whatever is running: whether the playbook may run then is for
the conflict rule to say.  After a time in which Temporal was down it catches up on ``CATCH_UP``, and no further.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from engine.rpc import TIMEOUT, call
from playbooks.contract import SCHEDULE_WORKFLOW, Scheduled
from playbooks.cron import Calendar, Ranges

CATCH_UP = timedelta(minutes=10)
"""How late a run may begin by its schedule: what is later was missed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timetable:
    """The schedule of one playbook; ``given.key`` changes whenever anything of it does."""

    given: Scheduled
    calendars: Sequence[Calendar]
    timezone: str | None
    told: str
    """What the Web UI shows of it."""


@dataclass(frozen=True, slots=True)
class Schedules:
    """The schedules of one task queue.  Every method raises TemporalUnavailable when no answer comes."""

    client: Client
    task_queue: str

    async def put(self, wanted: Timetable) -> None:
        """Makes the schedule, or changes the one that is there; one that was paused stays so."""
        schedule_id = self._id(wanted.given.playbook_id)
        schedule = self._schedule(wanted)

        def change(found: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule.state.paused = found.description.schedule.state.paused
            return ScheduleUpdate(schedule)

        try:
            await _answered(lambda: self.client.create_schedule(schedule_id, schedule, rpc_timeout=TIMEOUT))
        except ScheduleAlreadyRunningError:
            handle = self.client.get_schedule_handle(schedule_id)
            await _answered(lambda: handle.update(change, rpc_timeout=TIMEOUT))

    async def remove(self, playbook_id: str) -> None:
        """Takes the schedule of a playbook away, if it has one."""
        handle = self.client.get_schedule_handle(self._id(playbook_id))
        try:
            await _answered(lambda: handle.delete(rpc_timeout=TIMEOUT))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def kept(self) -> dict[str, str]:
        """The note of each schedule there is, by playbook; what was made a moment ago may be missing yet."""

        async def listed() -> dict[str, str]:
            found: dict[str, str] = {}
            prefix = self._id("")
            async for entry in await self.client.list_schedules(rpc_timeout=TIMEOUT):
                if entry.id.startswith(prefix) and entry.schedule is not None:
                    found[entry.id.removeprefix(prefix)] = entry.schedule.state.note or ""
            return found

        return await _answered(listed)

    async def due(self, playbook_id: str, since: int, until: int) -> list[int]:
        """When the playbook was, or will be, due after ``since`` and up to ``until`` (ms since the epoch)."""
        request = ListScheduleMatchingTimesRequest(
            namespace=self.client.namespace,
            schedule_id=self._id(playbook_id),
            start_time=_timestamp(since),
            end_time=_timestamp(until),
        )
        try:
            answer = await call(self.client.workflow_service.list_schedule_matching_times, request)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return []
            raise
        times = [time.ToMilliseconds() for time in answer.start_time]
        return [time for time in times if since < time <= until]

    async def is_paused(self, playbook_id: str) -> bool:
        """Whether somebody has paused the schedule in Temporal."""
        handle = self.client.get_schedule_handle(self._id(playbook_id))
        try:
            return (await _answered(lambda: handle.describe(rpc_timeout=TIMEOUT))).schedule.state.paused
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise

    def _id(self, playbook_id: str) -> str:
        return f"{self.task_queue}:{playbook_id}"

    def _schedule(self, wanted: Timetable) -> Schedule:
        return Schedule(
            action=ScheduleActionStartWorkflow(
                SCHEDULE_WORKFLOW,
                wanted.given,
                id=self._id(wanted.given.playbook_id),
                task_queue=self.task_queue,
                static_summary=wanted.told,
            ),
            spec=ScheduleSpec(
                calendars=[_calendar(one) for one in wanted.calendars], time_zone_name=wanted.timezone or "UTC"
            ),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL, catchup_window=CATCH_UP),
            state=ScheduleState(note=note_of(wanted)),
        )


def note_of(wanted: Timetable) -> str:
    """What stands beside a schedule in Temporal, by which an outdated one is told."""
    return f"{wanted.told} [{wanted.given.key}]"


def _calendar(found: Calendar) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        minute=_ranges(found.minute),
        hour=_ranges(found.hour),
        day_of_month=_ranges(found.day_of_month),
        month=_ranges(found.month),
        day_of_week=_ranges(found.day_of_week),
    )


def _ranges(ranges: Ranges) -> list[ScheduleRange]:
    return [ScheduleRange(found.start, found.end, found.step) for found in ranges]


def _timestamp(milliseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.fromtimestamp(milliseconds / 1000, UTC))
    return stamp


async def _answered(work: Callable[[], Awaitable[T]]) -> T:
    """What ``work`` gives, with the errors of ``engine.rpc.call``."""

    async def method(_: None, *, retry: bool, timeout: timedelta) -> T:
        return await work()

    return await call(method, None)
