"""Where a run goes after a step."""

from __future__ import annotations

import pytest

from playbooks.plan import ConditionStep, DelayStep, Next, OnFailure, Plan
from playbooks.record import ErrorInfo
from playbooks.states import State
from workflows.frame import Outcome
from workflows.route import Onward, onward

PLAN = Plan(steps=[DelayStep(index=n, id=f"s{n}", name=f"S{n}", duration=0) for n in range(4)])
FAILED = Outcome(State.FAILED, error=ErrorInfo("bad", "it broke"))


def step(on_failure: OnFailure) -> DelayStep:
    """The second step, with a way of failing."""
    return DelayStep(index=1, id="s1", name="S1", duration=0, on_failure=on_failure)


def test_a_completed_step_leads_to_the_next() -> None:
    """Without a jump the run goes on."""
    assert onward(PLAN, PLAN.main, PLAN.steps[1], Outcome(State.COMPLETED)) == Onward(2)


def test_a_jump_names_its_reason() -> None:
    """Steps passed over say who jumped and where."""
    jumping = DelayStep(index=0, id="s0", name="S0", duration=0, on_success=Next(kind="jump", to=3))
    way = onward(PLAN, PLAN.main, jumping, Outcome(State.COMPLETED))
    assert way == Onward(3, jumped=True, reason="s0 went on to s3")


@pytest.mark.parametrize(("parent", "reason"), [(None, "s0 ended the run"), (7, "s0 ended the steps around it")])
def test_the_end_names_its_reason(parent: int | None, reason: str) -> None:
    """Steps behind an `end` say who ended the run, or the block that the step stands in."""
    ending = DelayStep(index=0, id="s0", name="S0", duration=0, on_success=Next(kind="end"), parent=parent)
    assert onward(PLAN, PLAN.main, ending, Outcome(State.COMPLETED)) == Onward(4, reason=reason)


def test_abort_goes_to_the_end_with_an_error() -> None:
    """The run fails with the step's own code."""
    way = onward(PLAN, PLAN.main, step(OnFailure()), FAILED)
    assert way == Onward(4, reason="s1 failed", error=ErrorInfo("bad", "step s1 failed: it broke"))


def test_continue_goes_on() -> None:
    """A failure may be passed by."""
    assert onward(PLAN, PLAN.main, step(OnFailure(kind="continue")), FAILED) == Onward(2)


def test_a_handler_is_jumped_to() -> None:
    """A failure that is handled is no failure of the run."""
    way = onward(PLAN, PLAN.main, step(OnFailure(kind="handler", to=3)), FAILED)
    assert (way.to, way.jumped, way.error) == (3, True, None)


@pytest.mark.parametrize(("way", "index"), [(Next(), 1), (Next(kind="end"), 4), (Next(kind="jump", to=2), 2)])
@pytest.mark.parametrize("holds", [True, False])
def test_a_condition_chooses_its_way(way: Next, index: int, holds: bool) -> None:
    """`next`, `end` and the id of a later step, by what the expression gave."""
    ways = {"on_true": way if holds else Next(), "on_false": Next() if holds else way}
    asking = ConditionStep(index=0, id="s0", name="S0", expression=["k", True], **ways)
    assert onward(PLAN, PLAN.main, asking, Outcome(State.COMPLETED, {"result": holds})).to == index


def test_a_jump_to_the_next_step_is_a_jump() -> None:
    """It enters a step that runs only when it is jumped to."""
    jumping = DelayStep(index=0, id="s0", name="S0", duration=0, on_success=Next(kind="jump", to=1))
    assert onward(PLAN, PLAN.main, jumping, Outcome(State.COMPLETED)) == Onward(1, jumped=True)


def test_a_block_is_followed_by_what_stands_behind_it() -> None:
    """Not by the first step inside of it."""
    block = DelayStep(index=0, id="s0", name="S0", duration=0, end=3)
    assert onward(PLAN, PLAN.main, block, Outcome(State.COMPLETED)) == Onward(3)
