"""The guide's *Cancelling an Execution*; what else a cancel may meet is in ``tests/integration/engine``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack, states

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLEEP = {"action_ref": "core.sleep", "parameters": {"seconds": 60}}


def append(file: Path, line: str) -> dict[str, Any]:
    """A step with a side effect that can be counted."""
    return {"action_ref": "test.append", "parameters": {"path": str(file), "line": line}}


async def test_200_and_cancelled(shared: Stack) -> None:
    """A cancel returns 200 OK and sets the execution status to `cancelled`."""
    execution = await shared.start([SLEEP])
    await shared.until_step(execution, 0, "running")
    answer = await shared.http.post(f"/api/playbooks/executions/{execution}/cancel")
    assert (answer.status_code, answer.json()["execution_id"]) == (200, execution)
    assert answer.json()["status"] == "cancelled"
    assert (await shared.status(execution))["status"] == "cancelled"


async def test_no_rollback(shared: Stack, tmp_path: Path) -> None:
    """Steps that have already completed are not rolled back: they stay `completed`, and so does what they did."""
    file = tmp_path / "effects"
    execution = await shared.start([append(file, "first"), SLEEP, append(file, "later")])
    await shared.until_step(execution, 1, "running")
    assert states((await shared.cancel(execution)).json()) == ["completed", "cancelled", "cancelled"]
    assert file.read_text() == "first\n"


async def test_the_asset_is_free_again(shared: Stack) -> None:
    """A cancelled execution no longer stands in the way of the next one."""
    playbook, asset = await shared.playbook([SLEEP]), await shared.asset()
    first = (await shared.post_run(playbook["id"], asset["id"])).json()["execution_id"]
    await shared.until_step(first, 0, "running")
    await shared.cancel(first)
    answer = await shared.post_run(playbook["id"], asset["id"])
    assert answer.status_code == 202, answer.text
    await shared.cancel(answer.json()["execution_id"])


async def test_who_why_and_when(shared: Stack) -> None:
    """Explicitly cancelled by a user: the execution says who it was, why, and when."""
    made = await shared.http.post("/api/tokens", json={"name": "on-call", "permissions": ["playbook:execute"]})
    execution = await shared.start([SLEEP])
    await shared.until_step(execution, 0, "running")
    shared.http.headers["Authorization"] = f"Bearer {made.json()['token']}"
    body = (await shared.cancel(execution, reason="wrong asset")).json()
    assert (body["cancelled"]["by"], body["cancelled"]["reason"]) == ("on-call", "wrong asset")
    assert body["started_at"] <= body["cancelled"]["at"]
