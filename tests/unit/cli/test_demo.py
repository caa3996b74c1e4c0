"""What the demo calls wrong."""

from __future__ import annotations

from cli.demo import TICKETS, Scene, Story, faults_of
from cli.receiver import Received
from tests.fake_api import execution

READ = Received("GET", "/intel", None)
NOTIFICATION = Received("POST", "/slack", {"text": "x"})
TICKET = Received("POST", TICKETS, {"title": "x"})


def story(rehearsed: list[Received], live: list[Received], state: str = "completed") -> Story:
    """A rehearsal and a run with what the receiver got of them."""
    scenes = [Scene("Rehearsal", execution("completed"), rehearsed), Scene("For real", execution(state), live)]
    return Story(scenes)


def test_reading_rehearsal_and_whole_run_are_right() -> None:
    """A rehearsal that only read, and a run that notified and opened a ticket: nothing is wrong."""
    assert faults_of(story([READ], [READ, NOTIFICATION, TICKET])) == []


def test_effect_of_the_rehearsal_is_wrong() -> None:
    """Anything but reading in the rehearsal is told."""
    assert faults_of(story([NOTIFICATION], [NOTIFICATION, TICKET])) == ["Rehearsal: POST /slack reached the receiver"]


def test_missing_effect_of_the_run_is_wrong() -> None:
    """A run that did not open the ticket is told."""
    assert faults_of(story([], [NOTIFICATION])) == [f"For real: nothing was posted to {TICKETS}"]


def test_failed_run_is_wrong() -> None:
    """A run that did not complete is told, whatever it did."""
    assert faults_of(story([], [NOTIFICATION, TICKET], "failed")) == ["For real: the execution is failed"]
