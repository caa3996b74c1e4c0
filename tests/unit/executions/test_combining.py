"""Readings that are combined: as fresh as one of one's own, and no more of them than needed."""

from __future__ import annotations

import asyncio

import pytest

from executions.combining import Combined


class Source:
    """Something that is read slowly; counts the readings."""

    def __init__(self) -> None:
        self.value, self.readings = 0, 0
        self.may_end = asyncio.Event()

    async def read(self) -> int:
        """The value as it was when the reading began."""
        self.readings += 1
        value = self.value
        await self.may_end.wait()
        return value


async def settle() -> None:
    """Lets every task run as far as it comes."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_meanwhile_shares_the_next_reading() -> None:
    """A reading that had begun before does not count: what was done since would be missing in it."""
    source, combined = Source(), Combined[int]()
    first = asyncio.create_task(combined.read("a", source.read))
    await settle()
    source.value = 1
    later = [asyncio.create_task(combined.read("a", source.read)) for _ in range(50)]
    await settle()
    assert source.readings == 1
    source.may_end.set()
    assert await first == 0
    assert set(await asyncio.gather(*later)) == {1}
    assert source.readings == 2
    assert combined._flights == {}


async def test_keys_do_not_wait_for_each_other() -> None:
    """Each has readings of its own."""
    source, combined = Source(), Combined[int]()
    readings = [asyncio.create_task(combined.read(key, source.read)) for key in ("a", "b", "c")]
    await settle()
    assert source.readings == 3
    source.may_end.set()
    assert await asyncio.gather(*readings) == [0, 0, 0]


async def test_an_error_reaches_everybody_and_is_forgotten() -> None:
    """The next one who asks reads again."""
    combined, answers = Combined[int](), [RuntimeError("gone"), RuntimeError("still gone")]

    async def fails() -> int:
        await asyncio.sleep(0)
        if answers:
            raise answers.pop(0)
        return 7

    found = await asyncio.gather(*(combined.read("a", fails) for _ in range(5)), return_exceptions=True)
    assert [str(one) for one in found] == ["gone"] + ["still gone"] * 4
    assert await combined.read("a", fails) == 7


async def test_one_who_goes_away_stops_it_for_no_other() -> None:
    """Neither for those who share the reading, nor for those who wait for the next."""
    source, combined = Source(), Combined[int]()
    first = asyncio.create_task(combined.read("a", source.read))
    second, third = (asyncio.create_task(combined.read("a", source.read)) for _ in range(2))
    await settle()
    first.cancel(), second.cancel()
    source.may_end.set()
    assert await third == 0
    for gone in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert source.readings == 2
