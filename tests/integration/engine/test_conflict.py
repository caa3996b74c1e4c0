"""One run of a playbook on an asset at a time, and the start that is asked for twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from playbooks.contract import MEMO_EXECUTION, workflow_id
from storage import executions
from tests.stack import Stack

SLEEP = {"action_ref": "core.sleep", "parameters": {"seconds": 30}}
ECHO = {"action_ref": "core.echo", "parameters": {"x": 1}}


async def test_of_200_simultaneous_posts_one_wins(stack: Stack) -> None:
    """One is 202, and 199 are 409 that name it."""
    playbook, asset = await stack.playbook([SLEEP]), await stack.asset()
    answers = await asyncio.gather(*(stack.post_run(playbook["id"], asset["id"]) for _ in range(200)))
    started = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert (len(started), len(refused)) == (1, 199)
    winner = started[0].json()["execution_id"]
    assert {answer.json()["error"]["execution_id"] for answer in refused} == {winner}
    assert {answer.json()["error"]["code"] for answer in refused} == {"conflict"}
    listed = (await stack.http.get(f"/api/playbooks/{playbook['id']}/executions")).json()
    assert [entry["execution_id"] for entry in listed["data"]] == [winner]
    await stack.cancel(winner)


async def test_another_asset_or_playbook_does_not_conflict(stack: Stack) -> None:
    """The rule holds for the pair of playbook and asset."""
    playbook, other = await stack.playbook([SLEEP]), await stack.playbook([SLEEP])
    first, second = await stack.asset(), await stack.asset()
    answers = [
        await stack.post_run(playbook["id"], first["id"]),
        await stack.post_run(playbook["id"], second["id"]),
        await stack.post_run(other["id"], first["id"]),
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202]


async def test_the_asset_is_free_again_after_the_run(stack: Stack) -> None:
    """The next run starts once the first has ended."""
    playbook, asset = await stack.playbook([ECHO]), await stack.asset()
    first = await stack.post_run(playbook["id"], asset["id"])
    await stack.finish(first.json()["execution_id"])
    second = await stack.post_run(playbook["id"], asset["id"])
    assert second.status_code == 202
    await stack.finish(second.json()["execution_id"])
    assert (await stack.status(first.json()["execution_id"]))["status"] == "completed"


@contextlib.asynccontextmanager
async def closing(stack: Stack) -> AsyncIterator[tuple[str, str, str, WorkflowHandle[Any, Any]]]:
    """A playbook, an asset, their run that has ended, and a workflow of it that has not closed yet."""
    playbook, asset = await stack.playbook([ECHO]), await stack.asset()
    ended = (await stack.post_run(playbook["id"], asset["id"])).json()["execution_id"]
    await stack.finish(ended)
    async with asyncio.timeout(30):
        while (row := await stack.database.read(executions.get, ended)) is None or row.closed_at is None:
            await asyncio.sleep(0.02)
    handle = await stack.temporal.start_workflow(
        "closing", id=workflow_id(playbook["id"], asset["id"]), task_queue="nobody", memo={MEMO_EXECUTION: ended}
    )
    yield playbook["id"], asset["id"], ended, handle
    with contextlib.suppress(RPCError):
        await handle.terminate()


async def test_a_run_that_has_ended_is_not_in_the_way_while_its_workflow_closes(stack: Stack) -> None:
    """The start waits for it: whoever has read the end of a run and starts the next is not refused."""
    async with closing(stack) as (playbook, asset, _, workflow):
        posted = asyncio.create_task(stack.post_run(playbook, asset))
        await asyncio.sleep(0.5)
        assert not posted.done()
        await workflow.terminate()
        answer = await posted
        assert answer.status_code == 202, answer.text
        assert (await stack.finish(answer.json()["execution_id"]))["status"] == "completed"


async def test_a_workflow_that_does_not_close_is_in_the_way(stack: Stack) -> None:
    """After its time the start is refused, names the run, and leaves no execution behind."""
    async with closing(stack) as (playbook, asset, ended, _):
        answer = await stack.post_run(playbook, asset)
        assert (answer.status_code, answer.json()["error"]["execution_id"]) == (409, ended)
        listed = (await stack.http.get(f"/api/playbooks/{playbook}/executions")).json()
        assert [entry["execution_id"] for entry in listed["data"]] == [ended]


async def test_one_start_waits_for_a_run_to_close_and_the_others_are_refused(stack: Stack) -> None:
    """They could not win, and are told so at once."""
    async with closing(stack) as (playbook, asset, ended, workflow):
        posted = asyncio.create_task(stack.post_run(playbook, asset))
        await asyncio.sleep(0.5)
        others = await asyncio.gather(*(stack.post_run(playbook, asset) for _ in range(5)))
        assert [(one.status_code, one.json()["error"]["execution_id"]) for one in others] == [(409, ended)] * 5
        await workflow.terminate()
        assert (await posted).status_code == 202


async def test_the_same_request_waits_too_and_is_the_same_run(stack: Stack) -> None:
    """It came again while the first one waited for a run to close."""
    async with closing(stack) as (playbook, asset, _, workflow):
        key = {"Idempotency-Key": "order-11"}
        posted = [asyncio.create_task(stack.post_run(playbook, asset, headers=key))]
        await asyncio.sleep(0.3)
        posted.append(asyncio.create_task(stack.post_run(playbook, asset, headers=key)))
        await asyncio.sleep(0.3)
        await workflow.terminate()
        answers = await asyncio.gather(*posted)
        assert [answer.status_code for answer in answers] == [202, 202]
        assert len({answer.json()["execution_id"] for answer in answers}) == 1
        assert (await stack.finish(answers[0].json()["execution_id"]))["status"] == "completed"


async def test_a_start_whose_row_was_taken_back_while_it_waited_starts_nothing(stack: Stack) -> None:
    """As another API does that refuses the same request: nothing runs that no row tells of."""
    async with closing(stack) as (playbook, asset, ended, workflow):
        key = {"Idempotency-Key": "order-12"}
        posted = asyncio.create_task(stack.post_run(playbook, asset, headers=key))
        await asyncio.sleep(0.5)
        listed = (await stack.http.get(f"/api/playbooks/{playbook}/executions")).json()
        waiting, _ = [entry["execution_id"] for entry in listed["data"]]
        await stack.database.write(executions.discard, waiting)
        await workflow.terminate()
        assert (await posted).status_code == 503
        found = await stack.temporal.count_workflows(f"PlaybookId = '{playbook}' AND ExecutionStatus = 'Running'")
        assert found.count == 0
        listed = (await stack.http.get(f"/api/playbooks/{playbook}/executions")).json()
        assert [entry["execution_id"] for entry in listed["data"]] == [ended]
        third = await stack.post_run(playbook, asset, headers=key)
        assert third.status_code == 202
        assert (await stack.finish(third.json()["execution_id"]))["status"] == "completed"


async def test_the_same_key_and_body_return_the_same_execution(stack: Stack) -> None:
    """Before the end, after it, and all at once."""
    playbook, asset = await stack.playbook([ECHO]), await stack.asset()

    async def ask() -> Any:
        return await stack.post_run(playbook["id"], asset["id"], headers={"Idempotency-Key": "order-1"})

    answers = await asyncio.gather(*(ask() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["execution_id"] for answer in answers}
    assert len(ids) == 1
    await stack.finish(ids.copy().pop())
    again = await ask()
    assert (again.status_code, again.json()["execution_id"]) == (202, ids.copy().pop())
    assert again.json()["status"] == "completed"


async def test_the_same_key_with_another_body_is_refused(stack: Stack) -> None:
    """422 `idempotency_mismatch`, and nothing is started."""
    playbook, asset = await stack.playbook([ECHO]), await stack.asset()
    headers = {"Idempotency-Key": "order-2"}
    await stack.post_run(playbook["id"], asset["id"], headers=headers)
    answer = await stack.post_run(playbook["id"], asset["id"], headers=headers, dry_run=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_mismatch")


async def test_a_refused_start_frees_its_key(stack: Stack) -> None:
    """A key whose request met a conflict starts a run once the asset is free."""
    playbook, asset = await stack.playbook([SLEEP]), await stack.asset()
    first = await stack.post_run(playbook["id"], asset["id"])
    headers = {"Idempotency-Key": "order-3"}
    assert (await stack.post_run(playbook["id"], asset["id"], headers=headers)).status_code == 409
    await stack.cancel(first.json()["execution_id"])
    async with asyncio.timeout(60):
        while (answer := await stack.post_run(playbook["id"], asset["id"], headers=headers)).status_code == 409:
            await asyncio.sleep(0.05)
    assert answer.status_code == 202
    await stack.cancel(answer.json()["execution_id"])


async def test_a_key_finds_its_run_whatever_has_become_of_playbook_and_asset(stack: Stack) -> None:
    """The first answer was lost, and since then the asset was deleted and the playbook wants other parameters."""
    playbook, asset = await stack.playbook([ECHO]), await stack.asset()
    key = {"Idempotency-Key": "order-9"}
    first = (await stack.post_run(playbook["id"], asset["id"], headers=key)).json()["execution_id"]
    await stack.finish(first)
    assert (await stack.http.delete(f"/api/assets/{asset['id']}")).status_code == 204
    again = await stack.post_run(playbook["id"], asset["id"], headers=key)
    assert (again.status_code, again.json().get("execution_id")) == (202, first)
    stricter = {"type": "object", "required": ["ticket"], "properties": {"ticket": {"type": "string"}}}
    body = {"name": playbook["name"], "steps": [ECHO], "parameters": stricter}
    assert (await stack.http.put(f"/api/playbooks/{playbook['id']}", json=body)).status_code == 200
    again = await stack.post_run(playbook["id"], asset["id"], headers=key)
    assert (again.status_code, again.json().get("execution_id")) == (202, first)
    other = await stack.post_run(playbook["id"], asset["id"], headers=key, dry_run=True)
    assert (other.status_code, other.json()["error"]["code"]) == (404, "not_found")
