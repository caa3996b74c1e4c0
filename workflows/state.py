"""The state of a run, folded from what happened to its steps; the status record follows from it alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from playbooks.contract import RunInput
from playbooks.plan import LOOPS, AnyStep, ForeachStep
from playbooks.progress import encode_step
from playbooks.record import ErrorInfo, Json, LoopFailure, RunRecord, StepIo, StepRecord, Tally, Waiting
from playbooks.states import State
from workflows.frame import Frame, Loop, Outcome
from workflows.kept import digest, unchanged

MAX_FAILURES = 20
"""Failures of a loop that the status shows; the output of the loop has them all."""


class RunState:
    """Everything that is known of one run.  Only the methods here change it, each for one thing that happened.

    A step inside of a loop has a record for each iteration, in the frame of that; its row in the status counts them.
    """

    def __init__(self, given: RunInput, started_at: str) -> None:
        self.given = given
        self.plan = given.plan
        self.record = RunRecord(steps=[StepRecord() for _ in given.plan.steps])
        self.changed: set[int] = set()
        self.effort = 0
        """What was worked since the run last let Temporal go on, in steps of an evaluation; see ``machine``."""
        self.begun = 0
        """Iterations of all loops that have begun."""
        self.vars: dict[str, Json] = {}
        self.execution: dict[str, Json] = {
            "id": given.execution_id,
            "dry_run": given.dry_run,
            "started_at": started_at,
        }
        finding = given.parameters.get("finding")
        names: dict[str, Any] = {
            "parameters": given.parameters,
            "asset": given.asset,
            "execution": self.execution,
            "finding": {"asset": given.asset, **(finding if isinstance(finding, dict) else {})},
            "steps": {},
            "vars": self.vars,
            "container": given.context.get("container"),
            "artifacts": given.context.get("artifacts") or [],
        }
        self.root = Frame((), names)
        self.iterations: dict[str, list[Json]] = {}
        self.digests: dict[str, dict[int, str]] = {}
        """By loop and iteration: of the items that results were made from, for a rerun to know them again."""
        for step in given.plan.steps:
            if not self.plan.is_in_loop(step):
                self.root.records[step.index] = self.record.steps[step.index]

    def frames(self) -> Iterator[Frame]:
        """The playbook itself, and every iteration that is under way."""
        pending = [self.root]
        while pending:
            frame = pending.pop()
            yield frame
            pending += [inner for loop in frame.loops.values() for inner in loop.open.values()]

    def started(self, frame: Frame, step: AnyStep, now: int) -> None:
        """``step`` has begun; with the first one the run has."""
        record = self._enter(frame, step, State.RUNNING)
        record.started_at = now
        row = self.record.steps[step.index]
        if row.state is State.PENDING:
            row.state, row.started_at = State.RUNNING, now
        if self.record.state is State.PENDING:
            self.record.state = State.RUNNING
            self.record.started_at = now

    def attempted(self, frame: Frame, step: AnyStep, attempt: int, given: Json) -> None:
        """Attempt number ``attempt`` of ``step`` begins with the input ``given`` (secrets masked)."""
        record = self._touch(frame, step)
        record.attempt = attempt
        self._wait(frame, step, None)
        self.given_to(frame, step, given)

    def given_to(self, frame: Frame, step: AnyStep, given: Json) -> None:
        """What ``step`` works with, for those who look at the run."""
        if not frame.path:
            self._io(step).input = given

    def waits(self, frame: Frame, step: AnyStep, waiting: Waiting, error: ErrorInfo | None = None) -> None:
        """``step`` waits for something; ``error`` is why, when the wait is for a retry."""
        self._touch(frame, step).error = error
        self._wait(frame, step, waiting)

    def began_child(self, frame: Frame, step: AnyStep, execution_id: str) -> None:
        """``step`` has started a sub-playbook."""
        for record in self._records(frame, step):
            record.child = execution_id

    def finished(self, frame: Frame, step: AnyStep, outcome: Outcome, now: int) -> None:
        """``step`` has ended with ``outcome``."""
        record = self._enter(frame, step, outcome.state)
        record.finished_at = now
        record.error = outcome.error
        record.reason = outcome.reason
        self._wait(frame, step, None)
        frame.keep(step, outcome)
        if isinstance(step, LOOPS) and not frame.path:
            self._close_body(step, now)
        if not frame.path and (outcome.output is not None or outcome.would is not None):
            io = self._io(step)
            io.output, io.would, io.effects = outcome.output, outcome.would, outcome.effects

    def passed_over(self, frame: Frame, indexes: Iterable[int], state: State, reason: str | None) -> None:
        """The steps at ``indexes`` that are still pending will not run: ``skipped``, or ``cancelled``."""
        for index in indexes:
            step = self.plan.steps[index]
            if frame.owns(self.plan.steps, step) and frame.record(index).state is State.PENDING:
                self._enter(frame, step, state).reason = reason
                frame.keep(step, Outcome(state, reason=reason))
            row = self.record.steps[index]
            if not frame.path and row.state is State.PENDING:
                self.changed.add(index)
                row.state, row.reason = state, reason

    def loop_began(
        self, frame: Frame, step: AnyStep, items: list[Json] | None, earlier: Mapping[int, Json] | None = None
    ) -> Loop:
        """A loop goes through ``items``, or none that are known beforehand.

        ``earlier`` are results of an earlier run, by iteration; those whose items are the same are not made again.
        """
        total = None if items is None else len(items)
        digests = self.digests.pop(step.id, {}) if not frame.path else {}
        results = unchanged(earlier or {}, digests, items or [])
        if not frame.path:
            self._forget_iterations(step, results)
        if results:
            self.digests[step.id] = {number: digest((items or [])[number]) for number in results}
        for record in self._records(frame, step):
            record.iterations = record.iterations or Tally()
            record.iterations.completed += len(results)
            if total is not None:
                record.iterations.total = (record.iterations.total or 0) + total
        loop = frame.loops[step.index] = Loop(items, results=results)
        return loop

    def iteration_began(self, frame: Frame, step: AnyStep, number: int, item: Json, now: int) -> Frame:
        """Iteration ``number`` (from 0) of a loop has begun; its frame."""
        self._tally(frame, step, State.PENDING, State.RUNNING)
        self.begun += 1
        loop = frame.loops[step.index]
        inner = loop.open[number] = frame.inner(number, item, with_item=loop.items is not None)
        inner.started_at = now
        return inner

    def iteration_ended(
        self, frame: Frame, step: AnyStep, inner: Frame, state: State, error: ErrorInfo | None, now: int
    ) -> None:
        """An iteration of a loop has ended in ``state``; its frame is folded away."""
        self._tally(frame, step, State.RUNNING, state)
        number = inner.path[-1]
        loop = frame.loops[step.index]
        del loop.open[number]
        loop.last = inner.values
        if state is State.COMPLETED and isinstance(step, ForeachStep) and not frame.path:
            self.digests.setdefault(step.id, {})[number] = digest(inner.names["item"])
        if state is State.FAILED and error is not None:
            loop.failures[number] = error
            for record in self._records(frame, step):
                if len(record.failures) < MAX_FAILURES:
                    record.failures.append(LoopFailure(inner.path, error))
        self.iterations.setdefault(step.id, []).append(iteration_row(inner, state, error, now))

    def stopped(self, outcome: Outcome, now: int) -> None:
        """What was under way when the run was stopped between two parts of it, and is not entered again."""
        self._stop_frame(self.root, outcome, now)

    def _stop_frame(self, frame: Frame, outcome: Outcome, now: int) -> None:
        left = State.CANCELLED if outcome.state is State.CANCELLED else State.SKIPPED
        for index, loop in sorted(frame.loops.items()):
            step = self.plan.steps[index]
            for _, inner in sorted(loop.open.items()):
                self._stop_frame(inner, outcome, now)
                reason = outcome.error.message if outcome.error else None
                self.passed_over(inner, range(step.index + 1, step.after), left, reason)
                self.iteration_ended(frame, step, inner, outcome.state, outcome.error, now)
        for index, record in sorted(frame.records.items()):
            if record.state is State.RUNNING:
                self.finished(frame, self.plan.steps[index], outcome, now)

    def assigned(self, values: Mapping[str, Json]) -> None:
        """Variables were set.  What an expression gave of the variables before is not changed by it."""
        self.vars = {**self.vars, **values}
        for frame in self.frames():
            frame.names["vars"] = self.vars

    def main_ended(self, error: ErrorInfo | None) -> None:
        """The steps of the playbook itself are over, and those of ``always`` see how."""
        told = {"code": error.code, "message": error.message} if error else None
        self.execution = {**self.execution, "status": (State.FAILED if error else State.COMPLETED).value, "error": told}
        self.root.names["execution"] = self.execution

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

    def _enter(self, frame: Frame, step: AnyStep, state: State) -> StepRecord:
        record = self._touch(frame, step)
        before, record.state = record.state, state
        if frame.path:
            row = self.record.steps[step.index]
            row.runs = row.runs or Tally()
            row.runs.change(before, state)
        return record

    def _touch(self, frame: Frame, step: AnyStep) -> StepRecord:
        self.changed.add(step.index)
        return frame.record(step.index)

    def _records(self, frame: Frame, step: AnyStep) -> list[StepRecord]:
        """The record of ``step`` in ``frame``, and its row in the status where that is another."""
        record, row = self._touch(frame, step), self.record.steps[step.index]
        return [record] if record is row else [record, row]

    def _wait(self, frame: Frame, step: AnyStep, waiting: Waiting | None) -> None:
        for record in self._records(frame, step):
            record.waiting_for = waiting

    def _tally(self, frame: Frame, step: AnyStep, before: State, after: State) -> None:
        for record in self._records(frame, step):
            record.iterations = record.iterations or Tally()
            record.iterations.change(before, after)

    def _close_body(self, loop: AnyStep, now: int) -> None:
        """The rows of the steps inside of a loop that has ended for good."""
        for index in range(loop.index + 1, loop.after):
            row = self.record.steps[index]
            self.changed.add(index)
            row.state = _together(row.runs)
            row.waiting_for = None
            if row.started_at is not None:
                row.finished_at = now
            elif row.reason is None:
                row.reason = f"{loop.id} ended without it"

    def _forget_iterations(self, loop: AnyStep, kept: Collection[int]) -> None:
        """Drops the records of an earlier run's iterations of ``loop`` that are not ``kept``, and of those in them."""
        inside = [self.plan.steps[index].id for index in range(loop.index, loop.after)] if self.iterations else []
        for name in inside:
            if name in self.iterations:
                self.iterations[name] = [row for row in self.iterations[name] if row[0][0] in kept]

    def _io(self, step: AnyStep) -> StepIo:
        return self.record.io.setdefault(step.id, StepIo())


def iteration_row(frame: Frame, state: State, error: ErrorInfo | None, now: int | None) -> Json:
    """One iteration as the settled record keeps it: number, state, times, error, and a row for each step."""
    steps = {str(index): encode_step(record) for index, record in sorted(frame.records.items())}
    told = [error.code, error.message] if error else None
    return [list(frame.path), state.value, frame.started_at, now, told, steps]


def _together(runs: Tally | None) -> State:
    """What a step of a loop reads after all iterations: ``failed`` if it ever failed, else what it was at best."""
    if runs is None:
        return State.SKIPPED
    for state in (State.FAILED, State.COMPLETED, State.CANCELLED):
        if getattr(runs, state.value):
            return state
    return State.SKIPPED
