"""How the Phantom interface writes and reads times, numbers and values; and passwords."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.phantom import memory
from api.phantom.passwords import Passwords, fits, hashed
from api.phantom.wire import as_number, json_in, message_time, parse_time, pretty_time, time_of
from storage.phantom.filters import Condition
from storage.phantom.records import Query

MOMENT = 1_452_896_155_171


@pytest.mark.parametrize(
    ("milliseconds", "record", "message"),
    [
        (MOMENT, "2016-01-15T22:15:55.171000Z", "2016-01-15T22:15:55.171+00:00"),
        (MOMENT - 171 + 50, "2016-01-15T22:15:55.050000Z", "2016-01-15T22:15:55.05+00:00"),
        (MOMENT - 171, "2016-01-15T22:15:55.000000Z", "2016-01-15T22:15:55+00:00"),
        (None, None, None),
    ],
)
def test_times_as_they_are_written(milliseconds: int | None, record: str | None, message: str | None) -> None:
    """Six digits and Z in records; an offset and no trailing zeros inside of ``message``."""
    assert (time_of(milliseconds), message_time(milliseconds)) == (record, message)


@pytest.mark.parametrize(
    "text",
    [
        "2016-01-15T22:15:55.171000Z",
        "2016-01-15T22:15:55.171Z",
        "2016-01-15 22:15:55.171",
        "2016-01-15T23:15:55.171+01:00",
    ],
)
def test_times_as_they_are_read(text: str) -> None:
    """Any ISO 8601; without an offset it is UTC."""
    assert parse_time(text) == MOMENT


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+01:00", "10000-01-01", "now", ""])
def test_times_that_could_not_be_shown_again(text: str) -> None:
    """One such time in a record would break every list that it stands in."""
    with pytest.raises((ValueError, OverflowError)):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested deeper"),
        ('{"a": NaN}', "a value is expected"),
        ('{"a": "\\u0000"}', "NUL"),
        ("{", "a key"),
        ('{"a": 1, "a": 2}', "stands twice"),
    ],
)
def test_json_in_a_string_is_held_to_the_limits_of_a_body(text: str, reason: str) -> None:
    """Depth, numbers and text, as anywhere else."""
    with pytest.raises(ValueError, match=reason):
        json_in(text)


@given(st.integers(0, 253_402_300_799_999))
def test_a_written_time_reads_back(milliseconds: int) -> None:
    """In both forms."""
    for text in (time_of(milliseconds), message_time(milliseconds)):
        assert text is not None
        assert parse_time(text) == milliseconds


def test_how_long_ago() -> None:
    """In the largest unit that fits."""
    assert pretty_time(0, 90_000) == "1 minute ago"
    assert pretty_time(3 * 86_400_000, 0) == "in 3 days"
    assert pretty_time(5, 6) == "now"


@pytest.mark.parametrize(
    ("value", "number"),
    [(42, 42), ("42", 42), (" 42 ", 42), (42.0, 42), (True, None), ("4x", None), (-1, None), (2**31, None), ("٤", None),
     (4.5, None), (None, None), ([], None)],
)  # fmt: skip
def test_numbers_of_records(value: Any, number: int | None) -> None:
    """A number, or digits in a string."""
    assert as_number(value) == number


def test_a_password_is_kept_as_a_hash() -> None:
    """With a salt of its own; only the right one fits."""
    kept, again = hashed("correct horse"), hashed("correct horse")
    assert kept != again
    assert "correct" not in kept
    assert fits("correct horse", kept)
    assert not fits("correct horse ", kept)


async def test_a_right_password_is_remembered_and_a_wrong_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that polls pays once; another hash, as after a change, is checked anew."""
    from api.phantom import passwords as module

    tries = 0
    original = module.fits

    def counted(password: str, kept: str) -> bool:
        nonlocal tries
        tries += 1
        return original(password, kept)

    monkeypatch.setattr(module, "fits", counted)
    passwords, kept = Passwords(), hashed("right")
    for _ in range(5):
        assert await passwords.check("eve", "right", kept)
    assert tries == 1
    for _ in range(2):
        assert not await passwords.check("eve", "wrong", kept)
    assert tries == 3
    assert not await passwords.check("eve", "right", hashed("other"))
    assert not await passwords.check("eve", "right", None)
    assert not await passwords.check("mallory", "right", None)


FIELDS = memory.declared({"id": "number", "name": "text", "time": "time", "owner": "number"})
ROWS: list[dict[str, Any]] = [
    {"id": 1, "name": "Alpha", "time": "2016-01-15T22:15:55.171000Z", "owner": 1},
    {"id": 2, "name": "beta", "time": "2017-01-15T22:15:55.171000Z", "owner": None},
    {"id": 3, "name": None, "time": None, "owner": 2},
]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (Condition("name", "exact", "Alpha"), [1]),
        (Condition("name", "iexact", "ALPHA"), [1]),
        (Condition("name", "contains", "et"), [2]),
        (Condition("name", "icontains", "ET"), [2]),
        (Condition("name", "istartswith", "B"), [2]),
        (Condition("name", "iendswith", "A"), [1, 2]),
        (Condition("name", "regex", "^[A-Z]"), [1]),
        (Condition("name", "iregex", "^b"), [2]),
        (Condition("name", "isnull", True), [3]),
        (Condition("owner", "in", [1, 2]), [1, 3]),
        (Condition("owner", "gt", 1), [3]),
        (Condition("owner", "exact", 1, exclude=True), [2, 3]),
        (Condition("id", "range", [2, 3]), [2, 3]),
        (Condition("time", "lt", MOMENT + 1), [1]),
        (Condition("time", "gte", MOMENT + 1), [2]),
    ],
)
def test_lists_in_memory_are_filtered_like_those_of_the_database(condition: Condition, found: list[int]) -> None:
    """The same words mean the same."""
    rows, total = memory.page_of(ROWS, FIELDS, Query([condition]))
    assert ([row["id"] for row in rows], total) == (found, len(found))


def test_lists_in_memory_have_order_and_pages() -> None:
    """What is null comes first, or last."""
    assert [row["id"] for row in memory.page_of(ROWS, FIELDS, Query(sort="name"))[0]] == [3, 1, 2]
    assert [row["id"] for row in memory.page_of(ROWS, FIELDS, Query(sort="name", descending=True))[0]] == [2, 1, 3]
    assert [row["id"] for row in memory.page_of(ROWS, FIELDS, Query(page=1, size=2))[0]] == [3]
    assert len(memory.page_of(ROWS, FIELDS, Query(size=0))[0]) == 3
