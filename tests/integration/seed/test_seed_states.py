"""The guide's *Execution States*, each seen on a real execution and a real step, and the warning below them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.seed.document import STATES
from tests.stack import Stack, states

pytestmark = pytest.mark.asyncio(loop_scope="session")

ECHO = {"action_ref": "core.echo", "parameters": {}}
SLEEP = {"action_ref": "core.sleep", "parameters": {"seconds": 60}}
FAIL = {"id": "bad", "action_ref": "core.fail", "parameters": {"message": "no route to host"}}


@pytest.mark.asyncio(loop_scope="function")
async def test_pending(idle_stack: Stack) -> None:
    """State `pending`: the execution or step is queued and has not started yet, here for want of a worker."""
    execution = await idle_stack.start([ECHO, ECHO])
    await asyncio.sleep(0.3)
    status = await idle_stack.status(execution)
    assert (status["status"], states(status)) == ("pending", ["pending", "pending"])
    await idle_stack.start_worker()
    assert (await idle_stack.finish(execution))["status"] == "completed"


async def test_running(shared: Stack) -> None:
    """State `running`: the execution or step is actively in progress."""
    execution = await shared.start([SLEEP, ECHO])
    status = await shared.until_step(execution, 0, "running")
    assert (status["status"], states(status)) == ("running", ["running", "pending"])
    await shared.cancel(execution)


async def test_completed(shared: Stack) -> None:
    """State `completed`: the execution or step finished successfully."""
    status = await shared.finish(await shared.start([ECHO, ECHO]))
    assert (status["status"], states(status)) == ("completed", ["completed", "completed"])


async def test_failed(shared: Stack) -> None:
    """State `failed`: the execution or step encountered an error and could not continue; both say which."""
    status = await shared.finish(await shared.start([FAIL]))
    assert (status["status"], states(status)) == ("failed", ["failed"])
    assert status["steps"][0]["error"] == {"code": "failed", "message": "no route to host"}
    assert status["error"] == {"code": "failed", "message": "step bad failed: no route to host"}


async def test_skipped(shared: Stack) -> None:
    """State `skipped`: the step was skipped because a preceding condition was not met."""
    steps = [
        {"id": "is-test", "type": "condition", "expression": "asset.tags.env == 'test'", "on_false": "last"},
        {**ECHO, "id": "between"},
        {**ECHO, "id": "last"},
    ]
    status = await shared.finish(await shared.start(steps))
    assert (status["status"], states(status)) == ("completed", ["completed", "skipped", "completed"])
    assert "is-test" in status["steps"][1]["reason"]


async def test_cancelled(shared: Stack) -> None:
    """State `cancelled`: the execution was explicitly cancelled by a user."""
    execution = await shared.start([SLEEP, ECHO])
    await shared.until_step(execution, 0, "running")
    await shared.cancel(execution)
    status = await shared.status(execution)
    assert (status["status"], states(status)) == ("cancelled", ["cancelled", "cancelled"])


async def test_the_interface_knows_these_states_and_no_other(shared: Stack) -> None:
    """The table of states: the document of the interface has these six for executions and steps."""
    schemas = (await shared.http.get("/openapi.json")).json()["components"]["schemas"]
    assert sorted(schemas["State"]["enum"]) == sorted(STATES)
    for model in ("Execution", "Step"):
        assert schemas[model]["properties"]["status"] == {"$ref": "#/components/schemas/State"}


async def test_a_final_state_stays(shared: Stack) -> None:
    """A final state never changes again, here with a cancel that comes too late."""
    execution = await shared.start([FAIL])
    before = await shared.finish(execution)
    assert (await shared.cancel(execution)).status_code == 409
    assert await shared.status(execution, include="io") == before


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({"on_failure": "abort"}, ("failed", ["completed", "failed", "skipped", "skipped"])),
        ({"on_failure": "continue"}, ("completed", ["completed", "failed", "completed", "completed"])),
        ({"on_failure": "undo"}, ("completed", ["completed", "failed", "skipped", "completed"])),
        (
            {"retry": {"max_attempts": 2, "initial_interval": "10ms"}},
            ("failed", ["completed", "failed", "skipped", "skipped"]),
        ),
    ],
    ids=["abort", "continue", "handler", "retry"],
)
async def test_warning(shared: Stack, strategy: dict[str, Any], expected: tuple[str, list[str]]) -> None:
    """Warning: after a failed step later ones may be skipped, depending on the playbook's error-handling strategy."""
    steps = [ECHO, {**FAIL, **strategy}, ECHO, {**ECHO, "id": "undo"}]
    status = await shared.finish(await shared.start(steps))
    assert (status["status"], states(status)) == expected


async def test_warning_the_steps_tell_where(shared: Stack) -> None:
    """Warning: the `steps` array shows exactly where a failure occurred, and why the others did not run."""
    status = await shared.finish(await shared.start([ECHO, FAIL, ECHO]))
    assert [step["action_id"] for step in status["steps"] if step["status"] == "failed"] == ["bad"]
    assert [step["error"] for step in status["steps"] if step["status"] != "failed"] == [None, None]
    assert status["steps"][2]["reason"] == "bad failed"
