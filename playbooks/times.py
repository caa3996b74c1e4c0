"""Timestamps and durations of CEL: their texts, their range and their getters.

Texts are RFC 3339 for timestamps, and for durations numbers with the units h, m, s, ms, us, ns (``1h30m``).  A getter
takes a fixed offset (``+02:00``) or UTC; names of zones are refused, since their rules change with the machine's
database and a replayed run would read other values.
"""

from __future__ import annotations

import datetime
import re

from playbooks.values import Duration, EvaluationError, Timestamp

SECOND = 1_000_000_000
_MIN = -62_135_596_800 * SECOND
_MAX = 253_402_300_800 * SECOND - 1
_DURATION_MAX = 315_576_000_000 * SECOND + SECOND - 1
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_UNITS = {"h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": 1_000_000, "us": 1000, "ns": 1}
_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,18}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_PIECE = re.compile(r"(\d{0,18})(?:\.(\d{0,18}))?(h|ms|m|s|us|ns)", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)


def timestamp(nanos: int) -> Timestamp:
    """The timestamp.  Raises EvaluationError outside of the years 1 to 9999."""
    if not _MIN <= nanos <= _MAX:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanos)


def duration(nanos: int) -> Duration:
    """The duration.  Raises EvaluationError beyond 10,000 years."""
    if abs(nanos) > _DURATION_MAX:
        raise EvaluationError("duration overflow")
    return Duration(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """A timestamp from RFC 3339.  Raises EvaluationError."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise EvaluationError(f"no timestamp of RFC 3339: {text[:60]}")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        days = datetime.date(year, month, day).toordinal() - _EPOCH_DAY
        datetime.time(hour, minute, second)
    except ValueError:
        raise EvaluationError(f"no such day or time: {text[:60]}") from None
    fraction = int((match[7] or "").ljust(9, "0")[:9])
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second - _offset(match[8], match[9], match[10])
    return timestamp(seconds * SECOND + fraction)


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> int:
    seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60
    if seconds >= 86_400 or int(minutes or 0) > 59:
        raise EvaluationError(f"no such offset: {hours}:{minutes}")
    return -seconds if sign == "-" else seconds


def format_timestamp(value: Timestamp) -> str:
    """RFC 3339 in UTC, the fraction in 0, 3, 6 or 9 digits, as protobuf's JSON writes it."""
    seconds, nanos = divmod(value.nanos, SECOND)
    return f"{_calendar(seconds).isoformat(sep='T')}{_fraction(nanos)}Z"


def parse_duration(text: str) -> Duration:
    """A duration such as ``1h30m`` or ``-1.5s``.  Raises EvaluationError."""
    body = text[1:] if text[:1] in ("-", "+") else text
    total, position = 0, 0
    if body != "0":
        while (match := _PIECE.match(body, position)) and (match[1] or match[2]):
            unit = _UNITS[match[3]]
            fraction = match[2] or ""
            total += int(match[1] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
            position = match.end()
        if position == 0 or position != len(body):
            raise EvaluationError(f"no duration: {text[:60]}")
    return duration(-total if text[:1] == "-" else total)


def format_duration(value: Duration) -> str:
    """Seconds with ``s``, the fraction in 0, 3, 6 or 9 digits."""
    seconds, nanos = divmod(abs(value.nanos), SECOND)
    return f"{'-' if value.nanos < 0 else ''}{seconds}{_fraction(nanos)}s"


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"


def _calendar(seconds: int) -> datetime.datetime:
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)  # noqa: DTZ001 - UTC by construction


def get_field(value: Timestamp, getter: str, zone: str = "UTC") -> int:
    """What the CEL function ``getter`` (``getFullYear`` …) says of ``value``.  Raises EvaluationError."""
    seconds, nanos = divmod(value.nanos, SECOND)
    if getter == "getMilliseconds":
        return nanos // 1_000_000
    try:
        moment = _calendar(seconds + zone_offset(zone))
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None
    fields = {
        "getFullYear": moment.year,
        "getMonth": moment.month - 1,
        "getDate": moment.day,
        "getDayOfMonth": moment.day - 1,
        "getDayOfWeek": moment.isoweekday() % 7,
        "getDayOfYear": moment.timetuple().tm_yday - 1,
        "getHours": moment.hour,
        "getMinutes": moment.minute,
        "getSeconds": moment.second,
    }
    return fields[getter]


def zone_offset(zone: str) -> int:
    """Seconds east of UTC.  Raises EvaluationError for the name of a zone."""
    if zone in ("UTC", "Z", ""):
        return 0
    match = _OFFSET.fullmatch(zone)
    if match is None:
        raise EvaluationError(f"time zones are UTC or an offset such as +02:00, not {zone[:60]}")
    return _offset(match[1], match[2], match[3])


def get_duration_field(value: Duration, getter: str) -> int:
    """What ``getHours``, ``getMinutes``, ``getSeconds`` or ``getMilliseconds`` says of a duration."""
    size = abs(value.nanos)
    if getter == "getMilliseconds":
        result = size % SECOND // 1_000_000
    else:
        result = size // {"getHours": 3600 * SECOND, "getMinutes": 60 * SECOND, "getSeconds": SECOND}[getter]
    return -result if value.nanos < 0 else result
