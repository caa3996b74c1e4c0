"""docs/reference against the code, and the site that is made of docs/."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import reference_pages
from tests.compose import ROOT

LOADED = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*?\b(?:src|href)=["']((?:https?:)?//[^"']*)""")
FETCHED = re.compile(r"""(?:@import\s+|url\()["']?((?:https?:)?//[^"')]*)""")


def test_the_pages_are_what_the_script_writes() -> None:
    """A route, a command, a field or a code has its line."""
    assert reference_pages.out_of_date() == [], f"run: {reference_pages.COMMAND}"


def test_an_old_page_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check names what differs and what mends it; writing mends it."""
    monkeypatch.setattr(reference_pages, "DOCS", tmp_path)
    assert reference_pages.main([]) == 0
    (tmp_path / "errors.md").write_text("x")
    assert reference_pages.main(["--check"]) == 1
    assert capsys.readouterr().err == f"out of date: docs/reference/errors.md; run: {reference_pages.COMMAND}\n"


def test_the_site_loads_nothing_from_outside(tmp_path: Path) -> None:
    """The site is made without a warning, holds every page, and no page of it loads anything from another host."""
    line = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "docs", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(page for page in pages if not (tmp_path / page).exists()) == []
    loaded = [url for path in tmp_path.rglob("*.html") for url in LOADED.findall(path.read_text(encoding="utf-8"))]
    loaded += [url for path in tmp_path.rglob("*.css") for url in FETCHED.findall(path.read_text(encoding="utf-8"))]
    assert loaded == []
