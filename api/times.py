"""Times on the wire: RFC 3339, UTC, trailing ``Z``; milliseconds since the epoch inside."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def now_ms() -> int:
    """Now, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@overload
def iso(milliseconds: int) -> str: ...
@overload
def iso(milliseconds: None) -> None: ...
def iso(milliseconds: int | None) -> str | None:
    """``2026-04-28T11:00:00Z``; with ``.123`` when the second is not whole; None stays None."""
    if milliseconds is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    rest = milliseconds % 1000
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def parse_iso(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; any offset, parts of a millisecond dropped.

    Raises:
        ValueError: ``text`` is no such time, or has no offset (RFC 3339 §5.6 requires one).
    """
    if len(text) < 20 or text[10] not in "Tt ":
        raise ValueError("not an RFC 3339 time such as 2026-04-28T11:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        raise ValueError("the time has no offset; write Z for UTC")
    return (moment - _EPOCH) // _MILLISECOND
