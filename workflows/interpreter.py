"""The one workflow: walks a compiled plan, step by step, and settles the record as its last act.

Cancellation is the delicate part (Temporal docs: *Python SDK, cancellation*).  ``run()`` is what Temporal cancels, at
any await, also in the very activation that brings a step's result.  So ``run()`` only supervises: the walk and each
step live in tasks of their own, and a cancel reaches the step at work by way of ``_stop`` after results of the same
activation have landed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from playbooks.contract import ATTRIBUTE_OUTCOME, IO_QUERY, SETTLE_ACTIVITY, RunInput, Settled, Settlement
from playbooks.evaluation import EvaluationError
from playbooks.plan import AnyStep
from playbooks.progress import encode_step
from playbooks.record import ErrorInfo, Json, StepIo
from playbooks.states import State
from playbooks.templates import render
from workflows.clock import now_ms
from workflows.publish import flush
from workflows.route import onward, target
from workflows.state import Outcome, RunState
from workflows.steps import RUNNERS
from workflows.steps.action import TIMED_OUT
from workflows.steps.condition import EXPRESSION_ERROR, truth

SETTLING_TURNS = 10
"""Turns of the event loop in which results of the activation that brought a cancel may still land."""

SETTLE_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)
OUTCOME_KEY = SearchAttributeKey.for_keyword(ATTRIBUTE_OUTCOME)


class Stop(Enum):
    """Why a run is stopped before its end."""

    CANCEL = "cancel"
    TIME_LIMIT = "time limit"


@workflow.defn(dynamic=True)
class PlaybookWorkflow:
    """Runs any playbook; the workflow type is the playbook's slug."""

    def __init__(self) -> None:
        self._state: RunState
        self._stopping: Stop | None = None
        self._step_task: asyncio.Task[Outcome] | None = None
        self._limit_task: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> dict[str, Json]:
        """Runs the plan in the input to its end and returns the state and the outputs of the run."""
        given = workflow.payload_converter().from_payload(args[0].payload, RunInput)
        self._state = RunState(given, workflow.info().start_time.strftime("%Y-%m-%dT%H:%M:%SZ"))
        walk = asyncio.create_task(self._walk())
        if given.plan.timeout is not None:
            self._limit_task = asyncio.create_task(self._limit(given.plan.timeout))
        await self._supervise(walk)
        if self._limit_task:
            self._limit_task.cancel()
        error = walk.result()
        self._end(error)
        return await self._close()

    @workflow.query(name=IO_QUERY)
    def io(self) -> dict[str, Json]:
        """Input and output of each step so far, by step id."""
        return self._io()

    async def _supervise(self, task: asyncio.Task[ErrorInfo | None]) -> None:
        """Waits for ``task``, whatever cancels this coroutine; a cancel becomes ``_stop``."""
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.done():
                    return
                for _ in range(SETTLING_TURNS):
                    await asyncio.sleep(0)
                self._stop(Stop.CANCEL)

    def _stop(self, cause: Stop) -> None:
        """Tells the step at work to stop and lets no further one begin.  A cancel outranks the time limit."""
        if self._stopping is not Stop.CANCEL:
            self._stopping = cause
        if self._step_task and not self._step_task.done():
            self._step_task.cancel()

    async def _limit(self, seconds: float) -> None:
        await workflow.sleep(seconds, summary="time limit of the run")
        self._stop(Stop.TIME_LIMIT)

    def _must_stop(self) -> Stop | None:
        return Stop.CANCEL if workflow.cancellation_reason() is not None else self._stopping

    async def _walk(self) -> ErrorInfo | None:
        """Runs the steps in their order; returns why the run failed, or None."""
        state, index, jumped = self._state, 0, False
        while index < len(state.plan.steps) and not self._must_stop():
            step = state.plan.steps[index]
            if step.on_failure_only and not jumped:
                state.passed_over(range(index, index + 1), State.SKIPPED, "runs only when another step fails into it")
                index += 1
                continue
            way = onward(state.plan, step, await self._run_step(step))
            if not self._must_stop():
                state.passed_over(range(index + 1, way.to), State.SKIPPED, way.reason)
            if way.error:
                return way.error
            index, jumped = way.to, way.jumped
        return None

    async def _run_step(self, step: AnyStep) -> Outcome:
        state = self._state
        if step.when is not None:
            try:
                if not truth(step.when, state):
                    state.passed_over(range(step.index, step.index + 1), State.SKIPPED, "its condition `when` is false")
                    return Outcome(State.SKIPPED)
            except EvaluationError as error:
                state.started(step, now_ms())
                outcome = Outcome(State.FAILED, error=ErrorInfo(EXPRESSION_ERROR, f"when: {error}"))
                state.finished(step, outcome, now_ms())
                return outcome
        state.started(step, now_ms())
        self._step_task = asyncio.create_task(RUNNERS[type(step)](state, step))
        await workflow.wait([self._step_task])
        outcome = self._outcome(step, self._step_task)
        state.finished(step, outcome, now_ms())
        return outcome

    def _outcome(self, step: AnyStep, task: asyncio.Task[Outcome]) -> Outcome:
        """How the step's task ended, in the light of a stop that may have reached it."""
        if not task.cancelled() and (error := task.exception()) is None:
            outcome = task.result()
            if self._stopping is Stop.CANCEL:
                return _cancelled(outcome.output, "the action finished although it was told to stop")
            if outcome.state is State.COMPLETED and outcome.goto is None:
                return _with_way(outcome, target(self._state.plan, step, step.on_success))
            return outcome
        if task.cancelled() or is_cancelled_exception(task.exception() or Exception()):
            return self._stopped()
        assert error is not None
        raise error

    def _stopped(self) -> Outcome:
        """The outcome of a step whose task was cancelled."""
        if self._stopping is Stop.CANCEL:
            return _cancelled(None, None)
        if self._stopping is Stop.TIME_LIMIT:
            return Outcome(State.FAILED, error=ErrorInfo(TIMED_OUT, "the run reached its time limit"))
        return Outcome(State.FAILED, error=ErrorInfo("cancelled", "the action was cancelled, and not by this run"))

    def _end(self, error: ErrorInfo | None) -> None:
        """Folds the end of the run: its state, and what becomes of the steps that never began."""
        state, cause = self._state, self._must_stop()
        every = range(len(state.plan.steps))
        if cause is Stop.CANCEL:
            state.passed_over(every, State.CANCELLED, None)
            state.ended(State.CANCELLED, now_ms(), None)
            return
        if cause is Stop.TIME_LIMIT:
            state.passed_over(every, State.SKIPPED, "the run reached its time limit")
            error = ErrorInfo(TIMED_OUT, f"the run reached its time limit of {state.plan.timeout:g} s")
        outputs: Json = None
        if error is None and state.plan.outputs is not None:
            try:
                outputs = render(state.plan.outputs, state.names).value
            except EvaluationError as problem:
                error = ErrorInfo(EXPRESSION_ERROR, f"outputs: {problem}")
        state.ended(State.FAILED if error else State.COMPLETED, now_ms(), error, outputs)

    async def _close(self) -> dict[str, Json]:
        """Settles the record and closes the workflow as the database says: a final state stored earlier stands."""
        flush(self._state)
        settled = State(await self._settle())
        record = self._state.record
        workflow.upsert_search_attributes([OUTCOME_KEY.value_set(settled.value)])
        if settled is State.CANCELLED and workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        if settled is State.FAILED:
            error = record.error or ErrorInfo("failed", "the run failed")
            raise ApplicationError(error.message, type=error.code, non_retryable=True)
        return {"state": settled.value, "outputs": record.outputs}

    async def _settle(self) -> str:
        """Writes the settled record, in a local activity that no cancel interrupts, until the database has it."""
        handle = workflow.start_local_activity(
            SETTLE_ACTIVITY,
            self._settlement(),
            result_type=Settled,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=SETTLE_RETRY,
            summary="settle the record",
        )
        while not handle.done():
            try:
                await asyncio.shield(handle)
            except asyncio.CancelledError:
                continue
        result: Settled = handle.result()
        return result.state

    def _settlement(self) -> Settlement:
        record, given = self._state.record, self._state.given
        return Settlement(
            execution_id=given.execution_id,
            workflow_run_id=workflow.info().run_id,
            state=record.state.value,
            started_at=record.started_at,
            finished_at=record.finished_at or now_ms(),
            error=(record.error.code, record.error.message) if record.error else None,
            cancel_reason=workflow.cancellation_reason(),
            outputs=record.outputs,
            steps=[encode_step(step) for step in record.steps],
            io=self._io(),
        )

    def _io(self) -> dict[str, Json]:
        return {step_id: _io_value(io) for step_id, io in self._state.record.io.items()}


def _cancelled(output: Json, reason: str | None) -> Outcome:
    return Outcome(State.CANCELLED, output=output, reason=reason)


def _with_way(outcome: Outcome, goto: int) -> Outcome:
    return Outcome(
        outcome.state, outcome.output, outcome.error, outcome.reason, outcome.would, outcome.effects, goto=goto
    )


def _io_value(io: StepIo) -> Json:
    value = {"input": io.input, "output": io.output, "would": io.would, "effects": io.effects}
    return {name: part for name, part in value.items() if part is not None}
