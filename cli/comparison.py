"""The comparison of two executions for people: which steps went alike, and what the others differ in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cli.output import console, say, table

if TYPE_CHECKING:
    from stanchion_client.models import ComparedSide, Comparison, Difference

VALUE_LENGTH = 60
COLUMNS = ("step", "left", "right", "")


def print_comparison(comparison: Comparison) -> None:
    """Prints each step's state on both sides, and each place where the sides differ."""
    for side, summary in (("left", comparison["left"]), ("right", comparison["right"])):
        say(f"{side:<6} {summary['execution_id']}  {'dry run' if summary['dry_run'] else 'run'}  {summary['status']}")
    rows: list[list[Any]] = []
    for step in comparison["steps"]:
        remark = "same" if step["same"] else f"{len(step['differences'])} different"
        rows.append([step["name"], _status(step["left"]), _status(step["right"]), remark])
    console().print(table(COLUMNS, rows))
    for step in comparison["steps"]:
        for difference in step["differences"]:
            say(f"  {step['name']}: {difference_line(difference)}")


def difference_line(difference: Difference) -> str:
    """One line on one difference."""
    left, right = _short(difference.get("left")), _short(difference.get("right"))
    path = difference["path"] or "/"
    if difference["kind"] == "added":
        return f"{path}: only right: {right}"
    if difference["kind"] == "removed":
        return f"{path}: only left: {left}"
    return f"{path}: {left} -> {right}"


def _status(side: ComparedSide | None) -> str:
    return "absent" if side is None else str(side["status"])


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"
