"""What the demo calls wrong, and what it says of a machine that lacks something."""

from __future__ import annotations

import pytest

from cli.demo import Scene, Story, faults_of
from cli.mail_sink import MAIL
from cli.received import Received
from cli.receiver import Receiver
from cli.showcases import STAKEHOLDER, TICKETS, Showcase, Surroundings, incident_triage, showcases, surroundings
from tests.fake_api import execution

READ = Received("GET", "/intel", None)
NOTIFICATION = Received("POST", "/slack", {"text": "x"})
TICKET = Received("POST", TICKETS, {"title": "x"})


def story(rehearsed: list[Received], live: list[Received], state: str = "completed") -> Story:
    """A rehearsal and a run of the triage with what came of them."""
    scenes = [Scene("Rehearsal", execution("completed"), rehearsed), Scene("For real", execution(state), live)]
    return Story(incident_triage(Surroundings(Receiver())), scenes)


def test_reading_rehearsal_and_whole_run_are_right() -> None:
    """A rehearsal that only read, and a run that notified and opened a ticket: nothing is wrong."""
    assert faults_of(story([READ], [READ, NOTIFICATION, TICKET])) == []


def test_effect_of_the_rehearsal_is_wrong() -> None:
    """Anything but reading in the rehearsal is told."""
    assert faults_of(story([NOTIFICATION], [NOTIFICATION, TICKET])) == ["Rehearsal: POST /slack reached its place"]


def test_missing_effect_of_the_run_is_wrong() -> None:
    """A run that did not open the ticket is told."""
    assert faults_of(story([], [NOTIFICATION])) == [f"For real: nothing was sent to POST {TICKETS}"]


def test_failed_run_is_wrong() -> None:
    """A run that did not complete is told, whatever it did."""
    assert faults_of(story([], [NOTIFICATION, TICKET], "failed")) == ["For real: the execution is failed"]


def test_a_mail_is_an_effect_like_any_other() -> None:
    """One of the rehearsal is wrong, as is none of the run."""
    mail = Received(MAIL, STAKEHOLDER, {"subject": "x"})
    scenes = [Scene("Rehearsal", execution("completed"), [mail]), Scene("For real", execution("completed"), [])]
    told = faults_of(Story(Showcase("compliance-check", expected=(f"{MAIL} {STAKEHOLDER}",)), scenes))
    assert [fault.partition(":")[0] for fault in told] == ["Rehearsal", "For real"]


def test_a_machine_without_tools_is_told_what_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    """Each part that cannot run is named with what it would take; a part that needs no tool runs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with surroundings(every=True) as around:
        triage, patching, compliance = showcases(around, every=True)
    assert (triage.notes, triage.skipped) == ((), False)
    assert patching.skipped
    assert "apt or dnf" in patching.notes[0]
    assert not compliance.skipped
    assert "apt-get install lynis" in compliance.notes[0]
    assert compliance.expected, "the mail needs no tool"
