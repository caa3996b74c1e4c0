"""The id of a server-sent event is what the client has seen: the state of the run and of each step, run-length coded.

So a client that comes back with ``Last-Event-ID`` (HTML Living Standard, *Server-sent events*) gets just what has
changed since, from any API process, after any restart, and no log of events is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from playbooks.record import StepRecord
from playbooks.states import State

_LETTERS = {
    State.PENDING: "p",
    State.RUNNING: "r",
    State.COMPLETED: "c",
    State.FAILED: "f",
    State.SKIPPED: "s",
    State.CANCELLED: "x",
}
_WAITS = {"delay": "d", "retry": "t", "approval": "a"}
_RUN = re.compile(r"(\d{1,5})([pcfsx]|r\d{0,6}[dta]?(?:n\d{1,6})?)")
PENDING = _LETTERS[State.PENDING]


def signature(step: StepRecord) -> str:
    """What a client can tell of a step: its state, and of a running one the attempt and what it waits for.

    Of a loop, and of a step inside of one, how many times it has ended too.
    """
    letter = _LETTERS[step.state]
    if step.state is not State.RUNNING:
        return letter
    waits = _WAITS.get(step.waiting_for.kind, "") if step.waiting_for else ""
    tally = step.iterations or step.runs
    ended = tally.completed + tally.failed + tally.skipped + tally.cancelled if tally else 0
    return f"{letter}{step.attempt or ''}{waits}" + (f"n{ended}" if ended else "")


def event_id(state: str, signatures: Sequence[str]) -> str:
    """The id of the event after which a client knows ``state`` (its letter) and ``signatures``."""
    runs = "-".join(f"{sum(1 for _ in group)}{mark}" for mark, group in groupby(signatures))
    return f"{state}.{runs}"


def read_event_id(text: str, steps: int) -> tuple[str, list[str]] | None:
    """The letter of the run's state and the step signatures in ``text``; None where it is no id of a run so long."""
    letter, _, runs = text.partition(".")
    if letter not in _LETTERS.values():
        return None
    signatures: list[str] = []
    for run in runs.split("-"):
        match = _RUN.fullmatch(run)
        if match is None or len(signatures) + int(match[1]) > steps:
            return None
        signatures.extend([match[2]] * int(match[1]))
    return (letter, signatures) if len(signatures) == steps else None


def state_letter(state: State) -> str:
    """The letter that stands for ``state`` in an id."""
    return _LETTERS[state]
