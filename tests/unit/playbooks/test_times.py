"""Timestamps and durations: texts, range and getters, held to the calendar of Python where that reaches."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.fields import parse_duration as parse_step_duration
from playbooks.times import (
    SECOND,
    duration,
    format_duration,
    format_timestamp,
    get_duration_field,
    get_field,
    parse_duration,
    parse_timestamp,
    timestamp,
    zone_offset,
)
from playbooks.values import Duration, EvaluationError, Timestamp

FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"
LONGEST = 315_576_000_000 * SECOND + SECOND - 1
HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:00:00-05:00", 0),
        ("1970-01-01T00:00:00.5Z", SECOND // 2),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T00:00:00.0000000019Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
        (FIRST, -62_135_596_800 * SECOND),
        (LAST, 253_402_300_800 * SECOND - 1),
        ("0001-01-01T23:59:00+23:59", -62_135_596_800 * SECOND),
    ],
)
def test_timestamps_are_read(text: str, nanos: int) -> None:
    """RFC 3339, with any fixed offset, cut to nanoseconds."""
    assert parse_timestamp(text) == Timestamp(nanos)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no timestamp of RFC 3339: "),
        ("1970-01-01", "no timestamp of RFC 3339: 1970-01-01"),
        ("1970-01-01T00:00:00", "no timestamp of RFC 3339: 1970-01-01T00:00:00"),
        ("1970-01-01 00:00:00Z", "no timestamp of RFC 3339: 1970-01-01 00:00:00Z"),
        ("1970-01-01T00:00:00.Z", "no timestamp of RFC 3339: 1970-01-01T00:00:00.Z"),
        ("1970-01-01T00:00:00Z\n", "no timestamp of RFC 3339: 1970-01-01T00:00:00Z\n"),
        ("٠٩٧٠-01-01T00:00:00Z", "no timestamp of RFC 3339: ٠٩٧٠-01-01T00:00:00Z"),
        ("0000-01-01T00:00:00Z", "no such day or time: 0000-01-01T00:00:00Z"),
        ("2023-02-29T00:00:00Z", "no such day or time: 2023-02-29T00:00:00Z"),
        ("1970-01-01T24:00:00Z", "no such day or time: 1970-01-01T24:00:00Z"),
        ("1970-01-01T00:00:60Z", "no such day or time: 1970-01-01T00:00:60Z"),
        ("1970-01-01T00:00:00+24:00", "no such offset: 24:00"),
        ("1970-01-01T00:00:00+00:60", "no such offset: 00:60"),
        ("0001-01-01T00:00:00+00:01", "timestamp overflow"),
        ("9999-12-31T23:59:59-00:01", "timestamp overflow"),
        ("x" * 100_000, "no timestamp of RFC 3339: " + "x" * 60),
    ],
)
def test_what_is_no_timestamp(text: str, message: str) -> None:
    """Days and times that there are not, and years outside of 1 to 9999, are refused with what was written."""
    with pytest.raises(EvaluationError) as caught:
        parse_timestamp(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1000, "1970-01-01T00:00:00.000001Z"),
        (500_000_000, "1970-01-01T00:00:00.500Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_timestamps_are_written(nanos: int, text: str) -> None:
    """In UTC, the fraction in three, six or nine digits."""
    assert format_timestamp(Timestamp(nanos)) == text


@given(st.integers(-62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1))
def test_timestamps_come_back(nanos: int) -> None:
    """What is written is read as the same moment."""
    assert parse_timestamp(format_timestamp(Timestamp(nanos))) == Timestamp(nanos)


@pytest.mark.parametrize("nanos", [-62_135_596_800 * SECOND - 1, 253_402_300_800 * SECOND])
def test_the_range_of_timestamps(nanos: int) -> None:
    """The years 1 to 9999."""
    with pytest.raises(EvaluationError, match="timestamp overflow"):
        timestamp(nanos)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("1h30m", HOUR + HOUR // 2),
        ("1.5s", SECOND * 3 // 2),
        ("-1.5s", -SECOND * 3 // 2),
        ("+2m", 120 * SECOND),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("1ms2us3ns", 1_002_003),
        ("1s1h", HOUR + SECOND),
        ("0.9ns", 0),
        ("87660000h", 315_576_000_000 * SECOND),
        ("315576000000s999999999ns", LONGEST),
        ("-315576000000s999999999ns", -LONGEST),
    ],
)
def test_durations_are_read(text: str, nanos: int) -> None:
    """Numbers with units, in any order, with a sign before them."""
    assert parse_duration(text) == Duration(nanos)


@pytest.mark.parametrize(
    "text", ["", "-", "1", "s", ".s", "1 s", "1s ", "1d", "1s-1s", "--1s", "1e3s", "1,5s", "٣s", "0x1s", "1µs", "00"]
)
def test_what_is_no_duration(text: str) -> None:
    """A number without a unit, a unit without a number, and any other unit."""
    with pytest.raises(EvaluationError, match="no duration: "):
        parse_duration(text)


@pytest.mark.parametrize("text", ["315576000001s", "-87660001h", "999999999999999999h"])
def test_the_range_of_durations(text: str) -> None:
    """Ten thousand years each way."""
    with pytest.raises(EvaluationError, match="duration overflow"):
        parse_duration(text)


@given(st.integers(-LONGEST, LONGEST))
def test_durations_come_back(nanos: int) -> None:
    """What is written is read as the same duration."""
    assert parse_duration(format_duration(duration(nanos))) == Duration(nanos)


@pytest.mark.parametrize(
    ("nanos", "text"), [(0, "0s"), (SECOND, "1s"), (-SECOND // 2, "-0.500s"), (1, "0.000000001s"), (90 * SECOND, "90s")]
)
def test_durations_are_written(nanos: int, text: str) -> None:
    """In seconds, the fraction in three, six or nine digits."""
    assert format_duration(Duration(nanos)) == text


@pytest.mark.parametrize(
    ("getter", "value"),
    [
        ("getFullYear", 2024),
        ("getMonth", 1),
        ("getDate", 29),
        ("getDayOfMonth", 28),
        ("getDayOfWeek", 4),
        ("getDayOfYear", 59),
        ("getHours", 23),
        ("getMinutes", 58),
        ("getSeconds", 57),
        ("getMilliseconds", 123),
    ],
)
def test_getters(getter: str, value: int) -> None:
    """They count as CEL says: months, days of the month and of the year from 0, Sunday is 0."""
    assert get_field(parse_timestamp("2024-02-29T23:58:57.123456Z"), getter) == value


@pytest.mark.parametrize(
    ("zone", "hours", "day"),
    [("UTC", 23, 29), ("Z", 23, 29), ("", 23, 29), ("+02:00", 1, 1), ("02:00", 1, 1), ("-23:30", 0, 29)],
)
def test_getters_in_a_zone(zone: str, hours: int, day: int) -> None:
    """A fixed offset may move the hour and the day."""
    moment = parse_timestamp("2024-02-29T23:58:57Z")
    assert (get_field(moment, "getHours", zone), get_field(moment, "getDate", zone)) == (hours, day)


@given(st.datetimes(min_value=datetime.datetime(1, 1, 2), max_value=datetime.datetime(9999, 12, 30)))  # noqa: DTZ001
def test_getters_agree_with_the_calendar(moment: datetime.datetime) -> None:
    """Year, day of the year and weekday are those of Python."""
    value = parse_timestamp(moment.isoformat() + "Z")
    fields = [get_field(value, getter) for getter in ("getFullYear", "getDayOfYear", "getDayOfWeek")]
    assert fields == [moment.year, int(moment.strftime("%j")) - 1, int(moment.strftime("%w"))]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "CET", "utc", "+2:00", "+02", "+0200"])
def test_zones_with_a_name(zone: str) -> None:
    """The rules of a zone change with the machine, so a replayed run could read another hour."""
    with pytest.raises(EvaluationError, match="time zones are UTC or an offset"):
        zone_offset(zone)


@pytest.mark.parametrize("zone", ["+24:00", "-00:60"])
def test_offsets_that_there_are_not(zone: str) -> None:
    """An offset is less than a day."""
    with pytest.raises(EvaluationError, match="no such offset"):
        zone_offset(zone)


@pytest.mark.parametrize(("text", "zone"), [(FIRST, "-00:01"), (LAST, "+00:01")])
def test_getters_beyond_the_calendar(text: str, zone: str) -> None:
    """An offset may lead out of the years that there are."""
    with pytest.raises(EvaluationError, match="timestamp overflow"):
        get_field(parse_timestamp(text), "getFullYear", zone)


@pytest.mark.parametrize(
    ("getter", "value"), [("getHours", 1), ("getMinutes", 90), ("getSeconds", 5400), ("getMilliseconds", 250)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_getters_of_durations(getter: str, value: int, sign: int) -> None:
    """Whole hours, minutes or seconds of all of it, cut towards zero; milliseconds are those of the second."""
    assert get_duration_field(Duration(sign * (5400 * SECOND + 250_999_999)), getter) == sign * value


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30s", 30.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("1d", 86_400.0),
        ("366d", 366 * 86_400.0),
        (0, 0.0),
        (2.5, 2.5),
    ],
)
def test_durations_of_steps(value: object, seconds: float) -> None:
    """A step says it with units, days among them, or as a number of seconds."""
    assert parse_step_duration(value) == seconds


@pytest.mark.parametrize(
    "value", ["", "30", "s", "1 h", "-1s", "1h ", "1w", "1µs", "٣s", "367d", -0.1, float("inf"), float("nan"), True]
)
def test_what_is_no_duration_of_a_step(value: object) -> None:
    """Anything else, and more than 366 days, is refused."""
    with pytest.raises(ValueError, match="duration"):
        parse_step_duration(value)
