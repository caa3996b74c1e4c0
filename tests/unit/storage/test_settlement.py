"""How a run becomes final: once, and for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from storage_rows import DONE, EXECUTION, NOW, PENDING, new_execution, settlement

from playbooks.contract import Settled
from playbooks.record import ErrorInfo
from playbooks.states import State
from storage import executions
from storage.database import Database
from storage.errors import NotFound
from storage.executions import ExecutionRow
from storage.settlement import merge

LATER = NOW + 1_000


@pytest.fixture
def opened(database: Database) -> Database:
    """A database with one open execution."""
    database.write_sync(executions.insert, new_execution())
    return database


def stored(database: Database) -> ExecutionRow:
    """The execution as it stands."""
    row = database.read_sync(executions.get, EXECUTION)
    assert row is not None
    return row


def freeze(database: Database, record: list[object], by: str = "ada") -> bool:
    """Accept a cancel at NOW + 12."""
    return database.write_sync(
        executions.freeze_cancelled,
        EXECUTION,
        record=record,
        at=NOW + 12,
        by=by,
        reason="wrong host",
        started_at=NOW + 5,
        finished_at=NOW + 12,
    )


def settle_outside(database: Database, state: State = State.FAILED) -> bool:
    """What the sweep writes for a terminated run."""
    return database.write_sync(
        executions.settle_outside,
        EXECUTION,
        state=state,
        record=[DONE, ["f", NOW + 10, NOW + 30]],
        error=ErrorInfo("terminated", "terminated in Temporal"),
        cancelled=("temporal", "by hand", NOW + 30) if state is State.CANCELLED else None,
        started_at=NOW + 5,
        finished_at=NOW + 30,
    )


def test_a_settlement_writes_everything(opened: Database) -> None:
    """State, times, record, outputs, run id and the moment of closing are there after it."""
    assert opened.write_sync(executions.settle, settlement(), LATER).state == "completed"
    row = stored(opened)
    assert (row.state, row.started_at, row.finished_at, row.closed_at) == (
        State.COMPLETED,
        NOW + 5,
        NOW + 20,
        LATER,
    )
    assert row.record == [DONE, ["c", NOW + 10, NOW + 20, 2]]
    assert (row.outputs, row.workflow_run_id, row.error) == ({"version": "2.4.1"}, "run-1", None)


def test_a_settlement_keeps_the_io_of_each_step(opened: Database) -> None:
    """get_io answers what the workflow handed over."""
    opened.write_sync(executions.settle, settlement(), LATER)
    assert opened.read_sync(executions.get_io, EXECUTION) == {"act-001": {"input": {"a": 1}, "output": "é"}}


def test_a_failed_settlement_keeps_its_error(opened: Database) -> None:
    """The error of the run reads back with code and message."""
    opened.write_sync(executions.settle, settlement(state="failed", error=("action_failed", "no route")), LATER)
    assert stored(opened).error == ErrorInfo("action_failed", "no route")


def test_a_cancelled_settlement_says_when_and_why(opened: Database) -> None:
    """A cancel from Temporal's own tools has a moment and its reason, and nobody's name."""
    opened.write_sync(executions.settle, settlement(state="cancelled", cancel_reason="maintenance"), LATER)
    row = stored(opened)
    assert (row.cancelled_at, row.cancelled_by, row.cancel_reason) == (NOW + 20, None, "maintenance")


def test_a_second_settlement_changes_nothing(opened: Database) -> None:
    """The first end stands, with its io; the second is told so."""
    opened.write_sync(executions.settle, settlement(), LATER)
    before = stored(opened)
    again = settlement(state="failed", outputs=None, steps=[["f"]], io={"act-001": {"input": "other"}})
    assert opened.write_sync(executions.settle, again, LATER + 1).state == "completed"
    assert stored(opened) == before
    assert opened.read_sync(executions.get_io, EXECUTION)["act-001"]["input"] == {"a": 1}


def test_settling_an_unknown_execution_is_not_found(database: Database) -> None:
    """There is nothing to settle."""
    with pytest.raises(NotFound, match="exec-none"):
        database.write_sync(executions.settle, settlement(execution_id="exec-none"), LATER)


def test_a_settlement_survives_what_json_cannot_say(opened: Database) -> None:
    """NaN, a lone surrogate and NUL in an output never keep a run from being settled."""
    opened.write_sync(executions.settle, settlement(io={"s": {"output": [float("nan"), 1.5, "a\ud800b\x00c"]}}), LATER)
    assert opened.read_sync(executions.get_io, EXECUTION) == {"s": {"output": [None, 1.5, "a?b\x00c"]}}


def test_a_freeze_is_final_at_once(opened: Database) -> None:
    """From the accepted cancel on the run reads cancelled, with who and why; it has not closed."""
    assert freeze(opened, [DONE, ["x"]]) is True
    row = stored(opened)
    assert (row.state, row.finished_at, row.closed_at) == (State.CANCELLED, NOW + 12, None)
    assert (row.cancelled_by, row.cancel_reason, row.cancelled_at) == ("ada", "wrong host", NOW + 12)
    assert row.record == [DONE, ["x"]]


def test_a_second_freeze_changes_nothing(opened: Database) -> None:
    """The first cancel stands."""
    freeze(opened, [DONE, ["x"]])
    assert freeze(opened, [["x"], ["x"]], by="bob") is False
    assert (stored(opened).cancelled_by, stored(opened).record) == ("ada", [DONE, ["x"]])


def test_a_settled_run_cannot_be_frozen(opened: Database) -> None:
    """A run that has completed stays completed."""
    opened.write_sync(executions.settle, settlement(), LATER)
    assert freeze(opened, [["x"]]) is False
    assert (stored(opened).state, stored(opened).cancelled_at) == (State.COMPLETED, None)


def test_a_frozen_run_stays_cancelled_when_it_settles(opened: Database) -> None:
    """The settlement closes the run and adds io and outputs, but neither state nor times change."""
    freeze(opened, [DONE, ["x", NOW + 10, NOW + 12]])
    assert opened.write_sync(executions.settle, settlement(error=("e", "m")), LATER).state == "cancelled"
    row = stored(opened)
    assert (row.state, row.finished_at, row.closed_at, row.error) == (State.CANCELLED, NOW + 12, LATER, None)
    assert (row.outputs, row.workflow_run_id, row.cancelled_by) == ({"version": "2.4.1"}, "run-1", "ada")
    assert opened.read_sync(executions.get_io, EXECUTION) != {}


def test_a_step_that_finished_after_the_cancel_reads_cancelled(opened: Database) -> None:
    """What was shown as cancelled stays so, with the truth in its reason."""
    freeze(opened, [DONE, ["x", NOW + 10, NOW + 12]])
    opened.write_sync(executions.settle, settlement(), LATER)
    late = ["x", NOW + 10, NOW + 12, 2, None, "finished after the cancel was accepted"]
    assert stored(opened).record == [DONE, late]


def test_a_frozen_run_settles_once(opened: Database) -> None:
    """A repeated settlement of a frozen run changes nothing and does not fail on its io."""
    freeze(opened, [DONE, ["x"]])
    opened.write_sync(executions.settle, settlement(), LATER)
    before = stored(opened)
    assert opened.write_sync(executions.settle, settlement(outputs=None), LATER + 1).state == "cancelled"
    assert stored(opened) == before


@pytest.mark.parametrize(
    ("frozen", "settled", "expected"),
    [
        (DONE, ["f", 1, 2, 1, ["e", "m"]], ["c", NOW + 5, NOW + 9, 1, ["e", "m"]]),
        (["c", 1], ["c", 1, 2, 3], ["c", 1, 2, 3]),
        (["x"], ["x", 5, 9, 1, ["cancelled", "stopped"], "why"], ["x", 5, 9, 1, ["cancelled", "stopped"], "why"]),
        (["x"], ["f", 5, 9, 1, ["e", "m"]], ["x", 5, 9, 1, ["e", "m"], "failed after the cancel was accepted"]),
        (["x", None, None, 0, None, "mine"], ["x", None, None, 0, None, "other"], ["x", None, None, 0, None, "mine"]),
        (["x"], ["s", None, None, 0, None, "not reached"], ["x", None, None, 0, None, "not reached"]),
        (["r", 5], ["c", 5, 9, 1], ["c", 5, 9, 1]),
        (PENDING, ["x"], ["x"]),
    ],
)
def test_merging_keeps_final_states_and_fills_in_details(
    frozen: list[object], settled: list[object], expected: list[object]
) -> None:
    """A final state stays, an open one is replaced, and only what was not known is added."""
    assert merge([frozen], [settled]) == [expected]


def test_merging_loses_no_step() -> None:
    """Where one record is shorter, the steps of the other remain."""
    assert merge([["x"]], [["x"], DONE]) == [["x"], DONE]
    assert merge([["x"], DONE], []) == [["x"], DONE]


def test_a_noted_cancel_names_who_asked(opened: Database) -> None:
    """The workflow settles as cancelled without a name; the note has it."""
    assert opened.write_sync(executions.note_cancel, EXECUTION, by="ada", reason="wrong host", at=NOW + 2) is True
    assert stored(opened).state is None
    opened.write_sync(executions.settle, settlement(state="cancelled", cancel_reason="cancelled by ada"), LATER)
    row = stored(opened)
    assert (row.cancelled_by, row.cancel_reason, row.cancelled_at) == ("ada", "wrong host", NOW + 2)


def test_the_first_note_stands(opened: Database) -> None:
    """A second one, also by a freeze, does not replace it."""
    opened.write_sync(executions.note_cancel, EXECUTION, by="ada", reason=None, at=NOW + 2)
    assert opened.write_sync(executions.note_cancel, EXECUTION, by="bob", reason="too", at=NOW + 3) is False
    freeze(opened, [["x"]], by="temporal")
    row = stored(opened)
    assert (row.cancelled_by, row.cancel_reason, row.cancelled_at) == ("ada", None, NOW + 2)


def test_a_cancel_that_came_too_late_leaves_no_trace(opened: Database) -> None:
    """A run that completes all the same does not say that it was cancelled."""
    opened.write_sync(executions.note_cancel, EXECUTION, by="ada", reason="late", at=NOW + 2)
    opened.write_sync(executions.settle, settlement(), LATER)
    row = stored(opened)
    assert (row.state, row.cancelled_by, row.cancel_reason, row.cancelled_at) == (State.COMPLETED, None, None, None)


def test_a_final_run_takes_no_note(opened: Database) -> None:
    """After the end there is nothing to cancel."""
    opened.write_sync(executions.settle, settlement(), LATER)
    assert opened.write_sync(executions.note_cancel, EXECUTION, by="ada", reason=None, at=LATER) is False


def test_a_run_closed_outside_is_settled_by_the_sweep(opened: Database) -> None:
    """It reads as what the sweep found, closed at its end."""
    assert settle_outside(opened) is True
    row = stored(opened)
    assert (row.state, row.error) == (State.FAILED, ErrorInfo("terminated", "terminated in Temporal"))
    assert (row.started_at, row.finished_at, row.closed_at) == (NOW + 5, NOW + 30, NOW + 30)
    assert row.record == [DONE, ["f", NOW + 10, NOW + 30]]


def test_a_run_cancelled_outside_says_by_whom(opened: Database) -> None:
    """The note of the sweep stands where nobody asked before."""
    settle_outside(opened, State.CANCELLED)
    row = stored(opened)
    assert (row.cancelled_by, row.cancel_reason, row.cancelled_at) == ("temporal", "by hand", NOW + 30)


def test_the_sweep_never_touches_a_settled_run(opened: Database) -> None:
    """It came second: nothing changes, and it is told so."""
    opened.write_sync(executions.settle, settlement(), LATER)
    before = stored(opened)
    assert settle_outside(opened) is False
    assert stored(opened) == before


def test_the_sweep_closes_a_frozen_run(opened: Database) -> None:
    """A run that was cancelled and then terminated is closed and stays cancelled."""
    freeze(opened, [DONE, ["x"]])
    assert settle_outside(opened) is True
    row = stored(opened)
    assert (row.state, row.closed_at, row.finished_at) == (State.CANCELLED, NOW + 30, NOW + 12)


def test_a_settlement_after_the_sweep_changes_nothing(opened: Database) -> None:
    """The workflow's last act is told what stands."""
    settle_outside(opened)
    assert opened.write_sync(executions.settle, settlement(), LATER).state == "failed"
    assert stored(opened).state is State.FAILED


