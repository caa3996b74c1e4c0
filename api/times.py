"""Times on the wire: RFC 3339, UTC, trailing ``Z``; milliseconds since the epoch inside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST = -62_135_596_800_000  # 0001-01-01T00:00:00Z
_LAST = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


@overload
def iso(milliseconds: int) -> str: ...
@overload
def iso(milliseconds: None) -> None: ...
def iso(milliseconds: int | None) -> str | None:
    """``2026-04-28T11:00:00Z``; with ``.123`` when the second is not whole; None stays None."""
    if milliseconds is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    precision = "milliseconds" if milliseconds % 1000 else "seconds"
    return moment.isoformat(timespec=precision).removesuffix("+00:00") + "Z"


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
    # An offset can move a time out of the years that have four digits.
    return min(max((moment - _EPOCH) // _MILLISECOND, _FIRST), _LAST)
