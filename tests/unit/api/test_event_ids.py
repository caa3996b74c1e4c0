"""Ids of events say what a client has seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.event_ids import event_id, read_event_id, signature
from playbooks.record import StepRecord, Tally, Waiting
from playbooks.states import State

waits = st.one_of(st.none(), st.sampled_from(["delay", "retry", "approval"]).map(Waiting))
tallies = st.none() | st.builds(Tally, completed=st.integers(0, 10_000), failed=st.integers(0, 10_000))
records = st.builds(
    StepRecord,
    state=st.sampled_from(State),
    attempt=st.integers(0, 99_999),
    waiting_for=waits,
    iterations=tallies,
    runs=tallies,
)


@given(st.sampled_from("prcfsx"), st.lists(records, min_size=1, max_size=200))
def test_an_id_reads_back(letter: str, steps: list[StepRecord]) -> None:
    """What was written into an id is read from it."""
    signatures = [signature(step) for step in steps]
    assert read_event_id(event_id(letter, signatures), len(steps)) == (letter, signatures)


@given(st.text(max_size=40))
def test_what_is_no_id_is_refused_quietly(text: str) -> None:
    """Any text is either an id of a run of that length, or None."""
    known = read_event_id(text, 3)
    assert known is None or len(known[1]) == 3


def test_a_huge_count_is_refused() -> None:
    """A count beyond the run's length is not expanded."""
    assert read_event_id("r.99999p", 3) is None


def test_equal_steps_take_one_entry() -> None:
    """Ids stay short for long runs."""
    assert event_id("r", ["c"] * 300 + ["r1"] + ["p"] * 99) == "r.300c-1r1-99p"


def test_each_iteration_is_a_change() -> None:
    """A loop that has come further reads otherwise."""
    marks = {signature(StepRecord(State.RUNNING, iterations=Tally(total=3, completed=n))) for n in range(3)}
    assert marks == {"r", "rn1", "rn2"}
