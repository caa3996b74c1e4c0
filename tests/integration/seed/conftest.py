"""The guide's own playbook and asset in a running Stanchion."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from tests.conftest import TEMPORAL_VARIABLE
from tests.integration.seed.document import ASSET, PLAYBOOK
from tests.stack import Stack

WORKFLOW = f"{PLAYBOOK}:{ASSET}"


@pytest_asyncio.fixture(loop_scope="session")
async def guide(shared: Stack) -> AsyncIterator[Stack]:
    """A Stanchion that holds the guide's playbook and asset, and in which no run of that pair is open.

    All processes of a test session share one Temporal, in which the pair is one workflow: so one test at a time.
    """
    async with _alone():
        await _load(shared)
        await _end_run(shared)
        try:
            yield shared
        finally:
            await _end_run(shared)


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    server = os.environ[TEMPORAL_VARIABLE].replace(":", "-")
    with (Path(tempfile.gettempdir()) / f"stanchion-guide-{server}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.05)
        yield


async def _load(stack: Stack) -> None:
    """Stores the shipped playbook, as YAML, and the asset; what is there already stays."""
    content = resources.files("playbooks.library").joinpath("guide.yaml").read_bytes()
    answers = [
        await stack.http.post("/api/playbooks", content=content, headers={"Content-Type": "application/yaml"}),
        await stack.http.post("/api/assets", json={"id": ASSET, "name": "web-01", "type": "host"}),
    ]
    assert all(answer.status_code in {201, 409} for answer in answers), [answer.text for answer in answers]


async def _end_run(stack: Stack) -> None:
    """Ends an open run of the pair: of this test, or of one in a process that died."""
    handle = stack.temporal.get_workflow_handle(WORKFLOW)
    with contextlib.suppress(RPCError):
        while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await handle.terminate("the next test begins")
