"""A Stanchion whose Phantom interface is on, and what the tests ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from pydantic import SecretStr

from tests.integration.phantom.phantom import PASSWORD, PHANTOM_TOKEN, USER, Phantom
from tests.stack import running_stack, stack_settings


@pytest_asyncio.fixture
async def phantom(tmp_path: Path) -> AsyncIterator[Phantom]:
    """A Stanchion with a user and a token of the Phantom interface."""
    settings = stack_settings(
        tmp_path,
        phantom_user=USER,
        phantom_password=SecretStr(PASSWORD),
        phantom_token=SecretStr(PHANTOM_TOKEN),
    )
    async with running_stack(settings) as stack, Phantom.on(stack) as running:
        yield running
