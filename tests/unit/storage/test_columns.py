"""The column types, without a database."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.columns import dump, pack, unpack

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_what_is_packed_is_unpacked(value: object) -> None:
    """Any JSON value comes back as it was."""
    assert unpack(pack(value)) == value


def test_a_large_value_is_compressed() -> None:
    """Ten thousand equal steps take a few hundred bytes."""
    assert len(pack([["c", 1, 2, 1]] * 10_000)) < 500


@pytest.mark.parametrize("value", ["x" * 50, {"x": 1}, "xyz" * 1000, None, 0])
def test_short_and_long_values_are_told_apart(value: object) -> None:
    """A value that looks like a compressed one is not taken for it."""
    assert unpack(pack(value)) == value


def test_json_is_compact_and_readable() -> None:
    """No spaces, no escapes."""
    assert dump({"a": [1, "é"]}) == '{"a":[1,"é"]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_know_are_null(number: float) -> None:
    """Wherever they stand."""
    assert dump({"a": [number, (number, 1)]}) == '{"a":[null,[null,1]]}'


def test_lone_surrogates_are_replaced() -> None:
    """They are no UTF-8; pairs are."""
    assert dump("a\ud800😀") == '"a?😀"'
