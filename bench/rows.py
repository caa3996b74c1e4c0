"""Rows of a benchmark: ours, the floor's, the ratio round by round, and how much the machine itself wavered."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence

HEADERS = ("what", "Stanchion", "floor", "ratio", "rounds", "aim")


def row(name: str, ours: Sequence[float], floor: Sequence[float], aim: str = "") -> list[str]:
    """A line of the table: medians over the rounds, and the median and the extremes of the rounds' ratios."""
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    return [
        name,
        f"{statistics.median(ours):.1f}",
        f"{statistics.median(floor):.1f}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f}–{max(ratios):.2f}",
        aim,
    ]


def show(rows: Sequence[Sequence[str]], headers: Sequence[str] = HEADERS) -> None:
    """Prints a table in Markdown."""
    print("\n| " + " | ".join(headers) + " |\n|" + " --- |" * len(headers))
    for line in rows:
        print("| " + " | ".join(line) + " |", flush=True)


class Noise:
    """How much the same piece of work differed from round to round: 1.0 on a machine that does nothing else."""

    def __init__(self) -> None:
        self._taken: list[float] = []

    def sample(self) -> None:
        """Does the piece of work once."""
        begun = time.perf_counter()
        sum(number * number for number in range(1_000_000))
        self._taken.append(time.perf_counter() - begun)

    def told(self) -> str:
        """The machine, and the slowest sample by the fastest."""
        wavered = max(self._taken) / min(self._taken)
        return (
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; the same piece of work took "
            f"up to {wavered:.2f} × its fastest time"
        )
