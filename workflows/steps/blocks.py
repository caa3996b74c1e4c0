"""What the blocks have in common: the tasks that run inside of one, until all have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from temporalio import workflow

from playbooks.plan import Step
from workflows.machine import Parked
from workflows.publish import flush
from workflows.state import RunState

T = TypeVar("T")


async def together(state: RunState, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs ``work`` side by side to its end; the results, in order.

    What a part has done is published when it ends before the others, which may wait for long.  Raises Parked when a
    part is parked and all the rest has ended or is parked too.
    """
    left = len(work)

    async def run(part: Coroutine[Any, Any, T]) -> T:
        nonlocal left
        try:
            return await part
        finally:
            left -= 1
            if left:
                flush(state)

    tasks = [asyncio.create_task(run(part)) for part in work]
    if tasks:
        await workflow.wait(tasks)
    faults = [fault for task in tasks if (fault := task.exception()) is not None]
    for fault in faults:
        if not isinstance(fault, Parked):
            raise fault
    if faults:
        raise Parked
    return [task.result() for task in tasks]


def lets_finish(step: Step) -> bool:
    """Whether the rest of the block goes on when a part of it has failed."""
    return step.on_failure.kind == "continue"