def test_settling_an_unknown_execution_outside_is_not_found(database: Database) -> None:
    """There is nothing to settle."""
    with pytest.raises(NotFound):
        settle_outside(database)


@pytest.mark.parametrize("frozen", [False, True])
def test_of_settlements_racing_in_threads_one_is_written(opened: Database, database_url: str, frozen: bool) -> None:
    """Eight different ends at once on two pools: one stands, whole, and all eight are told its state."""
    if frozen:
        freeze(opened, [["x"], ["x"]])
    other = Database(database_url)
    gate = threading.Barrier(8)

    def race(number: int) -> Settled:
        own = settlement(
            state=("completed", "failed")[number % 2], outputs=number, io={"s": number}, steps=[DONE, ["c", number + 1]]
        )
        gate.wait()
        return (opened, other)[number // 4].write_sync(executions.settle, own, LATER + number)

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(lambda number: race(number).state, range(8)))
    other.close()
    row = stored(opened)
    assert answers == {row.state}
    assert opened.read_sync(executions.get_io, EXECUTION) == {"s": row.outputs}
    assert row.closed_at == LATER + row.outputs


SETTLE = """
import sys
from playbooks.contract import Settlement
from storage import executions
from storage.database import Database
database = Database(sys.argv[1])
print(database.write_sync(executions.settle, Settlement.model_validate_json(sys.argv[2]), 1).state)
database.close()
"""


def test_of_settlements_racing_in_processes_one_is_written(opened: Database, database_url: str) -> None:
    """Two processes settle the same run; what stands is one of the two, with its own io."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SETTLE, database_url, settlement(outputs=n, io={"s": n}).model_dump_json()],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    assert [process.communicate()[0].strip() for process in processes] == ["completed", "completed"]
    assert opened.read_sync(executions.get_io, EXECUTION) == {"s": stored(opened).outputs}


def test_a_freeze_racing_a_settlement_leaves_one_story(opened: Database) -> None:
    """Whichever comes first, the run is closed, its state final, and a completed run was not cancelled."""
    with ThreadPoolExecutor(2) as threads:
        frozen = threads.submit(freeze, opened, [DONE, ["x"]])
        answer = threads.submit(opened.write_sync, executions.settle, settlement(), LATER)
        expected = State.CANCELLED if frozen.result() else State.COMPLETED
        assert answer.result().state == expected
    row = stored(opened)
    assert (row.state, row.closed_at, row.cancelled_at is not None) == (expected, LATER, expected is State.CANCELLED)
