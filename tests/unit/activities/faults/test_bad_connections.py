"""Each action that connects, against each fault of the other side: a step that fails, in time, and says what to do.

The actions of one fault are driven at once, through the activity of a worker.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError

from activities.catalogue import BUILT_IN, ActionCatalogue
from activities.error_advice import CONNECTION_ERRORS, RUNNER_ERRORS, TO_DO
from tests.hosts import Machine, running_machine
from tests.unit.activities.action_support import make_certificate, make_stage
from tests.unit.activities.faults.rows import FAULTS, NOT_THERE, ROWS, SECRETS, STAYS_HERE, Drive
from tests.unit.activities.faults.sides import USERS, Sides, all_sides

PATIENCE = 300.0
"""Seconds after which an action is taken for one that never ends."""

AT_ONCE = 6
"""Floods that come at the same time."""

GROWTH = 256 * 1024 * 1024
"""Bytes by which the worker may grow while so many answers of a gigabyte come at once, each read up to its limit."""

SHIPPED = ActionCatalogue(kind() for kind in BUILT_IN)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host with users that have faults."""
    with running_machine(tmp_path_factory.mktemp("machine") / "host", USERS) as running:
        yield running


@pytest_asyncio.fixture
async def sides(machine: Machine, tmp_path: Path) -> AsyncIterator[Sides]:
    """Everything there is to connect to."""
    async with all_sides(machine, make_certificate(tmp_path)) as running:
        yield running


def test_every_action_that_connects_has_a_row() -> None:
    """A new action is driven against every fault here, or this test says so."""
    names = {action.name for action in BUILT_IN}
    assert names - set(ROWS) - STAYS_HERE == set(), "add a row to tests/unit/activities/faults/rows.py"
    assert set(ROWS) <= names
    connecting = {action.name for action in BUILT_IN if set(CONNECTION_ERRORS) - {"timed_out"} & set(action.errors)}
    assert connecting == set(ROWS)


def test_no_fault_is_left_out_without_a_reason() -> None:
    """What an action cannot meet is said."""
    assert {(name, fault) for name, fault in NOT_THERE} <= {(name, fault) for name in ROWS for fault in FAULTS}


@pytest.mark.parametrize("fault", FAULTS)
async def test_bad_input_for_each_action_that_connects(
    fault: str, sides: Sides, caplog: pytest.LogCaptureFixture
) -> None:
    """The code of the row, documented by the action; a message that says what to do; no secret; nothing left behind."""
    caplog.set_level(logging.WARNING)
    drives = [
        (name, drive)
        for name, make in sorted(ROWS.items())
        if (name, fault) not in NOT_THERE
        for drive in make(sides, fault)
    ]
    _forget_peak()
    before = _peak()
    turns = asyncio.Semaphore(AT_ONCE if fault == "flood" else len(drives))
    odd = [said for said in await asyncio.gather(*(_wrong(name, drive, turns) for name, drive in drives)) if said]
    assert not odd, "\n".join(odd)
    assert _peak() - before < GROWTH
    assert "left behind" not in caplog.text


async def _wrong(name: str, drive: Drive, turns: asyncio.Semaphore) -> str | None:
    """What is wrong with the way in which the step ends; None when nothing is."""
    said = f"{name}, {drive.label}"
    stage = make_stage(SHIPPED)
    try:
        async with turns, asyncio.timeout(PATIENCE):
            await stage.perform(name, drive.parameters, timeout=drive.timeout)
    except TimeoutError:
        return f"{said}: does not end"
    except ApplicationError as error:
        code, message = str(error.type), error.message
    else:
        return None if drive.ends == "completed" else f"{said}: completed"
    if code != drive.ends:
        return f"{said}: {code} ({message}) instead of {drive.ends}"
    if code not in {**SHIPPED[name].errors, **RUNNER_ERRORS}:
        return f"{said}: {code} is not among the action's errors"
    if not message.endswith(TO_DO.get(code, "nothing to do")):
        return f"{said}: {code} does not say what to do: {message}"
    if any(secret in message for secret in SECRETS):
        return f"{said}: a secret stands in {message}"
    return None


def _forget_peak() -> None:
    """From now on the peak is that of what follows (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes that this process, which is the worker here, has held at most."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def test_the_peak_is_told() -> None:
    """The measure itself is no blank: what was held and given back shows in it."""
    _forget_peak()
    before = _peak()
    held = bytearray(GROWTH)
    held[:: resource.getpagesize()] = b"x" * len(held[:: resource.getpagesize()])
    del held
    assert _peak() - before > GROWTH // 2
