"""The compact form of step records comes back whole, and stays small enough for the memo."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.contract import RunInput, Snapshot
from playbooks.plan import DelayStep, Plan
from playbooks.progress import (
    CHUNK,
    HEAD_FIELD,
    MESSAGE_LIMIT,
    chunk_fields,
    decode_step,
    encode_step,
    memo_of,
    read_chunks,
    run_memo,
)
from playbooks.record import ErrorInfo, LoopFailure, RunRecord, StepRecord, Tally, Waiting
from playbooks.states import State

MEMO_LIMIT = 2 * 1024 * 1024

_times = st.none() | st.integers(1, 2**48)
_texts = st.text("aé\U0001f600", min_size=1, max_size=5)
_errors = st.builds(ErrorInfo, code=_texts, message=_texts)
_counts = st.integers(0, 10_000)
_tallies = st.none() | st.builds(
    Tally, st.none() | _counts, running=_counts, completed=_counts, failed=_counts, skipped=_counts, cancelled=_counts
)
_failures = st.builds(LoopFailure, iteration=st.lists(_counts, min_size=1, max_size=3).map(tuple), error=_errors)
_steps = st.builds(
    StepRecord,
    state=st.sampled_from(State),
    started_at=_times,
    finished_at=_times,
    attempt=st.integers(0, 100),
    error=st.none() | _errors,
    reason=st.none() | _texts,
    waiting_for=st.none() | st.builds(Waiting, kind=_texts, until=_times),
    iterations=_tallies,
    runs=_tallies,
    failures=st.lists(_failures, max_size=2),
    kept=st.booleans(),
    child=st.none() | _texts,
)


@given(_steps)
def test_a_record_comes_back(step: StepRecord) -> None:
    """Through JSON, with everything that it says."""
    assert decode_step(json.loads(json.dumps(encode_step(step)))) == step


def test_a_step_that_has_not_begun_is_one_letter() -> None:
    """Trailing defaults cost nothing."""
    assert encode_step(StepRecord()) == ["p"]


@pytest.mark.parametrize("state", State)
def test_each_state_has_a_letter_of_its_own(state: State) -> None:
    """The first letter tells the state."""
    assert [other for other in State if encode_step(StepRecord(other)) == encode_step(StepRecord(state))] == [state]


def test_a_row_of_an_earlier_version_is_read() -> None:
    """A field is only ever added: what a shorter row does not say has its default."""
    row = ["f", 1000, 2000, 2, ["boom", "It broke."]]
    assert decode_step(row) == StepRecord(State.FAILED, 1000, 2000, 2, ErrorInfo("boom", "It broke."))


@pytest.mark.parametrize(("length", "kept"), [(9, 9), (10, 10), (11, 10)])
def test_long_texts_are_cut(length: int, kept: int) -> None:
    """To the limit, the last character says that there is more."""
    cut = "x" * length if kept == length else "x" * (kept - 1) + "…"
    failed = StepRecord(State.FAILED, error=ErrorInfo("boom", "x" * length), reason="x" * length)
    decoded = decode_step(encode_step(failed, 10))
    assert (decoded.error, decoded.reason) == (ErrorInfo("boom", cut), cut)


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_chunks_hold_every_step_once(count: int) -> None:
    """In order, at the first and the last step of a chunk too."""
    steps = [StepRecord(State.COMPLETED, attempt=number + 1) for number in range(count)]
    fields = chunk_fields(steps)
    assert len(fields) == -(-count // CHUNK)
    assert read_chunks(fields) == steps


def test_a_change_rewrites_one_chunk() -> None:
    """The fields of the others are not told again, and the whole stays readable."""
    steps = [StepRecord() for _ in range(3 * CHUNK)]
    memo = chunk_fields(steps)
    steps[CHUNK] = StepRecord(State.RUNNING, 1000)
    changed = chunk_fields(steps, [1])
    assert list(changed) == ["steps1"]
    assert read_chunks({**memo, **changed}) == steps


@pytest.mark.parametrize(
    ("count", "failed"), [(1, 0), (50, 0), (666, 0), (667, 0), (10_000, 0), (1, 20), (600, 20), (2_000, 20)]
)
def test_the_memo_stays_small(count: int, failed: int) -> None:
    """Also where every step, and iterations of it, have failed with long messages of characters of four bytes."""
    error = ErrorInfo("outcome_unknown", "\U0001f600" * 10_000)
    failures = [LoopFailure((number,), error) for number in range(failed)]
    steps = [StepRecord(State.FAILED, 2**41, 2**41, 3, error, failures=failures) for _ in range(count)]
    memo = run_memo("exec-1", RunRecord(steps, State.RUNNING))
    assert len(json.dumps(memo, ensure_ascii=False).encode()) < MEMO_LIMIT


def test_a_short_run_keeps_its_messages() -> None:
    """A message of ordinary length is told whole in a run of ordinary length."""
    steps = [StepRecord(State.FAILED, error=ErrorInfo("boom", "x" * MESSAGE_LIMIT)) for _ in range(600)]
    assert read_chunks(chunk_fields(steps)) == steps


@pytest.mark.parametrize(("failed", "told", "length"), [(1, 1, 300), (3, 3, 100), (15, 15, 20), (20, 15, 20)])
def test_failures_of_a_loop_share_their_place(failed: int, told: int, length: int) -> None:
    """In the memo; the settled record has them all, and whole."""
    failures = [LoopFailure((number,), ErrorInfo("boom", "x" * 1_000)) for number in range(failed)]
    loop = StepRecord(State.FAILED, failures=failures)
    [kept] = read_chunks(chunk_fields([loop]))
    assert [failure.iteration for failure in kept.failures] == [(number,) for number in range(told)]
    assert {len(failure.error.message) for failure in kept.failures} == {length}
    assert decode_step(encode_step(loop)) == loop


def given_run(count: int, resume: Snapshot | None = None) -> RunInput:
    """The input of a run of that many steps."""
    plan = Plan(steps=[DelayStep(index=number, id=f"s{number}", name="S", duration=0) for number in range(count)])
    return RunInput(
        execution_id="exec-1", playbook_id="pb-1", revision=1, plan=plan, parameters={}, asset={}, resume=resume
    )


def test_the_first_memo_shows_every_step_pending() -> None:
    """So the status is whole before a worker has begun the run."""
    memo = memo_of(given_run(CHUNK + 1))
    assert memo["execution_id"] == "exec-1"
    assert memo[HEAD_FIELD] == {"state": "pending", "started_at": None}
    assert read_chunks(memo) == [StepRecord()] * (CHUNK + 1)


def test_the_first_memo_of_a_rerun_shows_what_is_kept() -> None:
    """What an earlier run has done stands there from the beginning."""
    done = StepRecord(State.COMPLETED, 1000, 2000, 1, kept=True)
    memo = memo_of(given_run(3, Snapshot(rows={1: encode_step(done)})))
    assert read_chunks(memo) == [StepRecord(), done, StepRecord()]
