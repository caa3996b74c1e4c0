"""The floor's workflow; its own module, since the SDK's sandbox imports again whatever stands beside a workflow."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

QUEUE = "floor"


@activity.defn
async def nothing(number: int) -> int:
    """Answers at once."""
    return number


@workflow.defn
class Floor:
    """Four activities in a row."""

    @workflow.run
    async def run(self, steps: int) -> int:
        """Runs them."""
        for number in range(steps):
            await workflow.execute_activity(nothing, number, start_to_close_timeout=timedelta(seconds=30))
        return steps
