"""How many starts are on their way at once, and how many may wait for it.

Each start is a commit and a call of Temporal.  Thousands at once would not be quicker for it: all would be late, and
their clients would give up on starts that happen all the same.  So a start waits in a line of bounded length, and what
finds no place in it is refused before anything was done, with a time after which to try again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from executions.errors import Overloaded

AT_ONCE: Final = 64
"""Starts between row and answer at one time; more do not make Temporal start more in a second."""
IN_LINE: Final = 1000
"""Starts that wait for that."""
PATIENCE: Final = 10.0
"""Seconds in the line after which a start is refused: its client would soon give it up."""
RETRY_AFTER: Final = 2
"""Seconds after which a refused start may find a place."""


@dataclass(slots=True)
class Admission:
    """Lets starts of this process through, in the order in which they came."""

    at_once: int = AT_ONCE
    in_line: int = IN_LINE
    patience: float = PATIENCE
    waiting: int = 0
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.at_once)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among those that start now.  Raises Overloaded when the line is full, or did not move in time."""
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    async def _wait(self) -> None:
        if self.waiting >= self.in_line:
            raise Overloaded(RETRY_AFTER)
        self.waiting += 1
        try:
            async with asyncio.timeout(self.patience):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(RETRY_AFTER) from None
        finally:
            self.waiting -= 1
