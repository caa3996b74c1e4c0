"""Large outputs: kept in the database, referred to from Temporal's history, whole wherever they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import func, select

from storage.tables import blobs
from tests.integration.engine.test_blocks import by_id, echo, sleeps
from tests.stack import Stack, running_stack, stack_settings

MEGABYTES = 1_000_000
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest_asyncio.fixture(params=["plain", "encrypted"])
async def stack(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    """A Stanchion with a worker, with and without encryption."""
    changes: dict[str, Any] = {"encryption_key": SecretStr(KEY)} if request.param == "encrypted" else {}
    async with running_stack(stack_settings(tmp_path, **changes)) as running:
        yield running


def large(step_id: str, size: int) -> dict[str, Any]:
    """A step that answers with ``size`` bytes."""
    return {"id": step_id, "action_ref": "test.large", "parameters": {"bytes": size}}


async def history_bytes(stack: Stack, status: dict[str, Any]) -> int:
    """Bytes of the history of a run."""
    handle = stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"])
    return sum(event.ByteSize() for event in (await handle.fetch_history()).events)


async def test_twenty_megabytes(stack: Stack) -> None:
    """An output of 20 MB can be used by later steps and read through the API; the history stays small."""
    steps = [large("big", 20 * MEGABYTES), echo("after", size="{{ size(steps.big.output.text) }}")]
    status = await stack.finish(await stack.start(steps), timeout=60)
    assert by_id(status)["after"]["output"] == {"size": 20 * MEGABYTES}
    assert len(by_id(status)["big"]["output"]["text"]) == 20 * MEGABYTES
    assert await history_bytes(stack, status) < 50_000
    stored = await stack.database.read(lambda connection: connection.execute(select(func.count(blobs.c.id))).scalar())
    assert stored


async def test_it_survives_a_worker_and_continues(stack: Stack) -> None:
    """A worker that has never seen the output replays it; a run that continues as new takes it along."""
    naps = {"id": "each", "type": "foreach", "items": list(range(60)), "steps": [sleeps("nap", 0)]}
    ask = {"id": "ask", "type": "approval"}
    steps = [large("big", 2 * MEGABYTES), naps, ask, echo("after", size="{{ size(steps.big.output.text) }}")]
    execution = await stack.start(steps)
    await stack.until_step(execution, 3, "running", timeout=60)
    await stack.stop_worker()
    await stack.start_worker()
    url = f"/api/playbooks/executions/{execution}/steps/ask/approve"
    assert (await stack.http.post(url)).status_code == 200
    status = await stack.finish(execution)
    assert by_id(status)["after"]["output"] == {"size": 2 * MEGABYTES}
    assert await history_bytes(stack, status) < 50_000


async def test_too_large(stack: Stack) -> None:
    """Beyond the limit the step fails, and says so."""
    status = await stack.finish(await stack.start([large("big", 40 * MEGABYTES)]))
    assert status["error"]["code"] == "output_too_large"
