"""What each cell of the matrix says: the state in which the run ends, and how often its effect is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tests.failures.moments import MOMENTS


class End(NamedTuple):
    """The end of a run: its state, how often its effect is there, and the code of its failure."""

    state: str
    effects: int
    code: str | None = None


DONE: Final = End("completed", 1)
REPEATED: Final = End("completed", 2)
UNKNOWN: Final = End("failed", 1, "outcome_unknown")
CANCELLED: Final = End("cancelled", 0)

USUAL: Final[Mapping[str, tuple[End, ...]]] = {
    moment.name: (CANCELLED,) if moment.name == "cancelling" else (DONE,) for moment in MOMENTS
}

AGAIN: Final = tuple(End("completed", effects) for effects in range(2, 9))
"""A worker that stands still is given the next tries as well, and does them when it comes to itself."""

WORKER_GONE: Final[Mapping[str, tuple[End, ...]]] = {
    "idempotent": (REPEATED,),
    "once": (UNKNOWN,),
    "result": (UNKNOWN,),
}
# What the action had answered may be on its way still, and arrives.
WORKER_AWAY: Final[Mapping[str, tuple[End, ...]]] = {
    "idempotent": AGAIN,
    "once": (UNKNOWN,),
    "result": (DONE, UNKNOWN),
}
# Temporal hears of no heartbeat while it stands still, and gives the step to a worker again.
LATE_HEARTBEATS: Final[Mapping[str, tuple[End, ...]]] = {"idempotent": (DONE, REPEATED)}

OTHERWISE: Final[Mapping[str, Mapping[str, tuple[End, ...]]]] = {
    "worker-killed": WORKER_GONE,
    "worker-frozen": WORKER_AWAY,
    "machine": WORKER_GONE,
    "temporal-killed": LATE_HEARTBEATS,
    "temporal-frozen": LATE_HEARTBEATS,
    "worker-temporal-cut": WORKER_AWAY,
}
"""The cells that are not as usual, by failure and moment; where two ends are named, the moment decides by a hair."""


def ends(strike: str) -> dict[str, tuple[End, ...]]:
    """The ends that a failure may lead to, by moment."""
    return {**USUAL, **OTHERWISE.get(strike, {})}
