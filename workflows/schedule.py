"""What a schedule starts at each of its times: the start of a playbook, under the rules of every other start."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

from playbooks.contract import FIRE_ACTIVITY, SCHEDULE_WORKFLOW, Fire, Fired, Scheduled
from workflows.clock import now_ms

DUE = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
PATIENCE = timedelta(minutes=10)
"""How long a start is tried while the database or Temporal is away; what comes later than that was missed."""


@workflow.defn(name=SCHEDULE_WORKFLOW)
class ScheduleWorkflow:
    """Starts the playbook once; the run itself is a workflow of its own."""

    @workflow.run
    async def run(self, given: Scheduled) -> Fired:
        """Has the worker start the run, and returns what came of it."""
        due = workflow.info().typed_search_attributes.get(DUE)
        due_at = now_ms() if due is None else int(due.timestamp() * 1000)
        fired: Fired = await workflow.execute_activity(
            FIRE_ACTIVITY,
            Fire(playbook_id=given.playbook_id, key=given.key, due_at=due_at),
            result_type=Fired,
            start_to_close_timeout=timedelta(seconds=30),
            schedule_to_close_timeout=PATIENCE,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=20)),
        )
        return fired
