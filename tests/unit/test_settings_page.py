"""docs/settings.md against settings.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from scripts.settings_page import PAGE, main, page
from settings import Settings
from tests.compose import ROOT

ROW = re.compile(r"^\| `(STANCHION_\w+)` \| (?:`(.*?)`)? *\| (.+) \|$", re.MULTILINE)
TABLE = page().partition("\n## ")[0]


def test_the_page_is_what_the_script_writes() -> None:
    """The page in the repository is up to date."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: .venv/bin/python scripts/settings_page.py"


def test_every_setting_has_one_row() -> None:
    """The first table names each variable once, in the order of settings.py, and no other."""
    names = [name for name, _, _ in ROW.findall(TABLE)]
    assert names == [f"STANCHION_{name.upper()}" for name in Settings.model_fields]


def test_every_setting_says_what_it_is() -> None:
    """Each field of the settings has a description that ends as a sentence does."""
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_every_default_is_the_one_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults on the page are those that settings have in an empty environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"STANCHION_{name.upper()}", raising=False)
    settings = Settings()
    shown = {name: default for name, default, _ in ROW.findall(TABLE)}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        assert shown[f"STANCHION_{name.upper()}"] == ("" if value in (None, "") else str(value))


def test_the_check_fails_for_an_old_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """--check tells a page that is out of date, and writing it mends that."""
    old = tmp_path_factory.mktemp("docs") / "settings.md"
    old.write_text("# Settings\n")
    monkeypatch.setattr("scripts.settings_page.PAGE", old)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_the_script_runs_by_itself() -> None:
    """The script can be started from the repository's folder as its docstring says."""
    done = subprocess.run([sys.executable, "scripts/settings_page.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_a_secret_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read without the line break at its end; a setting that is no secret has no such variable."""
    file = tmp_path / "token"
    file.write_text("stn_from_a_file\n")
    monkeypatch.delenv("STANCHION_ADMIN_TOKEN", raising=False)
    monkeypatch.setenv("STANCHION_ADMIN_TOKEN_FILE", str(file))
    monkeypatch.setenv("STANCHION_HOST_FILE", str(file))
    settings = Settings()
    assert settings.admin_token is not None
    assert (settings.admin_token.get_secret_value(), settings.host) == ("stn_from_a_file", "127.0.0.1")


def test_a_secret_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there, and a secret that is given twice, are told with the names of the variables."""
    monkeypatch.setenv("STANCHION_ADMIN_TOKEN_FILE", str(tmp_path / "nothing"))
    monkeypatch.delenv("STANCHION_ADMIN_TOKEN", raising=False)
    with pytest.raises(SettingsError, match=r"STANCHION_ADMIN_TOKEN_FILE: .*nothing cannot be read"):
        Settings()
    monkeypatch.setenv("STANCHION_ADMIN_TOKEN", "stn_x")
    with pytest.raises(SettingsError, match="are both set"):
        Settings()
