"""docs/actions.md and docs/actions/ against the actions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from activities.action import AnyAction
from activities.catalogue import BUILT_IN, load_catalogue
from playbooks.compile import compile_playbook
from scripts import action_pages
from tests.compose import ROOT

ACTIONS = sorted((kind() for kind in BUILT_IN), key=lambda action: action.name)
each = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


def text_of(action: AnyAction) -> str:
    """The page in the repository."""
    return (ROOT / "docs" / "actions" / f"{action.name}.md").read_text(encoding="utf-8")


def test_the_pages_are_what_the_script_writes() -> None:
    """Each action has its page, and each page its action."""
    assert action_pages.out_of_date() == [], f"run: {action_pages.COMMAND}"


@each
def test_the_example_compiles(action: AnyAction) -> None:
    """What stands on the page as an example is a step that every check of a stored playbook passes."""
    found = re.search(r"```yaml\n(.*?)```", text_of(action), re.DOTALL)
    assert found is not None
    compiled = compile_playbook(playbook_of(found[1]), "yaml", load_catalogue().specs())
    assert compiled.plan.steps[-1].name == action.title


def playbook_of(example: str) -> bytes:
    """A playbook that ends with ``example``, with the parameters and the earlier steps that it speaks of."""
    parameters = {name: {} for name in re.findall(r"\bparameters\.(\w+)", example)}
    earlier = dict.fromkeys(re.findall(r"\bsteps\.(\w+)", example))
    steps = [{"id": name, "name": name, "action_ref": "core.echo", "parameters": {}} for name in earlier]
    definition = {
        "name": "Example",
        "parameters": {"type": "object", "properties": parameters},
        "steps": [*steps, *yaml.safe_load(example)],
    }
    return yaml.safe_dump(definition).encode()


@each
def test_the_page_names_what_there_is(action: AnyAction) -> None:
    """Every parameter, every output and every code has its row, and a meaning that ends as a sentence does."""
    text = text_of(action)
    for model in (action.Input, action.Output):
        for name in model.model_json_schema(by_alias=True).get("properties", {}):
            assert f"| `{name}` |" in text, name
    for code, meaning in action.errors.items():
        assert re.fullmatch(r"[a-z_]+", code)
        assert meaning.endswith("."), code
        assert f"| `{code}` |" in text


def test_an_old_page_is_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check names what is missing, what differs and what is too many, and says what mends it; writing mends it."""
    docs = tmp_path / "docs"
    monkeypatch.setattr(action_pages, "DOCS", docs)
    assert action_pages.main(["--check"]) == 1
    assert action_pages.main([]) == 0
    assert action_pages.main(["--check"]) == 0
    (docs / "actions" / "no.action.md").write_text("x")
    (docs / "actions" / "core.echo.md").write_text("x")
    capsys.readouterr()
    assert action_pages.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert told == f"out of date: docs/actions/core.echo.md, docs/actions/no.action.md; run: {action_pages.COMMAND}\n"
    assert action_pages.main([]) == 0
    assert not (docs / "actions" / "no.action.md").exists()


def test_the_check_runs_with_the_others() -> None:
    """`make check` runs the comparison, as it runs every scripts/lint_*.py."""
    done = subprocess.run([sys.executable, "scripts/lint_action_pages.py"], cwd=ROOT, check=False)
    assert done.returncode == 0
