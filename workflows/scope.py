"""What can be stopped as one: the whole run, or the inside of a block."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

from temporalio import workflow


class Stop(Enum):
    """Why steps are stopped before their end."""

    CANCEL = "cancel"
    TIME_LIMIT = "time limit"
    FAILURE = "failure beside it"


class Scope:
    """A part of the run that is stopped as one, with everything inside of it.

    A stop reaches the tasks of the steps at work and lets no further step begin.  A cancel outranks every other
    cause, and Temporal's own word counts from the moment that it is given.
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self.reason: str | None = None
        self._cause: Stop | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._inner: list[Scope] = []
        self._parent = parent
        if parent is not None:
            parent._inner.append(self)
            self._cause, self.reason = parent._cause, parent.reason

    @property
    def stopping(self) -> Stop | None:
        """Why the steps here must stop, or None."""
        return Stop.CANCEL if workflow.cancellation_reason() is not None else self._cause

    @property
    def told(self) -> Stop | None:
        """Like ``stopping``, once the steps at work have been told of it."""
        return self._cause

    def stop(self, cause: Stop, reason: str | None = None) -> None:
        """Stops what is at work here and inside; the first cause stands, but for a cancel."""
        if self._cause is None or cause is Stop.CANCEL:
            self._cause, self.reason = cause, reason
        for inner in list(self._inner):
            inner.stop(cause, reason)
        for task in list(self._tasks):
            task.cancel()

    def close(self) -> None:
        """Forgets the scope: what ran in it has ended."""
        if self._parent is not None:
            self._parent._inner.remove(self)

    async def run(self, task: asyncio.Task[Any]) -> None:
        """Waits for ``task``, which a stop of the scope cancels; never raises what the task raises."""
        self._tasks.append(task)
        try:
            await workflow.wait([task])
        finally:
            self._tasks.remove(task)
