"""The guide's *Example*, its lines run by `curl`, and the tip below it."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from tests.integration.seed.document import (
    CURL_MONITOR,
    CURL_RUN,
    EXECUTION,
    HOST,
    PLAYBOOK,
    TOKEN_VARIABLE,
)
from tests.stack import TOKEN, Stack, states

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def shell(stack: Stack, line: str) -> Any:
    """The JSON that a line of the guide prints, with our host and token in the place of the guide's."""
    process = await asyncio.create_subprocess_shell(
        line.replace(HOST, stack.url),
        env={**os.environ, TOKEN_VARIABLE: TOKEN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_execute_the_playbook(guide: Stack) -> None:
    """`# Execute the playbook`: the guide's line starts a rehearsal of its playbook with its two parameters."""
    answer = await shell(guide, CURL_RUN)
    assert (answer["playbook_id"], answer["status"], answer["dry_run"]) == (PLAYBOOK, "pending", True)
    status = await guide.finish(answer["execution_id"])
    assert (status["status"], states(status)) == ("completed", ["completed"] * 4)
    assert status["parameters"].items() >= {"notify_channel": "#incident-response", "auto_assign": True}.items()


async def test_monitor_execution(guide: Stack) -> None:
    """`# Monitor execution`: the guide's line prints what the status endpoint answers."""
    started = await shell(guide, CURL_RUN)
    status = await guide.finish(started["execution_id"], include=None)
    assert await shell(guide, CURL_MONITOR.replace(EXECUTION, started["execution_id"])) == status


async def test_tip_the_same_request_for_real(guide: Stack) -> None:
    """Tip: after a dry-run succeeds, the same request with `"dry_run": false` applies the playbook for real."""
    rehearsed = await guide.finish((await shell(guide, CURL_RUN))["execution_id"])
    started = await shell(guide, CURL_RUN.replace('"dry_run": true', '"dry_run": false'))
    applied = await guide.finish(started["execution_id"])
    assert (rehearsed["status"], rehearsed["dry_run"]) == ("completed", True)
    assert (applied["status"], applied["dry_run"]) == ("completed", False)
    assert [step["name"] for step in applied["steps"]] == [step["name"] for step in rehearsed["steps"]]


async def test_tip_the_comparison(guide: Stack) -> None:
    """Tip: comparing the dry-run output with the live output verifies expected behaviour; here they are the same."""
    rehearsed = await guide.finish((await shell(guide, CURL_RUN))["execution_id"])
    started = await shell(guide, CURL_RUN.replace('"dry_run": true', '"dry_run": false'))
    applied = await guide.finish(started["execution_id"])
    ids = rehearsed["execution_id"], applied["execution_id"]
    compared = (await guide.http.get(f"/api/playbooks/executions/{ids[0]}/compare/{ids[1]}")).json()
    assert (compared["left"]["dry_run"], compared["right"]["dry_run"]) == (True, False)
    assert [step["name"] for step in compared["steps"]] == [step["name"] for step in applied["steps"]]
    assert [step["left"]["status"] for step in compared["steps"]] == ["completed"] * 4
    assert [step["right"]["output"] for step in compared["steps"]] == [step["output"] for step in applied["steps"]]
    assert [step["left"]["output"] for step in compared["steps"]] == [step["output"] for step in rehearsed["steps"]]
    assert [step["differences"] for step in compared["steps"]] == [[]] * 4
