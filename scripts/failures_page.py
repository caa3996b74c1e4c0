"""Writes docs/failures.md from the expectations that tests/failures holds the product to.

python -m scripts.failures_page
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.failures.expected import End, ends
from tests.failures.moments import MOMENTS
from tests.failures.strikes import STRIKES, Strike

PAGE = Path(__file__).parent.parent / "docs" / "failures.md"

HEAD = """# What fails, and what a client sees

This page is written by `python -m scripts.failures_page` from what `tests/failures` checks. Each row is a test with
real processes: Temporal, a worker, an API, and Postgres or SQLite beneath them. The test brings ten runs into the
ten moments at once, lets the failure strike, looks at what a client is answered, mends it, does what a client would
do next (repeat an unanswered start with its `Idempotency-Key`, decide the approval, ask again for the cancel), and
waits for the end of each.

Beside what the cells say, each row holds that every run ends, that no step of an ended run is open, and that its
state does not change any more. Every effect is a line in a file; they are counted.

| cell | it means |
| --- | --- |
| done | `completed`, and the effect is there once |
| done, again | `completed`; an action that may be repeated was, since nobody knew whether it had happened |
| unknown | `failed` with `outcome_unknown`: the effect is there once, and nothing repeats it |
| cancelled | `cancelled`; nothing after the cancel has happened |

*Or* stands where it depends on a hair, such as whether an answer was on its way still.
"""

NOTES = """
Places that hold a moment open stand between the processes: what is sent is kept, delivered late, or lost with its
sender. *Between result and record* means that the action has ended and its answer does not get through. The rows of
the network drop packets between hosts of their own (network namespaces), so nobody is told that nothing arrives.
The clock of Temporal's own process cannot be put elsewhere than the machine's, so the rows of the clock are those
of API and worker.

A start that was answered 503, or not at all, and had no `Idempotency-Key`: Temporal may have taken it all the same.
Then it is cancelled as soon as Temporal can be reached, and reads `cancelled` from the first; it may have begun.
With a key, repeat it: it is one run either way.

## At random, and for a restart

`make chaos` runs 500 executions of six kinds while API, worker, Temporal and Postgres are killed at random, and counts
what was lost, stuck, done twice, changed after its end, or left with an open step; every count is to be 0. The seed is
printed, and `make chaos CHAOS_SEED=…` meets the same kills again. Each test run does a short form of it. Measured with
the seed 20261128: 500 executions (417 completed, 76 cancelled, 7 failed) under 315 kills (74 of the API, 59 of the
worker, 108 of Temporal, 74 of Postgres) in 564 s, and every count was 0.

SIGTERM is no failure: a worker finishes the steps that it has begun, as far as its time allows, and an API answers
the requests that it has taken. Where Temporal or the database has gone mute, they leave within seconds all the same.
Two APIs, two workers and Temporal, restarted one after the other under load, fail no request of a client that repeats
after 503, and no effect comes twice. A worker of a next version takes over the runs of the last.

Starts that come faster than they can be taken wait in a line (64 at once, `STANCHION_STARTS_IN_LINE` in line, at most
10 s); what finds no place is answered 503 with `Retry-After`, and nothing was done. What was answered 202 is never
dropped. `python -m bench.overload` measures it. On a machine with 2 cores, which clients and server share, with a
status read ten times a second beside it:

| overload | answers | that read, p50, ms | p99 | most | API, MB | seconds |
| --- | --- | --- | --- | --- | --- | --- |
| 2,000 starts in one moment | 202 × 2,000, 503 × 1,809 | 38 | 847 | 1,702 | 221 | 79.8 |
| 1,000 listeners that do not read, to a run of 300 steps | 200 × 1,001 | 27 | 440 | 1,786 | 203 | 22.8 |
| 5,000 wrong tokens, 1,000 wrong passwords | 401 × 5,057, 429 × 943 | 13 | 274 | 412 | 194 | 16.7 |
| 10,000 polls over 64 connections | 200 × 10,000 | 22 | 151 | 200 | 159 | 17.8 |
| 10,000 runs queued, no worker | 202 × 10,000 | 124 | 423 | 516 | 168 | 177.3 |

All 12,000 runs were completed, those in the queue within seven minutes of the worker's start.
"""


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page())


def page() -> str:
    """The whole page."""
    parts = [HEAD, *(_table(MOMENTS[first : first + 5]) for first in range(0, len(MOMENTS), 5)), _seen(), NOTES]
    return "\n".join(parts)


def _table(moments: Sequence[object]) -> str:
    titles = [moment.title for moment in MOMENTS if moment in moments]
    lines = [f"| what fails | {' | '.join(titles)} |", "| --- " * (len(titles) + 1) + "|"]
    for strike in STRIKES:
        found = ends(strike.name)
        cells = [_cell(found[moment.name]) for moment in MOMENTS if moment in moments]
        lines.append(f"| {strike.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Sequence[End]) -> str:
    return " or ".join(dict.fromkeys(_word(end) for end in found))


def _word(end: End) -> str:
    if end.state == "completed":
        return "done" if end.effects == 1 else "done, again"
    return "unknown" if end.code == "outcome_unknown" else end.state


def _seen() -> str:
    lines = ["While it lasts, a read of a run is answered:", "", "| what fails | the answer |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {strike.title} | {_answers(strike)} |" for strike in STRIKES)])


def _answers(strike: Strike) -> str:
    said = []
    if "running" in strike.sees:
        said.append("as it stands")
    if "503" in strike.sees:
        said.append("503 with `Retry-After`" + ("" if "running" in strike.sees else "; ended runs as they are"))
    if "no answer" in strike.sees:
        said.append("nothing")
    return ", or ".join(said)


if __name__ == "__main__":
    main()
