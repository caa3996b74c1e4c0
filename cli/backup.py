"""``stanchion backup`` and ``stanchion restore``: the data of ``stanchion up``, copied while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli.options import DATA, AsJson, DataDir
from cli.output import complain, emit, say

OTHERS = ("admin-token", "tls")
"""What lies in the data folder beside the two databases."""


def backup(
    target: Annotated[Path, typer.Argument(help="A folder that does not exist, or a file: .tar, .tgz.")],
    data_dir: DataDir = DATA,
    as_json: AsJson = False,
) -> None:
    """Copy the data folder of `stanchion up`, which may go on running.

    The copy holds the admin token, and secrets as the database has them. It does not hold STANCHION_ENCRYPTION_KEY.
    """
    import os

    from engine.backup import BackupError
    from engine.backup import backup as make

    if os.environ.get("STANCHION_DATABASE_URL"):
        complain("STANCHION_DATABASE_URL is set: back up that database and Temporal's with the tools of Postgres.")
        raise typer.Exit(2)
    try:
        manifest = make(data_dir, target, OTHERS)
    except (BackupError, OSError) as fault:
        complain(f"There is no backup: {fault}")
        raise typer.Exit(1) from fault
    if as_json:
        emit({"target": str(target), **manifest})
    else:
        size = sum(file["bytes"] for file in manifest["files"].values())
        say(f"{target} holds {data_dir}: {len(manifest['files'])} files, {size / 1e6:.1f} MB.")


def restore(
    source: Annotated[Path, typer.Argument(help="What `stanchion backup` made.")],
    data_dir: DataDir = DATA,
    end_open: Annotated[
        bool, typer.Option("--end-open", help="End the runs that were open instead of letting them go on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a data folder of a backup; `stanchion up` with it goes on with its runs.

    A run that was open goes on from where it was at the backup: what it did after that is done again. Use --end-open
    where that would do harm. Runs that are encrypted need STANCHION_ENCRYPTION_KEY here too.
    """
    import asyncio

    from engine.backup import BackupError
    from engine.client import data_converter
    from engine.codec import EncryptionKeyError
    from engine.embedded import EmbeddedError
    from engine.restoring import restore as make
    from settings import Settings
    from storage.errors import StorageError

    try:
        told = asyncio.run(make(source, data_dir, data_converter(Settings(data_dir=data_dir)), end_open=end_open))
    except (BackupError, StorageError, EmbeddedError, EncryptionKeyError, OSError) as fault:
        complain(f"Nothing was restored: {fault}")
        raise typer.Exit(1) from fault
    if as_json:
        emit({"data_dir": str(data_dir), **told})
    else:
        ended = f" {told['ended']} runs were ended." if told["ended"] else ""
        say(f"{data_dir} is restored; {told['open']} runs go on when it is started.{ended}")


COMMANDS: tuple[Callable[..., None], ...] = (backup, restore)
