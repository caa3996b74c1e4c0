"""Random playbooks on a real Temporal, processes killed and runs cancelled meanwhile, held to a plain model."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.semantics import ANY, Expected, Model, definitions, sent
from tests.house import House
from tests.stack import FINAL

BATCH = 30
"""Playbooks that run at the same time while processes die around them."""

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
CHECKS.append(HealthCheck.large_base_example)


@settings(max_examples=int(os.environ.get("EXAMPLES", "2")), deadline=None, suppress_health_check=CHECKS)
@given(batch=st.lists(definitions(), min_size=BATCH, max_size=BATCH), seed=st.integers(0, 10**6))
def test_random_playbooks(tmp_path_factory: pytest.TempPathFactory, batch: list[dict[str, Any]], seed: int) -> None:
    """Every run ends as the model says; a cancelled one has no step that is not final."""
    asyncio.run(_hold(tmp_path_factory.mktemp("house"), batch, random.Random(seed)))


async def _hold(folder: Path, batch: list[dict[str, Any]], chance: random.Random) -> None:
    house = House(folder)
    try:
        await house.prepare()
        started = [(one, execution) for one in batch if (execution := await _start(house, one)) is not None]
        assert len(started) > BATCH // 3
        doomed = chance.sample([execution for _, execution in started], len(started) // 4)
        await asyncio.gather(_kill(house, chance), _cancel(house, doomed, chance))
        for definition, execution in started:
            status = await _finish(house, execution)
            problem = _difference(status, Model(definition).expect(), cancelled=execution in doomed)
            assert problem is None, f"{problem}\n{sent(definition)}\n{status}"
    finally:
        house.close()


async def _start(house: House, definition: dict[str, Any]) -> str | None:
    """Starts a run; None for a playbook that is refused because a step of it can never be reached."""
    async with house.http as http:
        body = {"name": os.urandom(8).hex(), **sent(definition)}
        answer = await http.post("/api/playbooks", json=body)
    if answer.status_code == 400:
        details = answer.json()["error"]["details"]
        assert all("can never be reached" in detail["message"] for detail in details), answer.text
        return None
    assert answer.status_code == 201, answer.text
    asset = await house.post("/api/assets", {"name": "web-01", "type": "host"}, 201)
    run = await house.post(f"/api/playbooks/{answer.json()['id']}/run", {"target_asset_id": asset["id"]}, 202)
    execution_id: str = run["execution_id"]
    return execution_id


async def _kill(house: House, chance: random.Random) -> None:
    """kill -9 of the worker, of Temporal, of the worker again, each started again at once."""
    for part in ("worker", "temporal", "worker"):
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        house.kill(part)
        house.start(part)


async def _cancel(house: House, executions: list[str], chance: random.Random) -> None:
    """Cancels the runs, one after another; while Temporal is away it is asked again."""
    for execution in executions:
        await asyncio.sleep(chance.uniform(0, 0.2))
        async with house.http as http:
            while True:
                answer = await http.post(f"/api/playbooks/executions/{execution}/cancel")
                if answer.status_code != 503:
                    break
                await asyncio.sleep(0.1)
        assert answer.status_code in (200, 409), answer.text


async def _finish(house: House, execution: str) -> dict[str, Any]:
    async with asyncio.timeout(90):
        while (status := await house.status(execution))["status"] not in FINAL:
            await asyncio.sleep(0.1)
    return status


def _difference(status: dict[str, Any], expected: Expected, *, cancelled: bool) -> str | None:
    """What is not as it must be."""
    if cancelled and status["status"] == "cancelled":
        open_steps = [step["action_id"] for step in status["steps"] if step["status"] not in ANY]
        return f"not final: {open_steps}" if open_steps else None
    if status["status"] != expected.status:
        return f"the run is {status['status']}, not {expected.status}"
    for step in status["steps"]:
        name, state = step["action_id"], step["status"]
        if state not in expected.states[name]:
            return f"{name} is {state}, not {sorted(expected.states[name])}"
        if name in expected.runs:
            found = {key: count for key, count in step.get("runs", {}).items() if key != "total" and count}
            if Counter(found) != +expected.runs[name]:
                return f"{name} has run {found}, not {dict(expected.runs[name])}"
    return None
