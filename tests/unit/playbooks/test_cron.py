"""Times in the words of cron."""

from __future__ import annotations

import pytest

from playbooks.cron import Range, parse_cron


def numbers(ranges: tuple[Range, ...]) -> list[int]:
    """Every number in the ranges, in order."""
    return sorted({number for found in ranges for number in range(found.start, found.end + 1, found.step)})


@pytest.mark.parametrize(
    ("text", "minute", "hour"),
    [
        ("* * * * *", list(range(60)), list(range(24))),
        ("5 2 * * *", [5], [2]),
        ("*/20 8-10 * * *", [0, 20, 40], [8, 9, 10]),
        ("1-5/2,30 */6 * * *", [1, 3, 5, 30], [0, 6, 12, 18]),
        ("50/3 0 * * *", [50, 53, 56, 59], [0]),
        ("@hourly", [0], list(range(24))),
        (" @DAILY ", [0], [0]),
    ],
)
def test_minutes_and_hours(text: str, minute: list[int], hour: list[int]) -> None:
    """Numbers, ranges, lists, steps and names for the whole."""
    [calendar] = parse_cron(text)
    assert (numbers(calendar.minute), numbers(calendar.hour)) == (minute, hour)


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("sun", [0]),
        ("7", [0]),
        ("0", [0]),
        ("MON-FRI", [1, 2, 3, 4, 5]),
        ("5-7", [0, 5, 6]),
        ("1-7/2", [0, 1, 3, 5]),
        ("2-7/2", [2, 4, 6]),
        ("*/2", [0, 2, 4, 6]),
        ("sat,sun", [0, 6]),
    ],
)
def test_weekdays(field: str, days: list[int]) -> None:
    """By name or number; Sunday is 0 and 7."""
    [calendar] = parse_cron(f"0 0 * * {field}")
    assert numbers(calendar.day_of_week) == days


def test_months_by_name() -> None:
    """Three letters, in any case."""
    [calendar] = parse_cron("0 0 1 jan,Jul-SEP *")
    assert numbers(calendar.month) == [1, 7, 8, 9]


def test_day_and_weekday_both_narrowed_mean_either() -> None:
    """As in every cron: the 13th, and every Friday."""
    thirteenth, friday = parse_cron("0 0 13 * fri")
    assert (numbers(thirteenth.day_of_month), numbers(thirteenth.day_of_week)) == ([13], list(range(7)))
    assert (numbers(friday.day_of_month), numbers(friday.day_of_week)) == (list(range(1, 32)), [5])


def test_a_star_with_a_step_narrows_nothing_in_the_rule_of_either() -> None:
    """``*/2`` begins with a star, and so both must hold."""
    assert len(parse_cron("0 0 */2 * fri")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "the minute '60' is not a number from 0 to 59"),
        ("* 24 * * *", "the hour '24'"),
        ("* * 0 * *", "the day of the month '0'"),
        ("* * * 13 *", "the month '13'"),
        ("* * * * 8", "the day of the week '8'"),
        ("* * * * funday", "'funday'"),
        ("5-1 * * * *", "ends before it begins"),
        ("*/0 * * * *", "the step '0'"),
        ("*/x * * * *", "the step 'x'"),
        ("1,,2 * * * *", "''"),
        ("-1 * * * *", "''"),
        ("٣ * * * *", "is not a number"),
        ("0 0 30 2 *", "no month 2 has a day 30"),
        ("0 0 31 9,11 *", "no month 9,11 has a day 31"),
        ("0 0 31 apr,jun *", "no month apr,jun has a day 31"),
        (",".join(["1"] * 101) + " * * * *", "more than 100 parts"),
        ("99999999999999999999 * * * *", "is not a number"),
    ],
)
def test_what_is_no_schedule(text: str, message: str) -> None:
    """The message names the field and what is wrong in it."""
    with pytest.raises(ValueError, match=message):
        parse_cron(text)


def test_a_day_that_some_month_has_is_a_schedule() -> None:
    """The 29th of February, and the 31st of the months that have one."""
    assert parse_cron("0 0 29 2 *")
    assert parse_cron("0 0 31 * *")
    assert all(parse_cron(f"0 0 31 {month} *") for month in (1, 3, 5, 7, 8, 10, 12))
    assert all(parse_cron(f"0 0 30 {month} *") for month in (4, 6, 9, 11))
    assert parse_cron("0 0 30 2 fri")
