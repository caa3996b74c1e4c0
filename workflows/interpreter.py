"""The one workflow: runs a compiled plan on its machine, and settles the record as its last act.

Cancellation is the delicate part (Temporal docs: *Python SDK, cancellation*).  ``run()`` is what Temporal cancels, at
any await, also in the very activation that brings a step's result.  So ``run()`` only supervises: the walk and each
step live in tasks of their own, and a cancel reaches the steps at work by way of their scope after results of the
same activation have landed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue

from playbooks.contract import (
    APPROVE_SIGNAL,
    DECIDE_UPDATE,
    IO_QUERY,
    ITERATIONS_QUERY,
    REJECT_SIGNAL,
    Decide,
    Decided,
    MainEnd,
    RunInput,
)
from playbooks.evaluation import EvaluationError
from playbooks.progress import run_memo
from playbooks.record import ErrorInfo, Json
from playbooks.states import State
from workflows import snapshot
from workflows.clock import iso, now_ms
from workflows.expressions import EXPRESSION_ERROR, rendered
from workflows.machine import TIME_IS_OVER, TIMED_OUT, Machine, Parked, stopped_by
from workflows.scope import Scope, Stop
from workflows.settling import close, io_of, iterations_of
from workflows.state import RunState
from workflows.steps import BLOCKS, LEAVES

SETTLING_TURNS = 10
"""Turns of the event loop in which results of the activation that brought a cancel may still land."""


@workflow.defn(dynamic=True)
class PlaybookWorkflow:
    """Runs any playbook; the workflow type is the playbook's slug."""

    @workflow.init
    def __init__(self, args: Sequence[RawValue]) -> None:
        given = workflow.payload_converter().from_payload(args[0].payload, RunInput)
        now = now_ms()
        self._state = RunState(given, iso(int(workflow.info().start_time.timestamp() * 1000)))
        self._machine = Machine(self._state, LEAVES, BLOCKS)
        self._main = Scope()
        self._always = Scope()
        self._limit_at = None if given.plan.timeout is None else now + int(given.plan.timeout * 1000)
        self._limit_task: asyncio.Task[None] | None = None
        self._main_end: MainEnd | None = None
        if given.resume is not None:
            snapshot.restore(self._state, given.resume)
            self._main_end = given.resume.main_end
            self._machine.approvals.resume(self._state, given.resume.decisions)
            self._limit_at = given.resume.limit_at or self._limit_at
            if given.resume.timed_out:
                self._main.stop(Stop.TIME_LIMIT, TIME_IS_OVER)

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> dict[str, Json]:
        """Runs the plan in the input to its end and returns the state and the outputs of the run."""
        while True:
            self._machine.parking = False
            work = asyncio.create_task(self._work())
            await self._supervise(work)
            try:
                work.result()
            except Parked:
                self._end_limit()
                await self._continue()
            else:
                self._end_limit()
                return await close(self._state)

    @workflow.query(name=IO_QUERY)
    def io(self) -> dict[str, Json]:
        """Input and output of each step so far, by step id."""
        return io_of(self._state)

    @workflow.query(name=ITERATIONS_QUERY)
    def iterations(self) -> dict[str, Json]:
        """Each iteration of each loop so far, by the id of the loop."""
        return iterations_of(self._state)

    @workflow.update(name=DECIDE_UPDATE, description="Approve or reject a step that waits for approval.")
    def decide(self, decide: Decide) -> Decided:
        """Takes a decision; refuses one that comes twice, too late, or from somebody who may not decide."""
        return Decided(step=self._machine.approvals.decide(decide))

    @decide.validator
    def _can_decide(self, decide: Decide) -> None:
        self._machine.approvals.find(decide)

    @workflow.signal(name=APPROVE_SIGNAL, description="Approve the step that waits for approval.")
    def approve(self, decide: Decide) -> None:
        """Approves; a signal that comes too late changes nothing."""
        self._machine.approvals.hear(decide.model_copy(update={"approve": True}))

    @workflow.signal(name=REJECT_SIGNAL, description="Reject the step that waits for approval.")
    def reject(self, decide: Decide) -> None:
        """Rejects; a signal that comes too late changes nothing."""
        self._machine.approvals.hear(decide.model_copy(update={"approve": False}))

    async def _supervise(self, task: asyncio.Task[None]) -> None:
        """Waits for ``task``, whatever cancels this coroutine; a cancel reaches the steps by their scope."""
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.done():
                    return
                for _ in range(SETTLING_TURNS):
                    await asyncio.sleep(0)
                self._main.stop(Stop.CANCEL)
                self._always.stop(Stop.CANCEL)
            except Exception:
                return

    async def _work(self) -> None:
        """Walks the plan to its end, then what is to run always; the state then says how the run ended."""
        state, plan = self._state, self._state.plan
        if self._main_end is None:
            self._main_end = await self._walk_main()
        error = ErrorInfo(*self._main_end.error) if self._main_end.error else None
        outputs = self._main_end.outputs
        if plan.always is not None and self._main.stopping is not Stop.CANCEL:
            self._end_limit()
            state.main_ended(error)
            after = await self._machine.walk(state.root, plan.always, self._always)
            error = error or after
        self._end(error, outputs)

    async def _walk_main(self) -> MainEnd:
        """Walks the steps of the playbook itself, within the time limit of the run."""
        state = self._state
        walk = asyncio.create_task(self._machine.walk(state.root, state.plan.main, self._main))
        if self._limit_at is not None:
            self._limit_task = asyncio.create_task(self._limit(self._limit_at))
        await workflow.wait([walk])
        error, outputs = self._end_main(walk.result())
        return MainEnd(error=(error.code, error.message) if error else None, outputs=outputs)

    def _end_limit(self) -> None:
        """The time limit counts no longer: it is for the steps of the playbook itself."""
        if self._limit_task is not None:
            self._limit_task.cancel()

    async def _limit(self, until: int) -> None:
        await workflow.sleep(max(0.0, (until - now_ms()) / 1000), summary="time limit of the run")
        self._main.stop(Stop.TIME_LIMIT, TIME_IS_OVER)

    def _end_main(self, error: ErrorInfo | None) -> tuple[ErrorInfo | None, Json]:
        """How the steps of the playbook itself ended: the failure, or the outputs of the run."""
        state, main = self._state, self._state.plan.main
        if self._main.stopping is Stop.TIME_LIMIT:
            state.stopped(stopped_by(Stop.TIME_LIMIT), now_ms())
            state.passed_over(state.root, range(main.start, main.stop), State.SKIPPED, TIME_IS_OVER)
            return ErrorInfo(TIMED_OUT, f"{TIME_IS_OVER} of {state.plan.timeout:g} s"), None
        if error is None and state.plan.outputs is not None and self._main.stopping is None:
            try:
                return None, rendered(state, state.plan.outputs, state.root.names).value
            except EvaluationError as problem:
                return ErrorInfo(EXPRESSION_ERROR, f"outputs: {problem}"), None
        return error, None

    def _end(self, error: ErrorInfo | None, outputs: Json) -> None:
        """Folds the end of the run: its state, and what becomes of the steps that never began."""
        state = self._state
        if self._main.stopping is Stop.CANCEL:
            state.stopped(stopped_by(Stop.CANCEL), now_ms())
            state.passed_over(state.root, range(len(state.plan.steps)), State.CANCELLED, None)
            state.ended(State.CANCELLED, now_ms(), None)
        else:
            state.ended(State.FAILED if error else State.COMPLETED, now_ms(), error, None if error else outputs)

    async def _continue(self) -> None:
        """Continues the run as new, with its state; returns where a cancel has come in between."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._main.stopping is Stop.CANCEL:
            return
        state = self._state
        timed_out = self._main.stopping is Stop.TIME_LIMIT
        resume = snapshot.take(state, limit_at=self._limit_at, timed_out=timed_out)
        resume.main_end = self._main_end
        resume.decisions = self._machine.approvals.taken()
        workflow.continue_as_new(
            state.given.model_copy(update={"resume": resume}),
            memo=run_memo(state.given.execution_id, state.record),
            task_timeout=timedelta(seconds=5),
        )
