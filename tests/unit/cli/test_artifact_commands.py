"""``stanchion artifact``, against a real HTTP server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.fake_api import Asked, FakeApi, Reply, error

PATH = "/api/playbooks/executions/exec-1/artifacts"
ONE = {"name": "r.html", "media_type": "text/html", "size": 3, "step": "act-001", "created_at": "2026-04-28T11:00:00Z"}


def artifact(api: FakeApi, *arguments: str) -> Result:
    """The outcome of ``stanchion artifact``."""
    return CliRunner().invoke(app, ["artifact", *arguments, "--url", api.url, "--token", "secret"])


def answer(asked: Asked) -> Reply:
    """A list, and a file with bytes that are no text."""
    if asked.path.startswith(f"{PATH}/"):
        return Reply(body=b"a\xff\n", media="text/html")
    return Reply(body={"data": [ONE]})


def test_list_shows_what_was_made() -> None:
    """`list` shows a row for each artifact, and the whole document with --json."""
    with FakeApi(answer) as api:
        assert "r.html  text/html   3     act-001" in artifact(api, "list", "exec-1").stdout
        assert json.loads(artifact(api, "list", "exec-1", "--json").stdout) == {"data": [ONE]}


def test_get_writes_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`get` writes a file of the artifact's name; an existing one only when it is named."""
    monkeypatch.chdir(tmp_path)
    with FakeApi(answer) as api:
        assert artifact(api, "get", "exec-1", "r.html").stdout == "r.html\n"
        again = artifact(api, "get", "exec-1", "r.html")
        named = artifact(api, "get", "exec-1", "r.html", "--output", "r.html", "--json")
        assert artifact(api, "get", "exec-1", "r.html", "-o", "-").stdout_bytes == b"a\xff\n"
    assert (again.exit_code, again.stderr) == (1, "Cannot write r.html: File exists.\n")
    assert json.loads(named.stdout) == {"name": "r.html", "file": "r.html", "size": 3}
    assert (tmp_path / "r.html").read_bytes() == b"a\xff\n"


def test_get_tells_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown artifact ends the command with 1, and no file is left behind."""
    monkeypatch.chdir(tmp_path)
    with FakeApi(lambda _: error(404, "not_found", "There is none.")) as api:
        outcome = artifact(api, "get", "exec-1", "r.html")
    assert (outcome.exit_code, outcome.stderr) == (1, "There is none.\n")
    assert list(tmp_path.iterdir()) == []
