"""What is known of a run: one record a step, one for the whole.

The interpreter folds it from what happened, the memo carries it while the run is open, the database keeps it once
the run has closed (DESIGN.md §2).  Times are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playbooks.states import State

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""

MAX_NESTING = 100
"""Levels of lists and objects in a value that a run works with.

The reader of what stands in Temporal's history stops at 200, and the records of a run put some around a value.
"""


def nesting(value: Json) -> int:
    """The levels of lists and objects in ``value``."""
    levels, inside = 0, [value]
    while inside := [item for item in inside if isinstance(item, dict | list)]:
        levels += 1
        inside = [part for item in inside for part in (item.values() if isinstance(item, dict) else item)]
    return levels


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why a step or a run failed: a stable ``code`` and a sentence for an operator."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a running step waits for: ``approval``, ``delay`` or ``retry``; ``until`` in ms since the epoch."""

    kind: str
    until: int | None = None


@dataclass(slots=True)
class Tally:
    """How many times something has begun, and how it ended: the iterations of a loop, or a step inside of one.

    ``total`` is how many there will be, where that is known.
    """

    total: int | None = None
    running: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0

    def change(self, before: State, after: State) -> None:
        """One of them goes from state ``before`` to ``after``."""
        if before in _COUNTED:
            setattr(self, before.value, getattr(self, before.value) - 1)
        if after in _COUNTED:
            setattr(self, after.value, getattr(self, after.value) + 1)


_COUNTED = (State.RUNNING, State.COMPLETED, State.FAILED, State.SKIPPED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class LoopFailure:
    """A failed iteration of a loop: its number, with those of the loops around it, and why it failed."""

    iteration: tuple[int, ...]
    error: ErrorInfo


@dataclass(slots=True)
class StepRecord:
    """One step of a run, without its input and output.

    ``iterations`` and ``failures`` are of a loop; ``runs`` counts how a step inside of a loop ended each time.
    ``kept`` marks a result that comes from an earlier run, ``child`` is the execution of a sub-playbook.
    """

    state: State = State.PENDING
    started_at: int | None = None
    finished_at: int | None = None
    attempt: int = 0
    error: ErrorInfo | None = None
    reason: str | None = None
    waiting_for: Waiting | None = None
    iterations: Tally | None = None
    runs: Tally | None = None
    failures: list[LoopFailure] = field(default_factory=list)
    kept: bool = False
    child: str | None = None


@dataclass(slots=True)
class StepIo:
    """Input and output of one step; kept out of the memo."""

    input: Json = None
    output: Json = None
    would: str | None = None
    effects: list[Json] | None = None


@dataclass(slots=True)
class RunRecord:
    """A run: its own state and one record for each step, in the order of the playbook."""

    steps: list[StepRecord]
    state: State = State.PENDING
    started_at: int | None = None
    finished_at: int | None = None
    error: ErrorInfo | None = None
    outputs: Json = None
    io: dict[str, StepIo] = field(default_factory=dict)
