"""What the blocks have in common: the tasks that run inside of one, until all have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from temporalio import workflow

from playbooks.plan import Step
from workflows.machine import Parked

T = TypeVar("T")


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs ``work`` side by side to its end; the results, in order.

    Raises Parked when a part of it is parked and all the rest has ended or is parked too.
    """
    tasks = [asyncio.create_task(part) for part in work]
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
