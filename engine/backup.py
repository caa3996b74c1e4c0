"""Copies of the embedded data, taken while it is in use, and what makes such a copy go on where it stopped.

Two files make one state: Temporal's says how far each open run is, ours what came of those that ended.  Both are copied
from one moment, to within a millisecond or so: a read transaction is opened on each, Temporal's first, and only then
are the pages copied.  So ours is never older than Temporal's, which refers to payloads that ours holds.  What can
happen in that millisecond, and what a restore makes of it:

- A run ended.  Our file has its record, Temporal's still has it open: it is terminated there before a worker starts,
  for else it would do its last steps again.
- A run was started.  Our file has its row, Temporal's has no run: it is settled as ``history_lost`` after a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from engine.embedded import DATABASE as TEMPORAL
from engine.embedded import VERSION_FILE, EmbeddedError, check_version

OURS: Final = "stanchion.sqlite"
MANIFEST: Final = "backup.json"
FORMAT: Final = 1
LOCKED_SECONDS: Final = 30.0
ARCHIVES: Final = {".tar": "w", ".tgz": "w:gz", ".gz": "w:gz"}


class BackupError(Exception):
    """A copy cannot be made, or cannot be used; the message is a sentence for the operator."""


def backup(data_dir: Path, target: Path, others: Sequence[str] = ()) -> dict[str, Any]:
    """Copy the data of ``data_dir``, which may be in use, to ``target``: a folder, or a file that ends in .tar or .tgz.

    ``others`` are files and folders that go with it where they are there.  ``target`` appears whole or not at all.
    Returns its manifest; raises ``BackupError``.
    """
    for name in (TEMPORAL, OURS):
        if not (data_dir / name).is_file():
            raise BackupError(f"There is no {name} in {data_dir}: this is not the data folder of `stanchion up`.")
    if target.exists():
        raise BackupError(f"{target} exists already.")
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with _beside(target) as work:
        began = int(time.time() * 1000)
        _copy_databases(data_dir, work)
        for name in (VERSION_FILE, *others):
            _copy(data_dir / name, work / name)
        manifest = {
            "format": FORMAT,
            "made_at": began,
            "version": metadata.version("stanchion"),
            "temporal": (work / VERSION_FILE).read_text().strip() if (work / VERSION_FILE).exists() else None,
            "files": {path: _described(work / path) for path in _files(work)},
        }
        (work / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        for path in _files(work):
            _sync(work / path)
        _publish(work, target)
    return manifest


def unpack(source: Path, work: Path) -> dict[str, Any]:
    """Bring the backup ``source`` into the empty folder ``work``; its manifest.

    Raises ``BackupError`` for what is no backup, or not the one that was made, or of another version of Temporal.
    """
    if not source.exists():
        raise BackupError(f"There is no {source}.")
    try:
        if source.is_dir():
            shutil.copytree(source, work, dirs_exist_ok=True)
        else:
            with tarfile.open(source) as archive:
                archive.extractall(work, filter="data")  # refuses links and paths that lead out of the folder
        manifest: dict[str, Any] = json.loads((work / MANIFEST).read_text())
        named = manifest["files"]
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as fault:
        raise BackupError(f"{source} is no backup of Stanchion: {fault}.") from fault
    if manifest.get("format") != FORMAT:
        raise BackupError(f"{source} has the format {manifest.get('format')}; this version reads {FORMAT}.")
    found = {path: _described(work / path) for path in _files(work) if path != MANIFEST}
    for path in sorted(named.keys() | found.keys()):
        if named.get(path) != found.get(path):
            raise BackupError(f"{source} is damaged: {path} is not what was copied.")
    for name in (TEMPORAL, OURS):
        if name not in found:
            raise BackupError(f"{source} is damaged: it has no {name}.")
        _check(work / name)
    try:
        check_version(work)
    except EmbeddedError as fault:
        raise BackupError(str(fault)) from fault
    (work / MANIFEST).unlink()
    return manifest


@contextlib.contextmanager
def empty_folder(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` that becomes ``target`` when the block ends well.

    Raises ``BackupError`` where there is something already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is not empty: give another --data-dir, or move it away.")
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with _beside(target) as work:
        yield work
        for path in _files(work):
            _sync(work / path)
        _publish(work, target)


def _copy_databases(data_dir: Path, work: Path) -> None:
    try:
        with contextlib.ExitStack() as held:
            snapshots = [(name, held.enter_context(_snapshot(data_dir / name))) for name in (TEMPORAL, OURS)]
            for name, connection in snapshots:
                with contextlib.closing(sqlite3.connect(work / name)) as copy:
                    connection.backup(copy)
                (work / name).chmod(0o600)
                _check(work / name)
    except sqlite3.Error as fault:
        raise BackupError(f"The data in {data_dir} cannot be read: {fault}.") from fault


@contextlib.contextmanager
def _snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees the file as it is now; writers go on, since the file has a write-ahead log."""
    with contextlib.closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=LOCKED_SECONDS)
    ) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # a transaction begins with its first read
        yield connection


def _check(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        fault = str(error)
    if fault != "ok":
        raise BackupError(f"{path.name} is damaged: {fault}.")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy2(source, target)


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(work: Path, target: Path) -> None:
    """Gives what is whole its name, in one step."""
    how = ARCHIVES.get(target.suffix)
    if how is None or target.is_dir():
        work.rename(target)
    else:
        part = work.with_suffix(".part")
        try:
            with part.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                with tarfile.open(fileobj=file, mode=how) as archive:  # type: ignore[call-overload]
                    for path in _files(work):
                        archive.add(work / path, path)
            _sync(part)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
    _sync(target.absolute().parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
