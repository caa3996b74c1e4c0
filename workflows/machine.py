"""The machine that walks a plan: lists of steps, one after another, each step by the runner of its type.

The walk holds nothing that is not in the state: started anew on the same state it finds its way back to where it
was.  That is how a long run continues as new in the middle of nested blocks, and how a rerun keeps what was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from playbooks.evaluation import EvaluationError
from playbooks.plan import AnyStep, Span
from playbooks.record import ErrorInfo
from playbooks.states import State
from workflows.approvals import Approvals
from workflows.clock import now_ms
from workflows.expressions import EXPRESSION_ERROR, truth
from workflows.frame import Frame, Outcome
from workflows.publish import flush
from workflows.route import onward
from workflows.scope import Scope, Stop
from workflows.state import RunState

TIMED_OUT = "timed_out"
TIME_IS_OVER = "the run reached its time limit"

HARD_EVENTS = 8_000
"""Events of history at which nothing more is begun: what is under way ends, and the run continues as new."""

HARD_BYTES = 16_000_000
"""The same in bytes of history; Temporal ends a run that has 50 MB, and what is under way may bring some more."""

TURN_EFFORT = 300_000
"""Effort, some tenths of a second, after which the run lets Temporal go on: two seconds count as a deadlock."""

STEP_EFFORT = 100
"""What a step takes beside its expressions, in steps of an evaluation."""

QUICK_EFFORT = 600
"""What a quick action takes, some milliseconds: a workflow task that runs some hundreds of them is to end within its
timeout, with all that it has to tell Temporal, also on a slow machine; otherwise they are run again."""

BREATH = 0.001


class Parked(Exception):
    """The walk has stopped where it was, for the run to continue as new; the state says where."""


@dataclass(frozen=True, slots=True)
class At:
    """Where a runner works: its step, the frame and the scope that the step stands in."""

    machine: Machine
    frame: Frame
    scope: Scope
    step: Any

    @property
    def state(self) -> RunState:
        """The state of the run."""
        return self.machine.state

    @property
    def names(self) -> dict[str, Any]:
        """What the expressions of the step see."""
        return self.frame.names

    @property
    def label(self) -> str:
        """The name of the step in this iteration, unique in the run."""
        return self.frame.label(self.step)


Runner = Callable[[At], Coroutine[Any, Any, Outcome]]


class Machine:
    """Walks the plan of ``state``.

    ``leaves`` and ``blocks`` are the runners by type of step.  A leaf does one thing, in a task of its own that a stop
    cancels; a block runs lists of steps and is never cancelled itself: what is inside of it is.
    """

    def __init__(self, state: RunState, leaves: dict[type, Runner], blocks: dict[type, Runner]) -> None:
        self.state = state
        self.parking = False
        self.approvals = Approvals()
        self._leaves = leaves
        self._blocks = blocks
        self._busy = 0
        self._breath: asyncio.Task[None] | None = None

    async def walk(self, frame: Frame, span: Span, scope: Scope) -> ErrorInfo | None:
        """Runs the steps of ``span`` in their order; returns why they failed, or None.

        Raises Parked.  Of steps that are over, only the way that they took is followed.
        """
        state, steps = self.state, self.state.plan.steps
        index, jumped = span.start, False
        while index < span.stop and not scope.stopping:
            step = steps[index]
            if step.on_failure_only and not jumped:
                state.passed_over(
                    frame, range(index, step.after), State.SKIPPED, "runs only when another step fails into it"
                )
                index = step.after
                continue
            outcome = frame.outcome(step)
            if outcome is None:
                await self._breathe()
                if scope.stopping:
                    break
                outcome = await self._step(frame, step, scope)
            way = onward(state.plan, span, step, outcome)
            if not scope.stopping:
                state.passed_over(frame, range(step.after, way.to), State.SKIPPED, way.reason)
            if way.error:
                return way.error
            index, jumped = way.to, way.jumped
        return None

    def gate(self) -> None:
        """Asked before anything is begun that makes history.  Raises Parked when it is time to continue as new.

        Once Temporal suggests it, the first moment in which nothing is under way; far beyond that, at once.
        """
        info = workflow.info()
        if info.is_continue_as_new_suggested() and self._busy == 0:
            self.parking = True
        if info.get_current_history_length() >= HARD_EVENTS or info.get_current_history_size() >= HARD_BYTES:
            self.parking = True
        if self.parking:
            raise Parked

    async def _breathe(self) -> None:
        """Counts a step that is about to begin, and waits until it is its turn.  Raises Parked."""
        self.state.effort += STEP_EFFORT
        await self._turn()

    async def _turn(self) -> None:
        """Lets Temporal go on, by a timer, where steps that need nothing of it have taken long enough together.

        Counted, not timed, to be the same in a replay.  All branches wait for one breath, and then one
        after the other goes on, until those have taken long enough; the rest waits for the next.  Raises Parked.
        """
        while self._breath is not None or self.state.effort >= TURN_EFFORT:
            if self._breath is None:
                self.gate()
                self._breath = asyncio.create_task(workflow.sleep(BREATH, summary="take a breath"))
            breath = self._breath
            flush(self.state)
            await workflow.wait([breath])
            if self._breath is breath:
                self._breath, self.state.effort = None, 0
            if self.state.given.turns == 1:
                return

    def count_quick(self) -> None:
        """Counts a quick action for the turn."""
        if self.state.given.turns > 1:
            self.state.effort += QUICK_EFFORT

    async def outside(self, handle: Awaitable[Any]) -> Any:
        """Waits for something that Temporal has begun, and that must end before the run can continue as new."""
        self._busy += 1
        try:
            return await handle
        finally:
            self._busy -= 1

    async def through(self, handle: Awaitable[Any]) -> Any:
        """Like ``outside``, for what a stop must not interrupt: that is raised once the thing is done."""
        work = asyncio.ensure_future(handle)
        stop: asyncio.CancelledError | None = None
        self._busy += 1
        try:
            while not work.done():
                try:
                    await asyncio.shield(work)
                except asyncio.CancelledError as told:
                    stop = told
        finally:
            self._busy -= 1
        if stop is not None:
            raise stop
        return work.result()

    async def pause(self, until: int | None, summary: str, wakes: Callable[[], bool] | None = None) -> bool:
        """Waits until the time ``until`` (ms since the epoch), or for ever; True when ``wakes`` ended it.

        Raises Parked when the run is to continue as new meanwhile: then the wait goes on there.
        """
        flush(self.state)

        def over() -> bool:
            return self.parking or (wakes is not None and wakes())

        try:
            seconds = None if until is None else max(0.0, (until - now_ms()) / 1000)
            await workflow.wait_condition(over, timeout=seconds, timeout_summary=summary)
        except TimeoutError:
            # What woke it may have come in the same activation as the time, and was promised to count.
            return wakes is not None and wakes()
        if wakes is not None and wakes():
            return True
        raise Parked

    async def _step(self, frame: Frame, step: AnyStep, scope: Scope) -> Outcome:
        state, at = self.state, At(self, frame, scope, step)
        outcome: Outcome | None = None
        if frame.record(step.index).state is not State.RUNNING:
            outcome = self._of_when(at)
            if outcome is not None and outcome.state is State.SKIPPED:
                state.passed_over(frame, range(step.index, step.after), State.SKIPPED, outcome.reason)
                return outcome
            state.started(frame, step, now_ms())
        if outcome is None:
            outcome = await self._run(at)
        self._leave_inside(at, outcome)
        state.finished(frame, step, outcome, now_ms())
        return outcome

    def _of_when(self, at: At) -> Outcome | None:
        """What `when` makes of a step before it has begun: skipped, failed, or None where it is to run."""
        when = at.step.when
        try:
            if when is None or truth(self.state, when, at.names):
                return None
        except EvaluationError as error:
            return Outcome(State.FAILED, error=ErrorInfo(EXPRESSION_ERROR, f"when: {error}"))
        return Outcome(State.SKIPPED, reason="its condition `when` is false")

    async def _run(self, at: At) -> Outcome:
        block = self._blocks.get(type(at.step))
        return await self._leaf(at) if block is None else self._of_block(at, await block(at))

    async def _leaf(self, at: At) -> Outcome:
        """Runs a step in a task of its own; how it ended, in the light of a stop that may have reached it."""
        task = asyncio.create_task(self._in_turn(at))
        await at.scope.run(task)
        if not task.cancelled() and (error := task.exception()) is None:
            outcome: Outcome = task.result()
            if at.scope.told is Stop.CANCEL:
                return _cancelled(outcome.output, "the action finished although it was told to stop")
            return outcome
        if task.cancelled() or is_cancelled_exception(task.exception() or Exception()):
            return stopped_by(at.scope.told, at.scope.reason)
        assert error is not None
        raise error

    async def _in_turn(self, at: At) -> Outcome:
        """The work of a leaf.  Many may have been let begin before the first of them did anything that counts."""
        if self.state.given.turns > 1:
            await self._turn()
        return await self._leaves[type(at.step)](at)

    def _of_block(self, at: At, outcome: Outcome) -> Outcome:
        """What a stop from outside of a block makes of it; what was done inside stays known.

        A cancel counts before the steps at work are told of it: from then on the block has begun nothing more.
        """
        if at.scope.stopping is None:
            return outcome
        return replace(stopped_by(at.scope.stopping, at.scope.reason), output=outcome.output)

    def _leave_inside(self, at: At, outcome: Outcome) -> None:
        """The steps of a block that has ended and that never began."""
        if outcome.state is not State.CANCELLED or at.scope.told is Stop.FAILURE:
            inside = range(at.step.index + 1, at.step.after)
            reason = at.scope.reason if at.scope.told else f"{at.step.id} ended without it"
            self.state.passed_over(at.frame, inside, State.SKIPPED, reason)


def stopped_by(cause: Stop | None, reason: str | None = None) -> Outcome:
    """The outcome of a step that was stopped for ``cause``; without one, it was not the run that stopped it."""
    if cause is Stop.CANCEL:
        return _cancelled(None, None)
    if cause is Stop.TIME_LIMIT:
        return Outcome(State.FAILED, error=ErrorInfo(TIMED_OUT, TIME_IS_OVER))
    if cause is Stop.FAILURE:
        return _cancelled(None, reason)
    return Outcome(State.FAILED, error=ErrorInfo("cancelled", "the action was cancelled, and not by this run"))


def _cancelled(output: Any, reason: str | None) -> Outcome:
    return Outcome(State.CANCELLED, output=output, reason=reason)
