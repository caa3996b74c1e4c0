"""The state of a run as data, for it to continue as new, and back."""

from __future__ import annotations

from playbooks.contract import FrameSnapshot, LoopSnapshot, Snapshot
from playbooks.progress import decode_step, encode_step
from playbooks.record import ErrorInfo, Json, StepIo
from playbooks.states import State
from workflows.frame import Frame, Loop
from workflows.state import RunState


def take(state: RunState, *, limit_at: int | None, timed_out: bool) -> Snapshot:
    """Everything of ``state`` that does not stand in the run's input."""
    rows = {index: encode_step(row) for index, row in enumerate(state.record.steps) if index not in state.root.records}
    return Snapshot(
        started_at=state.record.started_at,
        execution_started_at=state.execution["started_at"],
        limit_at=limit_at,
        timed_out=timed_out,
        root=_frame(state.root),
        rows=rows,
        io={name: _io(io) for name, io in state.record.io.items()},
        vars=state.vars,
        iterations=state.iterations,
        digests=state.digests,
    )


def restore(state: RunState, snapshot: Snapshot) -> None:
    """Makes a fresh ``state`` what it was when ``snapshot`` was taken."""
    if snapshot.started_at is not None:
        state.record.state, state.record.started_at = State.RUNNING, snapshot.started_at
    if snapshot.execution_started_at is not None:
        state.execution["started_at"] = snapshot.execution_started_at
    for index, row in snapshot.rows.items():
        state.record.steps[index] = decode_step(row)
    _refill(state.root, snapshot.root)
    for index, record in state.root.records.items():
        state.record.steps[index] = record
    for step_id, io in snapshot.io.items():
        known = state.root.values.get(step_id) or {}
        state.record.io[step_id] = StepIo(output=known.get("output"), **io)
    state.assigned(snapshot.vars)
    state.iterations.update(snapshot.iterations)
    state.digests.update(snapshot.digests)
    state.begun = sum(map(len, state.iterations.values()))


def _io(io: StepIo) -> dict[str, Json]:
    """The output stands among the values of the frame."""
    return {"input": io.input, "would": io.would, "effects": io.effects}


def _frame(frame: Frame, item: Json = None) -> FrameSnapshot:
    return FrameSnapshot(
        path=list(frame.path),
        item=item,
        started_at=frame.started_at,
        records={index: encode_step(record) for index, record in frame.records.items() if _tells(record.state)},
        values=frame.values,
        # A loop that has ended is told by its step's record and value.
        loops={index: _loop(loop) for index, loop in frame.loops.items() if not frame.records[index].state.is_final},
    )


def _tells(state: State) -> bool:
    return state is not State.PENDING


def _loop(loop: Loop) -> LoopSnapshot:
    return LoopSnapshot(
        items=loop.items,
        next=loop.next,
        open=[_frame(frame, frame.names.get("item")) for _, frame in sorted(loop.open.items())],
        results=loop.results,
        failures={number: (error.code, error.message) for number, error in loop.failures.items()},
        last=loop.last,
    )


def _refill(frame: Frame, snapshot: FrameSnapshot) -> None:
    frame.started_at = snapshot.started_at
    for index, row in snapshot.records.items():
        frame.records[index] = decode_step(row)
    for step_id, value in snapshot.values.items():
        frame.put(step_id, value)
    for index, saved in snapshot.loops.items():
        loop = frame.loops[index] = _restored(saved)
        for inner in saved.open:
            number = inner.path[-1]
            opened = loop.open[number] = frame.inner(number, inner.item, with_item=loop.items is not None)
            _refill(opened, inner)


def _restored(saved: LoopSnapshot) -> Loop:
    return Loop(
        items=saved.items,
        next=saved.next,
        results=dict(saved.results),
        failures={number: ErrorInfo(*told) for number, told in saved.failures.items()},
        last=dict(saved.last),
    )
