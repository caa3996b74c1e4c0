"""Differences of JSON values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.differences import differences

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_equal_values_do_not_differ(value: object) -> None:
    """A value is like itself."""
    assert differences(value, value) == []


@given(json_values, json_values)
def test_unequal_values_differ_somewhere(left: object, right: object) -> None:
    """Two values without a difference have the same JSON text."""
    import json

    same = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    assert (differences(left, right) == []) == same


def test_each_difference_names_its_place() -> None:
    """Added, removed and changed parts, each with its JSON Pointer, in order."""
    left = {"a": 1, "gone": True, "list": [1, 2], "a/b": 1}
    right = {"a": 2, "list": [1, 3, 4], "a/b": 2, "new": None}
    assert differences(left, right) == [
        {"path": "/a", "kind": "changed", "left": 1, "right": 2},
        {"path": "/gone", "kind": "removed", "left": True},
        {"path": "/list/1", "kind": "changed", "left": 2, "right": 3},
        {"path": "/list/2", "kind": "added", "right": 4},
        {"path": "/a~1b", "kind": "changed", "left": 1, "right": 2},
        {"path": "/new", "kind": "added", "right": None},
    ]


def test_true_is_not_one() -> None:
    """JSON tells booleans and numbers apart."""
    assert len(differences({"x": True}, {"x": 1})) == 1
