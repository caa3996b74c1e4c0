"""kill -9 in the middle of a run: nothing is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from storage.migrate import migrate
from tests.house import House, house
from tests.stack import states


def steps(file: Path) -> list[dict[str, Any]]:
    """A side effect, a step during which something is killed, and another side effect."""
    return [
        {"id": "before", "action_ref": "test.append_once", "parameters": {"path": str(file), "line": "before"}},
        {"id": "during", "action_ref": "core.sleep", "parameters": {"seconds": 3}},
        {"id": "after", "action_ref": "test.append_once", "parameters": {"path": str(file), "line": "after"}},
    ]


@pytest.mark.parametrize("part", ["worker", "api", "temporal"])
async def test_a_killed_process_loses_nothing(tmp_path: Path, part: Any) -> None:
    """The run goes on after the restart and completes, with each side effect once."""
    effects = tmp_path / "effects"
    async with house(tmp_path) as running:
        execution = await running.run(steps(effects))
        await running.until_step(execution, 1, "running")
        running.kill(part)
        running.start(part)
        status = await running.finish(execution)
    assert (status["status"], states(status)) == ("completed", ["completed"] * 3)
    assert effects.read_text().split() == ["before", "after"]


async def test_everything_killed_at_once_goes_on(tmp_path: Path) -> None:
    """Worker, API and Temporal die together; the run completes after the restart."""
    effects = tmp_path / "effects"
    async with house(tmp_path) as running:
        execution = await running.run(steps(effects))
        await running.until_step(execution, 1, "running")
        running.kill("api", "worker", "temporal")
        for part in ("temporal", "worker", "api"):
            running.start(part)  # type: ignore[arg-type]
        status = await running.finish(execution)
    assert (status["status"], effects.read_text().split()) == ("completed", ["before", "after"])


async def test_a_killed_worker_is_noticed_within_seconds(tmp_path: Path) -> None:
    """The step that the worker was at begins again within 5 s of the restart."""
    async with house(tmp_path) as running:
        execution = await running.run(
            [{"action_ref": "test.append", "parameters": {"path": str(tmp_path / "tries"), "seconds": 6}}]
        )
        await running.until_step(execution, 0, "running")
        async with asyncio.timeout(60):
            while not (tmp_path / "tries").exists():
                await asyncio.sleep(0.05)
        running.kill("worker")
        running.start("worker")
        async with asyncio.timeout(60):
            while len((tmp_path / "tries").read_text().split()) < 2:
                await asyncio.sleep(0.05)
        status = await running.finish(execution)
    assert status["status"] == "completed"


async def test_a_step_that_may_not_be_repeated_is_not(tmp_path: Path) -> None:
    """Its worker dies in the middle: the step fails with `outcome_unknown`, and its effect is there once."""
    effects = tmp_path / "effects"
    async with house(tmp_path) as running:
        execution = await running.run(
            [{"action_ref": "test.append_once", "parameters": {"path": str(effects), "seconds": 30}}]
        )
        await running.until_step(execution, 0, "running")
        async with asyncio.timeout(60):
            while not effects.exists():
                await asyncio.sleep(0.05)
        running.kill("worker")
        running.start("worker")
        status = await running.finish(execution)
    assert (status["status"], status["steps"][0]["error"]["code"]) == ("failed", "outcome_unknown")
    assert effects.read_text().split() == ["x"]


async def test_nothing_that_was_accepted_is_lost_with_temporal(tmp_path: Path) -> None:
    """Temporal is killed in a burst of starts: each 202 completes, and each 503 has left nothing that runs."""
    async with house(tmp_path) as running:
        playbook = await running.post(
            "/api/playbooks",
            {"name": "Burst", "steps": [{"action_ref": "core.echo", "parameters": {"x": 1}}]},
            201,
        )
        assets = [await running.post("/api/assets", {"name": f"web-{n}", "type": "host"}, 201) for n in range(40)]
        burst = [asyncio.create_task(_try(running, playbook["id"], asset["id"])) for asset in assets]
        await asyncio.sleep(0.15)
        running.kill("temporal")
        running.start("temporal")
        answers = await asyncio.gather(*burst)
        await running.ready()
        accepted = [execution for code, execution in answers if code == 202]
        assert {code for code, _ in answers} <= {202, 503}
        finished = [await running.finish(execution) for execution in accepted]
        assert {status["status"] for status in finished} <= {"completed"}
        async with running.http as http:
            listed = (await http.get("/api/playbooks/executions?per_page=100")).json()["data"]
    rest = [entry for entry in listed if entry["execution_id"] not in accepted]
    assert {entry["status"] for entry in rest} <= {"cancelled"}


async def _try(running: House, playbook: str, asset: str) -> tuple[int, str]:
    async with running.http as http:
        answer = await http.post(f"/api/playbooks/{playbook}/run", json={"target_asset_id": asset})
        return answer.status_code, answer.json().get("execution_id", "")


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has said by now what to do on that signal (proc(5), *SigCgt*)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_a_worker_that_cannot_connect_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """SIGTERM while Temporal is away: the worker has nothing to finish, and exits with 0 at once."""
    alone = House(tmp_path)
    migrate(alone.settings.database)
    try:
        alone.start("worker")
        while not catches(alone.pid("worker"), signal.SIGTERM):
            time.sleep(0.05)
        assert alone.terminate("worker", timeout=10) == 0
    finally:
        alone.close()


async def test_a_run_on_a_container_survives_the_death_of_everything(tmp_path: Path) -> None:
    """The Phantom interface is another face of the same engine: the run goes on, and is told as running meanwhile."""
    effects = tmp_path / "effects"
    token = {"STANCHION_PHANTOM_TOKEN": "phantom", "STANCHION_SWEEP_INTERVAL": "1"}
    async with house(tmp_path, extra=token) as running, running.http as http:
        await running.post("/api/playbooks", {"name": "survivor", "steps": steps(effects)}, 201)
        http.headers["ph-auth-token"] = "phantom"
        made = (await http.post("/rest/container", json={"name": "x", "artifacts": [{"name": "a"}]})).json()
        body = {"container_id": made["id"], "playbook_id": "survivor", "run": True}
        run = (await http.post("/rest/playbook_run", json=body)).json()["playbook_run_id"]
        async with asyncio.timeout(60):
            while effects.exists() is False:
                await asyncio.sleep(0.05)
        running.kill("api", "worker", "temporal")
        for part in ("temporal", "worker", "api"):
            running.start(part)  # type: ignore[arg-type]
        await running.ready()
        seen = set()
        async with asyncio.timeout(60):
            while (found := await http.get(f"/rest/playbook_run/{run}")).status_code != 200 or (
                found.json()["status"] == "running"
            ):
                seen.add(found.json().get("status", "away"))
                await asyncio.sleep(0.1)
        assert (found.json()["status"], found.json()["cancelled"]) == ("success", None)
        assert seen <= {"running", "away"}
        again = (await http.post("/rest/playbook_run", json=body)).json()["playbook_run_id"]
        whole = (await http.get(f"/rest/playbook_run/{again}")).json()
        assert whole["last_artifact"] == 0
        await http.post(f"/rest/playbook_run/{again}", json={"cancel": True})
    assert effects.read_text().split()[:2] == ["before", "after"]
