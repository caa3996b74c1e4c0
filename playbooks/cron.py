"""Times of a schedule in the words of cron: ``minute hour day month weekday`` (POSIX, *crontab*; names as in Vixie's).

A field is ``*``, a number, a range, a list of these, each with a step ``/n``.  Where both the day and the weekday are
narrowed, a day that fits either of them counts, as in every cron.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MAX_PARTS: Final = 100

ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class Range:
    """Every ``step``th number from ``start`` to ``end``, both included."""

    start: int
    end: int
    step: int = 1


Ranges = tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Times that fit all of the fields; weekdays count from Sunday, which is 0."""

    minute: Ranges
    hour: Ranges
    day_of_month: Ranges
    month: Ranges
    day_of_week: Ranges


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def ranges(self, text: str) -> Ranges:
        """The numbers that ``text`` stands for.  Raises ValueError."""
        parts = text.split(",")
        if len(parts) > _MAX_PARTS:
            raise ValueError(f"the {self.name} has more than {_MAX_PARTS} parts")
        return tuple(found for part in parts for found in self._part(part))

    def _part(self, text: str) -> list[Range]:
        span, slash, step_text = text.partition("/")
        step = self._step(step_text) if slash else 1
        if span == "*":
            return [Range(self.low, min(self.high, 6) if self.names is _DAYS else self.high, step)]
        first, dash, last = span.partition("-")
        start = self._number(first)
        end = self._number(last) if dash else (self.high if slash else start)
        if end < start:
            raise ValueError(f"the {self.name} {span!r} ends before it begins")
        return self._sundays(Range(start, end, step))

    def _sundays(self, found: Range) -> list[Range]:
        """Sunday is 0 and 7 in cron, and 0 alone in Temporal."""
        if self.names is not _DAYS or found.end < 7:
            return [found]
        has_seventh = (7 - found.start) % found.step == 0
        week = [Range(found.start, 6, found.step)] if found.start < 7 else []
        return [*week, Range(0, 0)] if has_seventh else week

    def _step(self, text: str) -> int:
        if not _is_number(text) or not 1 <= int(text) <= self.high:
            raise ValueError(f"the step {text!r} of the {self.name} is not a number from 1 to {self.high}")
        return int(text)

    def _number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + (1 if self.names is _MONTHS else 0)
        if not _is_number(text) or not self.low <= int(text) <= self.high:
            raise ValueError(f"the {self.name} {text!r} is not a number from {self.low} to {self.high}")
        return int(text)


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


def parse_cron(text: str) -> list[Calendar]:
    """The calendars that ``text`` stands for: a time counts that fits one of them.  Raises ValueError."""
    fields = ALIASES.get(text.strip().lower(), text).split()
    if len(fields) != len(_FIELDS):
        raise ValueError("a schedule has five fields: minute, hour, day of the month, month, day of the week")
    minute, hour, day, month, weekday = (field.ranges(given) for field, given in zip(_FIELDS, fields, strict=True))
    _check_day(day, month, fields)
    any_day, any_weekday = fields[2].startswith("*"), fields[4].startswith("*")
    if any_day or any_weekday:
        return [Calendar(minute, hour, day, month, weekday)]
    every_day, every_weekday = (Range(1, 31),), (Range(0, 6),)
    return [Calendar(minute, hour, day, month, every_weekday), Calendar(minute, hour, every_day, month, weekday)]


def _check_day(day: Ranges, month: Ranges, fields: list[str]) -> None:
    """Refuses a day that no month of the schedule has, such as the 30th of February."""
    longest = max(31 if number in (1, 3, 5, 7, 8, 10, 12) else 29 if number == 2 else 30 for number in _numbers(month))
    if fields[4].startswith("*") and min(_numbers(day)) > longest:
        raise ValueError(f"no month {fields[3]} has a day {fields[2]}: the schedule would never run")


def _numbers(ranges: Ranges) -> list[int]:
    return [number for found in ranges for number in range(found.start, found.end + 1, found.step)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4
