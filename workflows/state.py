"""The state of a run, folded from what happened to its steps; the status record follows from it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playbooks.contract import RunInput
from playbooks.plan import AnyStep
from playbooks.record import ErrorInfo, Json, RunRecord, StepIo, StepRecord, Waiting
from playbooks.states import State


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended.

    ``goto`` overrides where the run goes from here: a step index, or the number of steps for the end.
    """

    state: State
    output: Json = None
    error: ErrorInfo | None = None
    reason: str | None = None
    would: str | None = None
    effects: list[Json] | None = None
    goto: int | None = None


class RunState:
    """Everything that is known of one run.  Only the methods here change it, each for one thing that happened."""

    def __init__(self, given: RunInput, started_at: str) -> None:
        self.given = given
        self.plan = given.plan
        self.record = RunRecord(steps=[StepRecord() for _ in given.plan.steps])
        self.changed: set[int] = set()
        self.vars: dict[str, Json] = {}
        self._steps: dict[str, Json] = {}
        self.names: dict[str, Any] = {
            "parameters": given.parameters,
            "asset": given.asset,
            "execution": {"id": given.execution_id, "dry_run": given.dry_run, "started_at": started_at},
            "steps": self._steps,
            "vars": self.vars,
        }

    def started(self, step: AnyStep, now: int) -> None:
        """``step`` has begun; with the first one the run has."""
        record = self._touch(step)
        record.state = State.RUNNING
        record.started_at = now
        if self.record.state is State.PENDING:
            self.record.state = State.RUNNING
            self.record.started_at = now

    def attempted(self, step: AnyStep, attempt: int, given: Json) -> None:
        """Attempt number ``attempt`` of ``step`` begins with the input ``given`` (secrets masked)."""
        record = self._touch(step)
        record.attempt = attempt
        record.waiting_for = None
        self._io(step).input = given

    def waits(self, step: AnyStep, waiting: Waiting, error: ErrorInfo | None = None) -> None:
        """``step`` waits for something; ``error`` is why, when the wait is for a retry."""
        record = self._touch(step)
        record.waiting_for = waiting
        record.error = error

    def finished(self, step: AnyStep, outcome: Outcome, now: int) -> None:
        """``step`` has ended with ``outcome``."""
        record = self._touch(step)
        record.state = outcome.state
        record.finished_at = now
        record.error = outcome.error
        record.reason = outcome.reason
        record.waiting_for = None
        self._steps[step.id] = {
            "status": outcome.state.value,
            "output": outcome.output,
            "error": {"code": outcome.error.code, "message": outcome.error.message} if outcome.error else None,
        }
        if outcome.output is not None or outcome.would is not None:
            io = self._io(step)
            io.output, io.would, io.effects = outcome.output, outcome.would, outcome.effects

    def passed_over(self, indexes: range, state: State, reason: str | None) -> None:
        """The steps at ``indexes`` that are still pending will not run: ``skipped``, or ``cancelled``."""
        for index in indexes:
            if self.record.steps[index].state is State.PENDING:
                step = self.plan.steps[index]
                record = self._touch(step)
                record.state = state
                record.reason = reason
                self._steps[step.id] = {"status": state.value, "output": None, "error": None}

    def ended(self, state: State, now: int, error: ErrorInfo | None, outputs: Json = None) -> None:
        """The run has ended."""
        self.record.state = state
        self.record.finished_at = now
        self.record.error = error
        self.record.outputs = outputs

    def take_changes(self) -> list[int]:
        """The indexes of the steps that changed since the last call, in order."""
        changed = sorted(self.changed)
        self.changed.clear()
        return changed

    def _touch(self, step: AnyStep) -> StepRecord:
        self.changed.add(step.index)
        return self.record.steps[step.index]

    def _io(self, step: AnyStep) -> StepIo:
        return self.record.io.setdefault(step.id, StepIo())
