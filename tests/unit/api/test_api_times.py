"""Times on the wire."""

from __future__ import annotations

import pytest

from api.times import iso, parse_iso


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (1_777_374_000_000, "2026-04-28T11:00:00Z"),
        (1_777_374_000_123, "2026-04-28T11:00:00.123Z"),
        (1_777_374_000_100, "2026-04-28T11:00:00.100Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-59_011_459_200_000, "0100-01-01T00:00:00Z"),
    ],
)
def test_iso(milliseconds: int, text: str) -> None:
    """Times are RFC 3339 with a trailing Z, milliseconds only where there are some; and they read back."""
    assert iso(milliseconds) == text
    assert parse_iso(text) == milliseconds


def test_no_time() -> None:
    """No time is no text."""
    assert iso(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-28T13:00:00+02:00",
        "2026-04-28t11:00:00z",
        "2026-04-28 11:00:00Z",
        "2026-04-28T11:00:00.000000Z",
        "2026-04-28T11:00:00.0004999Z",
    ],
)
def test_parse(text: str) -> None:
    """Offsets, lower case, a space and long fractions are read as RFC 3339 says."""
    assert parse_iso(text) == 1_777_374_000_000


@pytest.mark.parametrize(
    "text", ["", "2026-04-28", "2026-04-28T11:00:00", "20260428T110000Z", "2026-04-28T25:00:00Z", "now", "1777374000"]
)
def test_no_such_time(text: str) -> None:
    """A time without an offset, and what is no time, are refused."""
    with pytest.raises(ValueError, match=r"time|hour|isoformat"):
        parse_iso(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_edges(text: str) -> None:
    """A time that its offset moves out of the calendar is taken to its edge, and can be written again."""
    assert parse_iso(iso(parse_iso(text))) == parse_iso(text)
