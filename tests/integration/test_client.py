"""The main job with both clients, on a real installation: store, rehearse, run, wait, decide, cancel, read."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stanchion_client import (
    AsyncStanchion,
    BadRequest,
    Conflict,
    NotFound,
    NotWaiting,
    ParametersInvalid,
    Stanchion,
    Unauthorized,
    WaitTimeout,
)
from tests.stack import TOKEN, Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parent.parent.parent

YAML = """
name: {name}
parameters:
  type: object
  required: [word]
  properties:
    word: {{type: string}}
steps:
  - {{id: say, action_ref: core.echo, parameters: {{said: "{{{{ parameters.word }}}}"}}}}
  - {{id: ask, type: approval, message: "Go on?"}}
  - {{id: done, action_ref: core.echo, parameters: {{x: 1}}}}
"""


def yaml() -> str:
    """A playbook with a name of its own, which waits for approval."""
    return YAML.format(name=f"Client {uuid.uuid4()}")


@contextlib.asynccontextmanager
async def speaking(stack: Stack) -> AsyncIterator[AsyncStanchion]:
    """An asynchronous client with every permission."""
    async with AsyncStanchion(stack.url, TOKEN) as client:
        yield client


async def until_it_waits(client: AsyncStanchion, execution_id: str) -> None:
    """Returns once a step of the execution waits for somebody."""
    async with asyncio.timeout(60):
        async for seen in client.executions.watch(execution_id):
            if any((step["waiting_for"] or {}).get("kind") == "approval" for step in seen["steps"]):
                return


async def test_the_main_job_asynchronously(shared: Stack) -> None:
    """A playbook is stored, rehearsed, run, approved and compared."""
    async with speaking(shared) as client:
        playbook = await client.playbooks.create(yaml())
        asset = await client.assets.create("web-01", tags={"env": "prod"})
        rehearsal = await client.executions.run(playbook["slug"], asset["id"], {"word": "hello"}, dry_run=True)
        rehearsed = await client.executions.wait(rehearsal["execution_id"], timeout=60)
        assert (rehearsed["status"], rehearsed["dry_run"]) == ("completed", True)
        started = await client.executions.run(playbook["id"], asset["id"], {"word": "hello"})
        with pytest.raises(Conflict) as caught:
            await client.executions.run(playbook["id"], asset["id"], {"word": "again"})
        assert caught.value.execution_id == started["execution_id"]
        await until_it_waits(client, started["execution_id"])
        await client.executions.approve(started["execution_id"], "ask", "looks good")
        ended = await client.executions.wait(started["execution_id"], timeout=60)
        assert [step["status"] for step in ended["steps"]] == ["completed"] * 3
        whole = await client.executions.read(started["execution_id"], include=("io",))
        assert whole["steps"][0]["output"] == {"said": "hello"}
        comparison = await client.executions.compare(rehearsal["execution_id"], started["execution_id"])
        assert [step["action_id"] for step in comparison["steps"]] == ["say", "ask", "done"]
        with pytest.raises(NotWaiting):
            await client.executions.approve(started["execution_id"], "ask")


async def test_cancel_rerun_and_reject(shared: Stack) -> None:
    """What is cancelled is run again; what is rejected fails."""
    async with speaking(shared) as client:
        playbook = await client.playbooks.create(yaml())
        asset = await client.assets.create("web-01")
        started = await client.executions.run(playbook["id"], asset["id"], {"word": "x"})
        with pytest.raises(WaitTimeout) as caught:
            await client.executions.wait(started["execution_id"], timeout=1)
        assert caught.value.execution is not None
        cancelled = await client.executions.cancel(started["execution_id"], "wrong host")
        assert (cancelled["status"], (cancelled["cancelled"] or {})["reason"]) == ("cancelled", "wrong host")
        again = await client.executions.rerun(started["execution_id"])
        await until_it_waits(client, again["execution_id"])
        await client.executions.reject(again["execution_id"], "ask", "no")
        ended = await client.executions.wait(again["execution_id"], timeout=60)
        assert (ended["status"], (ended["steps"][1]["error"] or {})["code"]) == ("failed", "rejected")
        seen = [one["execution_id"] async for one in client.playbooks.executions(playbook["id"], per_page=1)]
        assert seen == [again["execution_id"], started["execution_id"]]


async def test_the_main_job_synchronously(shared: Stack) -> None:
    """The same from a thread that waits for each answer."""

    def work() -> tuple[str, list[str], list[Any]]:
        with Stanchion(shared.url, TOKEN) as client:
            playbook = client.playbooks.create(
                {
                    "name": f"Client {uuid.uuid4()}",
                    "steps": [{"id": "say", "action_ref": "core.echo", "parameters": {"x": 1}}],
                }
            )
            asset = client.assets.create("web-01", attributes={"os": "debian"})
            started = client.executions.run(playbook["id"], asset["id"])
            seen = [one["status"] for one in client.executions.watch(started["execution_id"], timeout=60)]
            listed = [one["execution_id"] for one in client.executions.list(playbook_id=playbook["id"])]
            client.playbooks.delete(playbook["id"])
            with pytest.raises(NotFound):
                client.playbooks.read(playbook["id"])
            return started["execution_id"], listed, seen

    started, listed, seen = await asyncio.to_thread(work)
    assert listed == [started]
    assert seen[-1] == "completed"


async def test_faults_are_told_with_their_places(shared: Stack) -> None:
    """A definition's faults have line and column, those of parameters a pointer, and a bad token is told as one."""
    async with speaking(shared) as client:
        with pytest.raises(BadRequest) as faulty:
            await client.playbooks.validate("name: x\nsteps: [{action_ref: no.such}]\n")
        assert faulty.value.details[0].line == 2
        playbook = await client.playbooks.create(yaml())
        asset = await client.assets.create("web-01")
        with pytest.raises(ParametersInvalid) as invalid:
            await client.executions.run(playbook["id"], asset["id"], {"word": 1})
        assert [detail.path for detail in invalid.value.details] == ["/parameters/word"]
    async with AsyncStanchion(shared.url, "no such token") as stranger:
        with pytest.raises(Unauthorized):
            await stranger.playbooks.read("x")


async def test_every_list_and_what_an_administrator_does(shared: Stack) -> None:
    """Each kind of thing is made, found in its list and taken away; pages join without a seam."""
    async with speaking(shared) as client:
        made = {(await client.assets.create(f"paged-{number}", "paged"))["id"] for number in range(5)}
        assert {asset["id"] async for asset in client.assets.list(kind="paged", per_page=2)} == made
        page = await client.assets.page(kind="paged", per_page=2, page=3)
        assert (len(page["data"]), page["meta"]["total"]) == (1, 5)
        token = await client.tokens.create("reader", ["playbook:read"], limits={"playbook_tags": ["x"]})
        assert token["id"] in {one["id"] async for one in client.tokens.list()}
        await client.tokens.revoke(token["id"])
        actions = {one["name"] async for one in client.actions.list()}
        assert {"core.echo", "http.request"} <= actions
        assert (await client.actions.read("core.echo"))["safe"] is True
        assert await client.actions.left_out() == []
        audit = await client.audit.page(object_id=token["id"])
        assert [entry["action"] for entry in audit["data"]] == ["token.revoke", "token.create"]
        assert {one["name"]: one["state"] for one in await client.dependencies()} == {
            "database": "ok",
            "temporal": "ok",
            "workers": "ok",
        }
