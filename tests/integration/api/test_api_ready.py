"""Readiness beside a real Temporal."""

from __future__ import annotations

import asyncio

from tests.stack import Stack


async def _states(stack: Stack) -> dict[str, str]:
    answer = await stack.http.get("/readyz")
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "ready"
    return {dependency["name"]: dependency["state"] for dependency in answer.json()["dependencies"]}


async def test_ready(stack: Stack) -> None:
    """With Temporal, the database and a worker, everything is well; without the worker it is still ready."""
    states = await _states(stack)
    for _ in range(100):
        if states["workers"] == "ok":
            break
        await asyncio.sleep(0.1)
        states = await _states(stack)
    assert states == {"database": "ok", "temporal": "ok", "workers": "ok"}
    await stack.stop_worker()
    assert await _states(stack) == {"database": "ok", "temporal": "ok", "workers": "none"}


async def test_never_a_worker(idle_stack: Stack) -> None:
    """Before a worker was ever started the service is ready, and says that there is none."""
    assert (await _states(idle_stack))["workers"] == "none"
