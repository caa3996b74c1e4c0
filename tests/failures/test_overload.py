"""Overload in its short form; ``python -m bench.overload`` is the long one, with its figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.failures import overload
from tests.failures.overload import Figures
from tests.house import House, house

pytestmark = pytest.mark.slow

MEMORY = 500.0
"""MB that the API may have at most."""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[House]:
    """A house that serves."""
    overload.allow_connections()
    async with house(tmp_path, extra={"STANCHION_STARTS_IN_LINE": "50"}) as built:
        yield built


def hold(figures: Figures) -> None:
    """Every read beside the overload was right, and memory stayed bounded."""
    print(figures.row())
    assert figures.wrong_reads == []
    assert len(figures.reads) > 1
    assert figures.memory < MEMORY


async def test_a_burst_of_starts_is_taken_or_told_to_come_again(served: House) -> None:
    """More than are let through and wait: the rest is told 503 with a time; in the end each run was done."""
    figures = await overload.burst(served, 400)
    hold(figures)
    assert set(figures.answers) <= {202, 503, 0}
    assert figures.answers[202] == 400
    assert figures.answers[503] > 0


async def test_a_full_queue_loses_nothing(served: House) -> None:
    """Runs that nobody can work on yet are kept, and done when somebody comes."""
    figures = await overload.queue(served, 200)
    hold(figures)
    assert figures.answers[202] == 200


async def test_listeners_that_do_not_read_hold_nobody_up(served: House) -> None:
    """Two hundred of them cost no memory that grows, and one that reads hears of the end."""
    hold(await overload.deaf_listeners(served, 200))


async def test_guessed_logins_do_not_keep_others_out(served: House) -> None:
    """Each guess is refused; who is at another address comes in meanwhile."""
    hold(await overload.guessed_logins(served, 500, 200))


async def test_a_flood_of_polls_is_answered_truly(served: House) -> None:
    """A thousand reads over 64 connections."""
    figures = await overload.polls(served, 1_000)
    hold(figures)
    assert set(figures.answers) == {200}
