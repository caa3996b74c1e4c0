"""``stanchion audit verify`` on a real data folder."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from storage import audit
from storage.audit import NewAudit
from storage.database import Database
from storage.migrate import migrate


def verify(folder: Path, *arguments: str) -> Result:
    """Runs the command on a data folder."""
    return CliRunner().invoke(app, ["audit", "verify", "--data-dir", str(folder), *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with three entries in its trail."""
    url = f"sqlite:///{tmp_path / 'stanchion.sqlite'}"
    migrate(url)
    database = Database(url)
    for number in range(3):
        database.write_sync(
            audit.append,
            NewAudit(
                at=number, actor_id="a", actor_name="a", action="playbook.create", object_type="playbook",
                object_id=None, outcome="ok", address=None,
            ),
        )  # fmt: skip
    database.close()
    return tmp_path


def test_a_whole_trail(folder: Path) -> None:
    """It says how many entries it has, and what to keep elsewhere: the last one's id and hash."""
    told = json.loads(verify(folder, "--json").stdout)
    assert (told["whole"], told["entries"], told["last_id"]) == (True, 3, 3)
    kept = f"3:{told['hash']}"
    assert kept in verify(folder).stdout
    assert verify(folder, "--expect", kept).exit_code == 0
    assert verify(folder, "--expect", f"3:{'0' * 64}").exit_code == 1


def test_a_broken_trail_names_the_entry(folder: Path) -> None:
    """Exit code 1, and the id of the first entry that was changed."""
    with sqlite3.connect(folder / "stanchion.sqlite") as connection:
        connection.execute("DROP TRIGGER audit_refuses_update")
        connection.execute("UPDATE audit SET actor_name = 'b' WHERE id = 2")
    connection.close()
    result = verify(folder)
    assert result.exit_code == 1
    assert "broken at entry 2:" in result.stderr
    assert json.loads(verify(folder, "--json").stdout)["broken_id"] == 2


def test_no_database_is_made(tmp_path: Path) -> None:
    """A folder without one is told, and stays empty."""
    result = verify(tmp_path)
    assert result.exit_code == 1
    assert "there is no database" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_expectation_is_refused(folder: Path) -> None:
    """ID:HASH, nothing else."""
    assert verify(folder, "--expect", "3").exit_code == 2
