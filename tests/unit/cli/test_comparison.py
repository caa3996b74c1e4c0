"""Differences as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from cli.comparison import difference_line


@pytest.mark.parametrize(
    ("difference", "line"),
    [
        ({"path": "/output/id", "kind": "changed", "left": None, "right": 7}, "/output/id: null -> 7"),
        ({"path": "/output/x", "kind": "added", "right": "a"}, '/output/x: only right: "a"'),
        ({"path": "", "kind": "removed", "left": [1]}, "/: only left: [1]"),
    ],
)
def test_difference_names_place_and_values(difference: dict[str, Any], line: str) -> None:
    """Each kind of difference is one line with its place."""
    assert difference_line(difference) == line


def test_long_value_is_cut() -> None:
    """A value that would fill the screen is cut."""
    line = difference_line({"path": "/o", "kind": "added", "right": "x" * 1000})
    assert len(line) < 100
