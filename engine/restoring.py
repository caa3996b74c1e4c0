"""Restore a backup into a new data folder, so that its open runs go on and none that ended does anything again."""

from __future__ import annotations

import asyncio
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.converter import DataConverter

from engine.backup import OURS, empty_folder, unpack
from engine.embedded import LOCK_FILE, EmbeddedOptions, EmbeddedServer
from engine.ports import bind_free
from engine.runs import Runs
from storage import executions
from storage.database import Database
from storage.executions import ExecutionSummary
from storage.migrate import migrate

SLACK_MS = 600_000
"""How much earlier than the backup a run may have ended whose end Temporal is asked for: clocks differ."""

ENDED = "its record was complete when Temporal's file was copied"
STOPPED = "ended by stanchion restore --end-open"


async def restore(source: Path, data_dir: Path, converter: DataConverter, *, end_open: bool = False) -> dict[str, Any]:
    """Make ``data_dir``, which must not exist or be empty, of the backup ``source``; it appears whole or not at all.

    ``converter`` reads what Temporal keeps of the runs, which may be encrypted (``engine.client.data_converter``).
    ``end_open`` ends the runs that were open, instead of letting them go on.  Returns how many runs were ended and how
    many go on; raises ``BackupError``, ``StorageError``, ``EmbeddedError``, ``EncryptionKeyError``.
    """
    with empty_folder(data_dir) as work:
        manifest = await asyncio.to_thread(unpack, source, work)
        url = f"sqlite:///{work / OURS}"
        await asyncio.to_thread(migrate, url)
        database = Database(url)
        try:
            ended = await database.read(executions.closed_since, int(manifest["made_at"]) - SLACK_MS)
            still_open = await database.read(_open)
            async with EmbeddedServer(EmbeddedOptions(work, _free_port()), output=DEVNULL) as server:
                client = await Client.connect(server.address, data_converter=converter)
                stopped = await _end(client, ended, ENDED)
                cut = await _end(client, still_open, STOPPED) if end_open else 0
        finally:
            database.close()
        (work / LOCK_FILE).unlink(missing_ok=True)
    return {"made_at": manifest["made_at"], "open": len(still_open) - cut, "ended": stopped + cut}


async def _end(client: Client, rows: Sequence[ExecutionSummary], reason: str) -> int:
    """Terminates the runs of these rows that Temporal has open; no worker is there yet to do anything of them."""
    runs, count = Runs(client, "restore"), 0
    for row in rows:
        found = await runs.describe_execution(row.workflow_id, row.id)
        if found is not None and not found.closed:
            handle = client.get_workflow_handle(row.workflow_id, run_id=found.run_id)
            await handle.terminate(reason=reason)
            count += 1
    return count


def _open(connection: Any) -> list[ExecutionSummary]:
    return executions.open_executions(connection, 2**62, 2**31)


def _free_port() -> int:
    with socket.socket() as probe:
        return bind_free(probe, "127.0.0.1")
