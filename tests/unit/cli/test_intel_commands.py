"""``stanchion intel`` on a real database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from storage.migrate import migrate
from tests.unit.storage.intel_files import LOG4J, XZ, epss, kev, kev_entry, written


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a migrated database."""
    monkeypatch.delenv("STANCHION_DATABASE_URL", raising=False)
    folder = tmp_path / "data"
    migrate(f"sqlite:///{folder}/stanchion.sqlite")
    return folder


def intel(data: Path, *arguments: str) -> Result:
    """The outcome of ``stanchion intel``."""
    return CliRunner().invoke(app, ["intel", *arguments, "--data-dir", str(data)])


def test_files_are_synced_and_shown(data: Path, tmp_path: Path) -> None:
    """Each by what it is; status says how old everything is."""
    first = written(tmp_path, "a", kev(kev_entry()))
    second = written(tmp_path, "b", epss(f"{LOG4J},0.9,0.9", f"{XZ},0.8,0.8"))
    outcome = intel(data, "sync", str(first), str(second))
    assert outcome.exit_code == 0, outcome.stderr
    assert f"epss: 2 entries as of 2025-03-01T00:00:00Z, from {second}" in outcome.stdout
    rows = json.loads(intel(data, "status", "--json").stdout)["data"]
    assert [(row["source"], row["entries"], row["sample"]) for row in rows] == [("epss", 2, False), ("kev", 1, False)]
    assert "2025-03-01T12:00:00Z" in intel(data, "status").stdout


def test_a_bad_file_is_named_and_the_others_are_taken(data: Path, tmp_path: Path) -> None:
    """Exit code 1, and what was wrong where."""
    good = written(tmp_path, "a", kev(kev_entry()))
    bad = written(tmp_path, "b", epss(f"{LOG4J},2,0.9"))
    outcome = intel(data, "sync", str(good), str(bad))
    assert outcome.exit_code == 1
    told = f"epss: {bad}, line 3: epss '2' is no number from 0 to 1. Nothing of it was changed."
    assert told in outcome.stderr
    outcome = intel(data, "sync", str(bad), "--json")
    assert json.loads(outcome.stdout)["errors"][0]["code"] == "invalid_file"
    assert [row["source"] for row in json.loads(intel(data, "status", "--json").stdout)["data"]] == ["kev"]
    assert "neither KEV's JSON" in intel(data, "sync", str(written(tmp_path, "c", b"hello"))).stderr


def test_the_sample_is_marked(data: Path) -> None:
    """So that nobody takes it for news."""
    assert intel(data, "sync", "--sample").exit_code == 0
    rows = json.loads(intel(data, "status", "--json").stdout)["data"]
    assert [(row["source"], row["sample"]) for row in rows] == [("epss", True), ("kev", True), ("nvd", True)]


def test_without_a_database_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And makes none."""
    monkeypatch.delenv("STANCHION_DATABASE_URL", raising=False)
    outcome = intel(tmp_path / "none", "status")
    assert outcome.exit_code == 1
    assert "There is no database" in outcome.stderr
    assert not (tmp_path / "none").exists()


def test_private_addresses_are_not_asked(data: Path) -> None:
    """The egress guard stands under it."""
    outcome = intel(data, "sync", "http://127.0.0.1:9/kev.json")
    assert outcome.exit_code == 1
    assert "not allowed" in outcome.stderr
