"""The guide's *Monitoring Execution*: the status endpoint and its example."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.seed.document import PARAMETERS_OBJECT, PLAYBOOK, RESPONSE, STATUS
from tests.stack import Stack, states

pytestmark = pytest.mark.asyncio(loop_scope="session")

ECHO = {"action_ref": "core.echo", "parameters": {}}


def sleep(seconds: float) -> dict[str, Any]:
    """A step that sleeps."""
    return {"action_ref": "core.sleep", "parameters": {"seconds": seconds}}


def moment(text: str) -> datetime:
    """The time that a timestamp names."""
    return datetime.fromisoformat(text)


async def test_the_example(shared: Stack) -> None:
    """The example's status: two steps completed, the third running, the fourth pending, each with its fields."""
    names = [step["name"] for step in STATUS["steps"]]
    steps = [{**step, "name": name} for step, name in zip([ECHO, ECHO, sleep(60), ECHO], names, strict=True)]
    execution = await shared.start(steps)
    status = await shared.until_step(execution, 2, "running")
    shown = [{name: step[name] for name in STATUS["steps"][0]} for step in status["steps"]]
    for step in shown[:2]:
        assert isinstance(step.pop("duration_ms"), int)
    expected = [dict(step) for step in STATUS["steps"]]
    for step in expected[:2]:
        del step["duration_ms"]
    assert (status["status"], shown) == ("running", expected)
    assert set(STATUS) <= set(status)
    await shared.cancel(execution)


async def test_the_guides_playbook_to_its_end(guide: Stack) -> None:
    """The guide's own playbook, polled to its end, goes through its four steps and keeps its names and order."""
    answer = await guide.http.post(
        f"/api/playbooks/{PLAYBOOK}/run",
        content=PARAMETERS_OBJECT.encode(),
        headers={"Content-Type": "application/json"},
    )
    status = await guide.finish(answer.json()["execution_id"])
    assert (status["status"], states(status)) == ("completed", ["completed"] * 4)
    assert [step["name"] for step in status["steps"]] == [step["name"] for step in RESPONSE["steps"]]


async def test_what_the_202_said_stays(shared: Stack) -> None:
    """`execution_id`, `playbook_id`, `dry_run` and `created_at` are those of the 202."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    first = (await shared.post_run(playbook["id"], asset["id"], dry_run=True)).json()
    last = await shared.finish(first["execution_id"], include=None)
    same = ("execution_id", "playbook_id", "target_asset_id", "dry_run", "created_at", "revision", "parameters")
    assert {name: last[name] for name in same} == {name: first[name] for name in same}


async def test_the_steps_say_the_same_as_in_the_202(shared: Stack) -> None:
    """The steps have the same fields and the same order in the 202, while they run, and at the end."""
    playbook, asset = await shared.playbook([ECHO, sleep(0.2), ECHO]), await shared.asset()
    first = (await shared.post_run(playbook["id"], asset["id"])).json()
    middle = await shared.until_step(first["execution_id"], 1, "running")
    last = await shared.finish(first["execution_id"], include=None)
    fields = [
        [(list(step), step["index"], step["action_id"]) for step in body["steps"]] for body in (first, middle, last)
    ]
    assert fields[0] == fields[1] == fields[2]


async def test_status(shared: Stack) -> None:
    """`status`: `running` while steps are under way, and the outcome afterwards."""
    execution = await shared.start([sleep(0.3)])
    assert (await shared.until_step(execution, 0, "running"))["status"] == "running"
    assert (await shared.finish(execution))["status"] == "completed"


async def test_started_at(shared: Stack) -> None:
    """`started_at`: when the first step began, not before the run was accepted; it never changes."""
    execution = await shared.start([sleep(0.2), ECHO])
    running = await shared.until_step(execution, 0, "running")
    assert moment(running["created_at"]) <= moment(running["started_at"])
    assert running["started_at"] == running["steps"][0]["started_at"]
    assert (await shared.finish(execution))["started_at"] == running["started_at"]


@pytest.mark.asyncio(loop_scope="function")
async def test_started_at_before_the_start(idle_stack: Stack) -> None:
    """`started_at` is null as long as the execution is pending."""
    execution = await idle_stack.start([ECHO])
    status = await idle_stack.status(execution)
    assert (status["status"], status["started_at"]) == ("pending", None)


async def test_duration_ms_of_a_completed_step(shared: Stack) -> None:
    """`duration_ms`: a number of milliseconds once the step has ended, from its start to its end."""
    step = (await shared.finish(await shared.start([sleep(0.25)])))["steps"][0]
    assert step["duration_ms"] >= 250
    elapsed = moment(step["finished_at"]) - moment(step["started_at"])
    assert step["duration_ms"] == round(elapsed.total_seconds() * 1000)


async def test_duration_ms_until_then(shared: Stack) -> None:
    """`duration_ms`: null for a step that runs, and for one that is pending."""
    execution = await shared.start([sleep(60), ECHO])
    status = await shared.until_step(execution, 0, "running")
    assert [step["duration_ms"] for step in status["steps"]] == [None, None]
    await shared.cancel(execution)


async def test_duration_ms_of_a_failed_step(shared: Stack) -> None:
    """`duration_ms`: a number for a step that failed, null for one that was skipped since it never began."""
    steps = [{"action_ref": "core.fail", "parameters": {"message": "no"}}, ECHO]
    status = await shared.finish(await shared.start(steps))
    assert states(status) == ["failed", "skipped"]
    assert isinstance(status["steps"][0]["duration_ms"], int)
    assert status["steps"][1]["duration_ms"] is None


async def test_polling_never_goes_back(shared: Stack, tmp_path: Path) -> None:
    """Poll the status: what is told of a step never goes back to an earlier state."""
    order = {"pending": 0, "running": 1, "completed": 2}
    execution = await shared.start([ECHO, sleep(0.1), ECHO, sleep(0.1)])
    seen: list[list[int]] = []
    while not seen or min(seen[-1]) < 2:
        seen.append([order[state] for state in states(await shared.status(execution))])
        await asyncio.sleep(0.01)
    for earlier, later in itertools.pairwise(seen):
        assert all(before <= after for before, after in zip(earlier, later, strict=True))
    assert all(one == sorted(one, reverse=True) for one in seen)


async def test_an_unknown_execution(shared: Stack) -> None:
    """The status of an execution that never was is 404."""
    answer = await shared.http.get("/api/playbooks/executions/exec-aabb1122-3344-5566-7788-99aabbccddee")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
