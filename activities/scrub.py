"""Keeps secret values out of everything that leaves the action: outputs, errors and log records."""

from __future__ import annotations

import base64
import html
import logging
import re
import string
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from playbooks.record import Json

MASK = "***"
SHORTEST_FORM = 4
SHORTEST_LINE = 8
UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
"""Characters that nothing escapes (RFC 3986, section 2.3)."""

JSON_ESCAPES = {'"': r"\"", "\\": r"\\", "/": r"\/", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


class Scrubber:
    """Replaces secret values by ``***``, also where they stand URL-encoded, JSON- or HTML-escaped, in base64 or hex."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        # Longest first: a shorter value may be part of a longer one, and would leave its rest behind.
        self._values = sorted({value for value in values if value}, key=lambda value: (-len(value), value))
        parts = dict.fromkeys(part for value in self._values for part in _parts(value))
        self._written = re.compile("|".join(_written(part) for part in parts))
        encoded = {form for part in parts for form in _encodings(part) if len(form) >= SHORTEST_FORM}
        self._encoded = sorted(encoded, key=lambda form: (-len(form), form))

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, text: str) -> str:
        """``text`` without secret values."""
        if not self._values:
            return text
        for form in self._encoded:
            text = text.replace(form, MASK)
        return self._written.sub(MASK, text)

    def value(self, value: Json) -> Json:
        """A JSON value without secret values, in keys and numbers too."""
        if not self._values:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in self._values:
            return MASK
        return value

    def exception(self, error: BaseException) -> str:
        """The traceback of ``error``, with its causes, without secret values."""
        return self.text("".join(traceback.format_exception(error)))


@lru_cache(maxsize=64)
def scrubber_of(values: tuple[str, ...]) -> Scrubber:
    """The scrubber of ``values``; kept, since to make one for a long key takes a tenth of a second."""
    return Scrubber(values)


def _parts(secret: str) -> list[str]:
    """The secret, and its lines: a program that quotes one line of a key would otherwise show it."""
    return [secret, *(line for line in secret.splitlines() if len(line) >= SHORTEST_LINE)]


def _written(part: str) -> str:
    """A pattern of ``part`` with any of its characters escaped: no two programs agree on which ones have to be."""
    return "".join(
        re.escape(character) if character in UNRESERVED else f"(?:{'|'.join(_ways(character))})" for character in part
    )


def _ways(character: str) -> Iterator[str]:
    yield re.escape(character)
    yield "(?i:" + "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")) + ")"
    units = character.encode("utf-16-be", "surrogatepass")
    yield "(?i:" + "".join(rf"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + ")"
    if character in JSON_ESCAPES:
        yield re.escape(JSON_ESCAPES[character])
    if (escaped := html.escape(character)) != character:
        yield re.escape(escaped)
    if character == " ":
        yield r"\+"


def _encodings(part: str) -> Iterator[str]:
    raw = part.encode("utf-8", "surrogatepass")
    yield raw.hex()
    yield raw.hex().upper()
    for offset in range(3):
        piece = _base64_inside(raw, offset)
        yield piece
        yield piece.translate(str.maketrans("+/", "-_"))


def _base64_inside(raw: bytes, offset: int) -> str:
    """The base64 characters that ``raw`` alone decides, when it begins ``offset`` bytes into a group of three.

    ``user:password`` in a Basic header is the everyday case.
    """
    encoded = base64.b64encode(bytes(offset) + raw).decode("ascii").rstrip("=")
    first = (offset * 8 + 5) // 6
    last = (offset + len(raw)) * 8 // 6
    return encoded[first:last]


_current: ContextVar[Scrubber | None] = ContextVar("scrubber", default=None)


@contextmanager
def scrubbing(scrubber: Scrubber) -> Iterator[None]:
    """Every log record made inside, by any library, is scrubbed (once ``scrub_logs`` was called)."""
    token = _current.set(scrubber)
    try:
        yield
    finally:
        _current.reset(token)


def scrub_logs() -> None:
    """Scrub log records as they are made; may be called more than once.

    HTTP clients log addresses with the tokens in them, so it must stand below every logger, not in ours only.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "scrubs", False):
        return

    def scrubbed(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        scrubber = _current.get()
        if scrubber:
            _scrub_record(record, scrubber)
        return record

    scrubbed.scrubs = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(scrubbed)


def _scrub_record(record: logging.LogRecord, scrubber: Scrubber) -> None:
    try:
        message = scrubber.text(record.getMessage())
    except (TypeError, ValueError):  # a record whose arguments do not fit: logging itself only reports it later
        message = scrubber.text(f"{record.msg} {record.args}")
    if record.exc_info and record.exc_info[1] is not None:
        message = f"{message}\n{scrubber.exception(record.exc_info[1])}".rstrip()
        record.exc_info = None
    record.msg, record.args = message, ()
