"""Keeps secret values out of everything that leaves the action: outputs, errors and log records."""

from __future__ import annotations

import base64
import html.entities
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
SHORTEST_REST = 8
"""Characters of a secret that are masked where a text begins or ends in the middle of it; of fewer little is learnt."""

CUT = re.compile(r"(?:\s*(?:…|\.\.\.|\[cut [^\]\n]*\])|[\s.'\"])*$")
"""What stands behind a text that was cut."""

UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
"""Characters that nothing escapes (RFC 3986, section 2.3)."""

JSON_ESCAPES = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
"""Letters that stand behind a backslash for characters that cannot be written."""

QUOTED = frozenset(string.punctuation + " ") - UNRESERVED
"""Characters before which a backslash may stand."""

HTML_NAMES: dict[str, list[str]] = {}
"""The names of a character in HTML, without & and semicolon."""
for _name, _value in html.entities.html5.items():
    if len(_value) == 1 and _name.endswith(";"):
        HTML_NAMES.setdefault(_value, []).append(_name[:-1])


class Scrubber:
    """Replaces secret values by ``***``, also where they stand URL-encoded, JSON- or HTML-escaped, in base64 or hex."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        # Longest first: a shorter value may be part of a longer one, and would leave its rest behind.
        self._values = sorted({value for value in values if value}, key=lambda value: (-len(value), value))
        parts = dict.fromkeys(part for value in self._values for part in _parts(value))
        self._written = re.compile("|".join(_written(part) for part in parts))
        encoded = {form for part in parts for form in _encodings(part) if len(form) >= SHORTEST_FORM}
        self._encoded = sorted(encoded, key=lambda form: (-len(form), form))
        self._cuttable = [form for form in (*parts, *self._encoded) if len(form) > SHORTEST_REST]

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, text: str) -> str:
        """``text`` without secret values."""
        if not self._values:
            return text
        for form in self._encoded:
            text = text.replace(form, MASK)
        return self._without_rests(self._written.sub(MASK, text))

    def _without_rests(self, text: str) -> str:
        """``text`` without the beginning of a secret at its end, or the end of one at its beginning."""
        end = CUT.search(text)
        body, tail = (text[: end.start()], text[end.start() :]) if end else (text, "")
        for form in self._cuttable:
            start = body.rfind(form[:SHORTEST_REST])
            if start >= 0 and form.startswith(body[start:]):
                body = body[:start] + MASK
            stop = body.find(form[-SHORTEST_REST:]) + SHORTEST_REST
            if stop >= SHORTEST_REST and form.endswith(body[:stop]):
                body = MASK + body[stop:]
        return body + tail

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
    """The patterns of one character: as it is, and as URLs, JSON, JavaScript, C, Python, shells and HTML escape it.

    One notation may stand inside of another, such as JSON in a text of JSON: backslashes then come in rows, and ``%``
    becomes ``%25``.
    """
    number, raw = ord(character), character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    if character != "\\":
        yield rf"\\*{re.escape(character)}" if character in QUOTED else re.escape(character)
    yield "(?i:" + "".join(f"%(?:25)*{byte:02x}" for byte in raw) + ")"
    yield "(?i:" + "".join(rf"\\+u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + ")"
    yield "(?i:" + "".join(rf"\\+x{byte:02x}" for byte in raw) + ")"
    yield "".join(rf"\\+{byte:03o}" for byte in raw)
    if 127 < number < 256:
        yield rf"(?i:\\+x{number:02x})"
    if character in JSON_ESCAPES:
        yield r"\\+" + JSON_ESCAPES[character]
    if character == "\\":
        yield r"\\+"
    if character == "'":  # a shell leaves the quotes for it
        yield r"'\\''"
        yield "'\"'\"'"
    yield f"(?i:&(?:amp;)*#(?:0*{number}|x0*{number:x});)"
    for name in HTML_NAMES.get(character, ()):
        yield f"&(?:amp;)*{name};"
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


def scrubbed(text: str) -> str:
    """``text`` without the secrets of the call under way: for whatever is cut, since half a secret is not found."""
    scrubber = _current.get()
    return scrubber.text(text) if scrubber else text


def excerpt_of(text: str, length: int) -> str:
    """The first ``length`` characters of ``text``, without the secrets of the call under way."""
    text = scrubbed(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def end_of(text: str, length: int) -> str:
    """The last ``length`` characters of ``text``, without the secrets of the call under way."""
    return scrubbed(text)[-length:]


def scrub_logs() -> None:
    """Scrub log records as they are made; may be called more than once.

    HTTP clients log addresses with the tokens in them, so it must stand below every logger, not in ours only.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "scrubs", False):
        return

    def scrubbing_factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        scrubber = _current.get()
        if scrubber:
            _scrub_record(record, scrubber)
        return record

    scrubbing_factory.scrubs = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(scrubbing_factory)


def _scrub_record(record: logging.LogRecord, scrubber: Scrubber) -> None:
    try:
        message = scrubber.text(record.getMessage())
    except (TypeError, ValueError):  # a record whose arguments do not fit: logging itself only reports it later
        message = scrubber.text(f"{record.msg} {record.args}")
    if record.exc_info and record.exc_info[1] is not None:
        message = f"{message}\n{scrubber.exception(record.exc_info[1])}".rstrip()
        record.exc_info = None
    record.msg, record.args = message, ()
