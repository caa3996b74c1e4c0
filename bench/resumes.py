"""Measures from kill -9 of everything, and an immediate start of it, to the first step that goes on.

    python -m bench.resumes [ROUNDS]

Three runs are struck at once: one between steps that wait on a timer, one that waits for approval, one in an action.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from bench.rows import show
from bench.waiting import PARTS
from tests.house import House

TIMERS: list[dict[str, Any]] = [{"id": f"wait-{n}", "type": "delay", "duration": "0.2s"} for n in range(400)]
ACTIONS: list[dict[str, Any]] = [
    {"id": f"act-{n}", "action_ref": "core.sleep", "parameters": {"seconds": 0.2}} for n in range(400)
]
ASKS: list[dict[str, Any]] = [{"id": "ask", "type": "approval"}, {"id": "after", "action_ref": "core.echo"}]


def done(status: dict[str, Any]) -> int:
    """How many steps have completed."""
    return sum(step["status"] == "completed" for step in status["steps"])


async def goes_on(house: House, execution: str, before: int, begun: float) -> float:
    """Seconds until more steps than ``before`` have completed."""
    while done(await house.status(execution)) <= before:
        await asyncio.sleep(0.05)
    return time.perf_counter() - begun


async def decided(house: House, execution: str, begun: float) -> float:
    """Seconds until a decision is taken and the step after it has completed."""
    async with house.http as http:
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if (await http.post(f"/api/playbooks/executions/{execution}/steps/ask/approve")).status_code == 200:
                    break
            await asyncio.sleep(0.05)
    return await goes_on(house, execution, 1, begun)


async def strike() -> tuple[float, float, float, float]:
    """Seconds to ready, and to the next step of each run."""
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as text:
        house = House(Path(text))
        try:
            await house.prepare()
            timers, actions, asks = [await house.run(steps) for steps in (TIMERS, ACTIONS, ASKS)]
            for execution in (timers, actions):
                while done(await house.status(execution)) < 5:
                    await asyncio.sleep(0.05)
            known = [done(await house.status(execution)) for execution in (timers, actions)]
            house.kill(*PARTS)
            begun = time.perf_counter()
            for part in PARTS:
                house.start(part)
            # A step may have completed between the look and the kill: two more are surely new ones.
            next_steps = asyncio.gather(
                goes_on(house, timers, known[0] + 1, begun),
                goes_on(house, actions, known[1] + 1, begun),
                decided(house, asks, begun),
            )
            await house.ready()
            ready = time.perf_counter() - begun
            return ready, *(await next_steps)
        finally:
            house.close()


async def main(rounds: int) -> None:
    """Prints the rows."""
    found = [await strike() for _ in range(rounds)]
    names = ("ready", "a step on a timer goes on", "a step after a killed action goes on", "an approval is taken")
    rows = []
    for name, values in zip(names, zip(*found, strict=True), strict=True):
        rows.append([name, f"{statistics.median(values):.1f}", f"{min(values):.1f}–{max(values):.1f}"])
    show(rows, ("after kill -9 of everything, s", "median", "rounds"))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
