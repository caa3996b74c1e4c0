"""``stanchion audit``: is the trail whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DATA, AsJson, DataDir
from cli.output import complain, emit, say

if TYPE_CHECKING:
    from pathlib import Path

    from storage.audit_chain import Chain

app = typer.Typer(help="Verify the audit trail.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Verify the audit trail."""


@app.command("verify")
def verify(
    data_dir: DataDir = DATA,
    expect: Annotated[
        str | None, typer.Option(metavar="ID:HASH", help="An entry and its hash, as an earlier verification told them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every entry of the trail against the one before it, in the database of the settings.

    Ends with 1 and names the first entry that is not as it was written.
    """
    chain = _verify(data_dir, _expected(expect))
    if as_json:
        fields = ("entries", "last_id", "hash", "forgotten_through", "broken_id", "fault")
        emit({"whole": chain.is_whole} | {field: getattr(chain, field) for field in fields})
    elif chain.is_whole:
        forgotten = f" after {chain.forgotten_through}, the last that was forgotten," if chain.forgotten_through else ""
        say(f"The trail is whole: {chain.entries} entries{forgotten} up to {chain.last_id or 0}:{chain.hash}")
    else:
        complain(f"The trail is broken at entry {chain.broken_id}: {chain.fault}.")
    if not chain.is_whole:
        raise typer.Exit(1)


def _expected(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        complain("--expect reads ID:HASH, as an earlier verification told them.")
        raise typer.Exit(2)
    return int(number), digest


def _verify(data_dir: Path, expected: tuple[int, str] | None) -> Chain:
    from engine.codec import EncryptionKeyError
    from engine.sealing import Sealer
    from settings import Settings
    from storage.audit_chain import CHECKPOINT, verify
    from storage.database import Database
    from storage.errors import StorageError
    from storage.migrate import require_current

    settings = Settings(data_dir=data_dir)
    try:
        sealer = Sealer.of(settings)
        require_current(settings.database)
        database = Database(settings.database, pool_size=1)
        try:
            return database.read_sync(
                verify, lambda told, signature: sealer.is_signed(told, CHECKPOINT, signature), expected
            )
        finally:
            database.close()
    except (StorageError, EncryptionKeyError, ValueError) as fault:
        complain(f"The trail cannot be verified: {fault}.")
        raise typer.Exit(1) from fault
