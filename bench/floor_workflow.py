"""The floor's workflow; its own module, since the SDK's sandbox imports again whatever stands beside a workflow."""

from __future__ import annotations

import asyncio
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


@workflow.defn
class WaitingFloor:
    """Nothing, for an hour."""

    @workflow.run
    async def run(self) -> None:
        """Waits."""
        await asyncio.sleep(3600)


@workflow.defn
class WideFloor:
    """Many activities at once."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Runs them."""
        limit = timedelta(seconds=30)
        numbers = await asyncio.gather(
            *[workflow.execute_activity(nothing, number, start_to_close_timeout=limit) for number in range(count)]
        )
        return len(numbers)
