"""README.md against what it talks about."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from activities.catalogue import BUILT_IN, load_catalogue
from cli.main import app
from cli.samples import GUIDE_ASSET
from playbooks.compile import compile_playbook
from tests.compose import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = re.findall(r"^stanchion (?!--)([^#\n]+)", README, re.MULTILINE)


def test_the_two_commands_come_first() -> None:
    """The first block of the page is `make demo` and `make test`."""
    first = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]


def test_every_target_of_make_exists() -> None:
    """Each `make …` on the page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of the repository has its file."""
    text = re.sub(r"`[^`\n]+`", "", page.read_text(encoding="utf-8"))  # a pattern of characters may look like a link
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target


def test_the_folders_exist() -> None:
    """Each folder in the table of the house is there."""
    table = README.partition("## The house")[2]
    named = re.findall(r"`([\w.]+/?)`", "".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_example_is_a_playbook() -> None:
    """The playbook on the page passes every check of a stored one."""
    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert example is not None
    compiled = compile_playbook(example[1].encode(), "yaml", load_catalogue().specs())
    assert (compiled.slug, len(compiled.plan.steps)) == ("restart-a-service", 5)


def test_the_actions_are_all_named() -> None:
    """The page names every built-in action."""
    assert [action.name for action in BUILT_IN if f"`{action.name}`" not in README] == []


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.split()[0])
def test_commands_exist_with_their_options(line: str) -> None:
    """Each command on the page is one, and has each option that it is given there."""
    words = shlex.split(line)
    groups = [group.name for group in app.registered_groups]
    names = words[: 2 if words[0] in groups else 1]
    shown = CliRunner().invoke(app, [*names, "--help"])
    assert shown.exit_code == 0
    assert [word for word in words if word.startswith("-") and word not in shown.output] == []


def test_the_guide_s_ids_are_those_of_the_samples() -> None:
    """The curl lines use the playbook and the asset that `make up` loads."""
    assert f'"target_asset_id": "{GUIDE_ASSET}"' in README
    library = [file.read_text(encoding="utf-8") for file in (ROOT / "playbooks" / "library").glob("*.yaml")]
    (playbook,) = re.findall(r"/api/playbooks/(pb-[0-9a-f-]+)/run", README)
    assert any(re.search(rf"^id: {playbook}$", text, re.MULTILINE) for text in library)
