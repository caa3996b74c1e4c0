"""Each block of README.md and docs/ is what it says it is; those that are run are so in test_pages.py."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from activities.action import Action
from activities.catalogue import check_action
from playbooks.faults import DefinitionError
from tests.docs import output, playbooks
from tests.docs.blocks import Block, blocks, pages, parse

BLOCKS = [block for page in pages() for block in blocks(page)]
MOST_NOT_RUN = 10
AGAINST = "against the server"
DRAWINGS = {"docs/architecture.md"}
GENERATED = {"docs/reference/commands.md"}
"""Its blocks are the usage lines of the command itself, which tests/unit/test_reference_pages.py holds against it."""


def of(*languages: str) -> Any:
    """A test for each block in one of the languages."""
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


def test_no_block_is_of_a_kind_that_nobody_checks() -> None:
    """Every block is in a language that a test here or in test_pages.py knows, or stands where it cannot be wrong."""
    known = {"sh", "yaml", "python", "json", "toml", "{toctree}", "Ctrl-C", "nginx", "ini"}
    others = [block for block in BLOCKS if block.language not in known]
    kinds = {"": DRAWINGS, "text": GENERATED}
    assert [block.place for block in others if block.page not in kinds.get(block.language, set())] == []


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    """The list of what is not run is short, and every entry has its reason."""
    left_out = {block.place: block.notes["not run"] for block in BLOCKS if "not run" in block.notes}
    assert len(left_out) <= MOST_NOT_RUN, left_out
    assert [place for place, reason in left_out.items() if len(reason.split()) < 5] == []


@of("sh")
def test_shell_is_shell(block: Block) -> None:
    """bash reads it, also where it is not run."""
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@of("yaml")
def test_yaml_is_a_playbook(block: Block) -> None:
    """It passes every check of a playbook that is stored."""
    try:
        playbooks.compiled(block)
    except DefinitionError as error:
        pytest.fail(f"{block.place}:\n" + "\n".join(str(fault) for fault in error.faults))


@of("json")
def test_json_is_json(block: Block) -> None:
    """It can be read."""
    json.loads(block.text)


@of("ini")
def test_a_unit_is_one_of_systemd(block: Block, tmp_path: Path) -> None:
    """systemd reads it, knows every line of it, and finds its programs where the suite has them."""
    unit = tmp_path / "stanchion.service"
    unit.write_text(block.text.replace("/opt/stanchion/.venv/bin", str(Path(sys.executable).parent)))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@of("toml")
def test_toml_is_toml(block: Block) -> None:
    """It can be read."""
    tomllib.loads(block.text)


@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if block.language == "python" and AGAINST not in block.notes})
)
def test_python_runs(page: str) -> None:
    """The blocks of a page run one after the other, and an action that they make keeps the rules of actions."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python" and AGAINST not in block.notes:
            exec(compile(block.text, block.place, "exec"), names)
    for kind in list(names.values()):
        if isinstance(kind, type) and issubclass(kind, Action) and kind is not Action:
            check_action(kind())


def test_a_block_is_found_with_its_place_its_notes_and_its_output() -> None:
    """What stands in comments and behind a block belongs to it."""
    page = "text\n\n<!-- exit: 1 -->\n```sh\nfalse\n```\n\n```text\nno\n```\n\n  ```yaml\n  a: 1\n  ```\n"
    first, second = parse(page, "a.md")
    assert (first.place, first.text, first.notes, first.prints) == ("a.md:4", "false\n", {"exit": "1"}, "no\n")
    assert (second.language, second.text, second.notes) == ("yaml", "a: 1\n", {})


@pytest.mark.parametrize("page", ["<!-- nut run: because -->\n", "<!-- exit: 1 -->\n\ntext\n"])
def test_a_comment_that_does_nothing_is_told(page: str) -> None:
    """A comment with a typing error, or before no block, is a fault and not silently nothing."""
    with pytest.raises(ValueError, match=r"a\.md:"):
        parse(page, "a.md")


def test_output_is_compared_but_for_ids_and_times() -> None:
    """What differs in every run is a pattern, everything else must be there."""
    shown = "exec-…  run  completed\n…\nat 2026-01-01T00:00:00Z took 5 ms\n"
    printed = "exec-aabb1122-3344-5566-7788-99aabbccddee run completed\nx\ny\nat 2027-02-02T11:11:11.123Z  took 7 ms\n"
    assert output.difference(shown, printed) is None
    assert output.difference(shown, printed.replace("completed", "failed")) is not None
    assert output.difference(shown, printed + "more\n") is not None
