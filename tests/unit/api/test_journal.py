"""Refusals that wait to be written: none is lost when the process stops while they are on their way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from starlette.requests import Request

from api.audit import Journal
from storage import audit
from storage.database import Database
from storage.migrate import migrate


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    url = f"sqlite:///{tmp_path / 'stanchion.sqlite'}"
    migrate(url)
    opened = Database(url)
    yield opened
    opened.close()


async def test_a_stop_in_the_middle_of_a_flush_loses_nothing(database: Database) -> None:
    """The entries stand behind another write when the task is told to stop; they are written all the same."""
    journal, free = Journal(database), threading.Event()

    def occupy(_: Connection) -> None:
        free.wait(60)

    busy = asyncio.create_task(database.write(occupy))
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": [], "path_params": {}})
    journal.denied(request, None, "unauthorized")
    flushing = asyncio.create_task(journal.flush())
    while journal._queue:
        await asyncio.sleep(0)
    flushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flushing
    free.set()
    await busy
    _, count = await database.read(audit.list_audit)
    assert count == 1
