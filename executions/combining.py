"""Readings of one thing for many callers at once: each caller gets one that began after it had asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    """The reading that is under way, and the one that comes after it for those who have asked meanwhile."""

    current: asyncio.Task[T]
    following: asyncio.Task[T] | None = None


@dataclass(slots=True)
class Combined(Generic[T]):
    """Combines readings by key.

    A caller never gets the answer of a reading that had begun before: what it has done itself must be in it.  So
    those who ask while one is under way share the next one, and however many they are, one reading at a time is made.
    """

    _flights: dict[str, _Flight[T]] = field(default_factory=dict)

    async def read(self, key: str, reading: Callable[[], Awaitable[T]]) -> T:
        """What ``reading`` gives for ``key``, and raises; a caller that goes away stops it for no other."""
        flight = self._flights.get(key)
        if flight is None:
            task = _task(self._first(key, reading))
            self._flights[key] = _Flight(task)
        elif flight.following is None:
            task = flight.following = _task(self._after(flight.current, key, reading))
        else:
            task = flight.following
        return await asyncio.shield(task)

    async def _first(self, key: str, reading: Callable[[], Awaitable[T]]) -> T:
        try:
            return await reading()
        finally:
            self._land(key)

    async def _after(self, current: asyncio.Task[T], key: str, reading: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait({current})
        return await self._first(key, reading)

    def _land(self, key: str) -> None:
        flight = self._flights.pop(key)
        if flight.following is not None:
            self._flights[key] = _Flight(flight.following)


def _task(reading: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.create_task(reading)
    task.add_done_callback(_seen)
    return task


def _seen(task: asyncio.Task[Any]) -> None:
    """Marks an error as taken note of: every caller may have gone away."""
    if not task.cancelled():
        task.exception()
