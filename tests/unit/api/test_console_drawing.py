"""The flow of a playbook, the difference of two texts, and how pages write durations and times."""

from __future__ import annotations

from pathlib import Path

import pytest

from activities.catalogue import load_catalogue
from api.console import words
from api.console.flow import Node, draw
from api.console.lines import compared
from playbooks.compile import compile_playbook

LIBRARY = Path(__file__).parents[3] / "playbooks" / "library"

TEXT = """\
name: Everything
parameters: {type: object, properties: {hosts: {type: array, items: {type: string}}}}
steps:
  - {id: look, name: Look, action_ref: core.echo, parameters: {}}
  - {id: prod, name: Is it prod, type: condition, expression: "asset.tags.env == 'prod'", on_true: ask, on_false: end}
  - {id: ask, name: Ask, type: approval, message: "Go?", timeout: 4h, approvers: [lead], on_timeout: undo}
  - id: both
    name: Both
    type: parallel
    branches:
      - [{id: left, name: Left, action_ref: core.echo, parameters: {}}]
      - [{id: right, name: Right, action_ref: core.echo, when: "asset.name != ''", parameters: {}}]
  - {id: each, name: Each, type: foreach, items: "parameters.hosts", concurrency: 3,
     steps: [{id: one, name: One, action_ref: core.echo, parameters: {}}]}
  - {id: fix, name: Fix, action_ref: core.sleep, parameters: {seconds: 1}, timeout: 90s, on_failure: undo}
  - {id: undo, name: Undo, run: on_failure_only, action_ref: core.echo, parameters: {}}
always:
  - {id: tidy, name: Tidy, action_ref: core.echo, parameters: {}}
"""


def drawn(text: str) -> dict[str, Node]:
    """Every node of the drawing, by its id."""
    compiled = compile_playbook(text.encode(), "yaml", load_catalogue().specs())
    drawing = draw(compiled.plan, compiled.definition)
    found: dict[str, Node] = {}

    def note(nodes: object) -> None:
        assert isinstance(nodes, list | tuple)
        for node in nodes:
            found[node.id] = node
            for lane in node.lanes:
                note(lane)

    note(drawing.main)
    note(drawing.always)
    return found


def test_every_step_is_drawn_with_what_it_says() -> None:
    """Blocks hold their steps, conditions and handlers name where they lead, expressions are as they were written."""
    nodes = drawn(TEXT)
    assert list(nodes) == ["look", "prod", "ask", "both", "left", "right", "each", "one", "fix", "undo", "tidy"]
    assert [[node.id for node in lane] for lane in nodes["both"].lanes] == [["left"], ["right"]]
    assert [(way.label, way.step or way.name) for way in nodes["prod"].ways] == [
        ("if true", "ask"),
        ("if false", "end"),
    ]
    assert nodes["prod"].told == "asset.tags.env == 'prod'"
    assert nodes["right"].condition == "asset.name != ''"
    assert nodes["each"].told == "for each of parameters.hosts"
    assert [(way.label, way.step) for way in nodes["fix"].ways] == [("on failure", "undo")]
    assert [(way.label, way.step) for way in nodes["ask"].ways] == [("on time-out", "undo")]
    assert list(nodes["ask"].marks) == ["by lead", "within 4 h"]
    assert "1 min 30 s at most" in nodes["fix"].marks
    assert nodes["undo"].on_failure_only


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_playbooks_are_drawn(path: Path) -> None:
    """Each step of each shipped playbook has its node."""
    compiled = compile_playbook(path.read_bytes(), "yaml", load_catalogue().specs())
    assert sorted(drawn(path.read_text())) == sorted(step.id for step in compiled.plan.steps)


def test_difference_shows_changes_with_their_surroundings() -> None:
    """Lines that stay far from a change are left out; numbers count in each text by itself."""
    before = "\n".join(f"line {number}" for number in range(1, 21))
    after = before.replace("line 10\n", "line ten\nand a half\n")
    lines = compared(before, after)
    assert [(line.kind, line.before, line.after) for line in lines if line.kind in ("added", "removed")] == [
        ("removed", 10, None),
        ("added", None, 10),
        ("added", None, 11),
    ]
    assert lines[0].kind == "gap"
    assert [line.text for line in lines if line.kind == "same"] == [
        f"line {number}" for number in (6, 7, 8, 9, 11, 12, 13, 14)
    ]
    assert compared(before, before) == []


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1 s"),
        (59_949, "59.9 s"),
        (60_000, "1 min"),
        (184_000, "3 min 4 s"),
        (7_500_000, "2 h 5 min"),
        (273_600_000, "3 d 4 h"),
    ],
)
def test_durations(milliseconds: int | None, text: str) -> None:
    """Two units at most, the smaller one only where it is not zero."""
    assert words.duration(milliseconds) == text


def test_texts_cannot_become_markup() -> None:
    """A time is put into markup; what is no time is refused, and never comes through."""
    assert str(words.moment("2026-04-28T11:00:00Z")).startswith('<time datetime="2026-04-28T11:00:00Z"')
    with pytest.raises(ValueError, match="isoformat"):
        words.moment("<script>")
