"""One client for a test, whichever of the two: each test of what both do runs with each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stanchion_client import AsyncStanchion, Retries, Stanchion

Do = Callable[..., Any]
"""``do("executions.run", …)`` returns what the method returns; a list of what an iterator yields."""

QUICK = Retries(seconds=30, first_pause=0.001, longest_pause=0.01)


def speaking(kind: str, url: str, retries: Retries = QUICK) -> Do:
    """A way to call the methods of the ``sync`` or ``async`` client."""
    return _synchronous(url, retries) if kind == "sync" else _asynchronous(url, retries)


def _synchronous(url: str, retries: Retries) -> Do:
    def do(method: str, *arguments: Any, **named: Any) -> Any:
        with Stanchion(url, "secret", retries=retries) as client:
            found = _method(client, method)(*arguments, **named)
            return list(found) if hasattr(found, "__next__") else found

    return do


def _asynchronous(url: str, retries: Retries) -> Do:
    async def work(method: str, *arguments: Any, **named: Any) -> Any:
        async with AsyncStanchion(url, "secret", retries=retries) as client:
            found = _method(client, method)(*arguments, **named)
            return [one async for one in found] if hasattr(found, "__anext__") else await found

    def do(method: str, *arguments: Any, **named: Any) -> Any:
        return asyncio.run(work(method, *arguments, **named))

    return do


def _method(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client


both = pytest.mark.parametrize("kind", ["sync", "async"])
