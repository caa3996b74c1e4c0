"""The API dies under a client: a wait goes on, and a start is one execution."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stanchion_client import AsyncStanchion, Retries
from tests.failures.link import Link
from tests.house import house
from tests.stack import TOKEN


async def test_the_api_is_killed_under_a_wait_and_under_a_start(tmp_path: Path) -> None:
    """The wait ends with the run's end; the start whose answer was lost is found again by its key."""
    effects = tmp_path / "effects"
    steps = [
        {"id": "before", "action_ref": "test.append_once", "parameters": {"path": str(effects), "line": "one"}},
        {"id": "ask", "type": "approval"},
    ]
    async with house(tmp_path) as running:
        link = Link(lambda: asyncio.open_connection("127.0.0.1", running.port))
        await link.open()
        patient = Retries(seconds=240)
        async with AsyncStanchion(f"http://127.0.0.1:{link.port}", TOKEN, retries=patient) as client:
            playbook = await client.playbooks.create({"name": "Restarted", "steps": steps})
            asset = await client.assets.create("web-01")

            link.hold(up=False)
            start = asyncio.create_task(client.executions.run(playbook["id"], asset["id"]))
            async with asyncio.timeout(60):
                while not effects.exists():
                    await asyncio.sleep(0.05)
            running.kill("api")
            link.reset()
            link.release()
            running.start("api")
            started = await start

            wait = asyncio.create_task(client.executions.wait(started["execution_id"]))
            await asyncio.sleep(0.5)
            running.kill("api")
            running.start("api")
            await client.executions.approve(started["execution_id"], "ask")
            ended = await wait
            listed = [one["execution_id"] async for one in client.executions.list()]
        await link.close()
    assert (ended["status"], listed) == ("completed", [started["execution_id"]])
    assert effects.read_text().split() == ["one"]
