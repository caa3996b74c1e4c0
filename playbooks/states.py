"""The states of an execution and of a step (seeds: *Execution States*), and no other."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """State of an execution or of one of its steps."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when the state can never change again."""
        return self in FINAL


FINAL = frozenset({State.COMPLETED, State.FAILED, State.SKIPPED, State.CANCELLED})
