"""One Stanchion for the tests of the contract that leave nothing running: most of a test's time is its start."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.stack import TOKEN, Stack, running_stack, stack_settings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(stack_settings(tmp_path_factory.mktemp("shared"))) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shared(_shared_stack: Stack) -> AsyncIterator[Stack]:
    """A Stanchion with a worker, shared with other tests; they run in the loop of the session (``loop_scope``).

    A test leaves no run open behind it: between two tests the loop that its worker lives in stands still.  The HTTP
    client is the test's own, since its connections would not outlive such a pause.
    """
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=_shared_stack.url, headers=headers, timeout=30) as http:
        yield dataclasses.replace(_shared_stack, http=http)
