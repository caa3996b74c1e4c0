"""The line in which starts wait."""

from __future__ import annotations

import asyncio

import pytest

from executions.admission import Admission
from executions.errors import Overloaded, Unavailable


async def _hold(admission: Admission, order: list[int], number: int, go: asyncio.Event) -> None:
    async with admission.place():
        order.append(number)
        await go.wait()


async def _held(admission: Admission, count: int) -> tuple[list[asyncio.Task[None]], list[int], asyncio.Event]:
    order: list[int] = []
    go = asyncio.Event()
    tasks = [asyncio.create_task(_hold(admission, order, number, go)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks, order, go


async def test_so_many_at_once_and_the_others_in_order() -> None:
    """Those that wait come in the order in which they asked."""
    admission = Admission(at_once=2, in_line=10)
    tasks, order, go = await _held(admission, 6)
    assert order == [0, 1]
    assert admission.waiting == 4
    go.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4, 5]
    assert admission.waiting == 0


async def test_a_full_line_refuses_at_once() -> None:
    """Refused with the time to try again, as what can be tried again; those in line keep their places."""
    admission = Admission(at_once=1, in_line=2)
    tasks, order, go = await _held(admission, 3)
    with pytest.raises(Overloaded) as refused:
        async with admission.place():
            pytest.fail("there was no place")
    assert isinstance(refused.value, Unavailable)
    assert refused.value.headers == {"Retry-After": "2"}
    go.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]


async def test_a_line_that_does_not_move_refuses_and_gives_the_place_back() -> None:
    """Whoever gives up leaves no gap: the next gets a place when one is free."""
    admission = Admission(at_once=1, in_line=2, patience=0.05)
    tasks, _, go = await _held(admission, 1)
    with pytest.raises(Overloaded):
        async with admission.place():
            pytest.fail("there was no place")
    assert admission.waiting == 0
    go.set()
    await asyncio.gather(*tasks)
    async with admission.place():
        pass


async def test_a_start_that_fails_or_is_cancelled_gives_its_place_back() -> None:
    """Neither an error nor a client that went away keeps a place."""
    admission = Admission(at_once=1, in_line=2)
    with pytest.raises(ValueError, match="broken"):
        async with admission.place():
            raise ValueError("broken")
    tasks, _, _ = await _held(admission, 2)
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert admission.waiting == 0
    async with admission.place():
        pass
