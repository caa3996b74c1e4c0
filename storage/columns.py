"""Column types that behave alike on SQLite and Postgres.

Whatever a client or an action sends must be storable: a NUL character, which Postgres refuses in text, a lone
surrogate, which is no UTF-8, and a number that JSON does not know must never keep a run from being settled.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Integer, LargeBinary, Text
from sqlalchemy.types import TypeDecorator

from playbooks.record import ErrorInfo, Json
from playbooks.states import State

if TYPE_CHECKING:
    from sqlalchemy import Dialect

_PACK_FROM = 120
"""Bytes below which compression gains nothing."""

_INDEXED_CHARACTERS = 200

_ZLIB_MARK = 0x78
"""First byte of a zlib stream (RFC 1950) with a 32 KiB window; no JSON text begins with it."""


def storable(text: str) -> str:
    """``text`` without what a database cannot hold: NUL becomes U+FFFD, a lone surrogate ``?``."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def dump(value: Json) -> str:
    """``value`` as compact JSON; NaN and the infinities become null, since JSON (RFC 8259) has no word for them."""
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return storable(text)


def pack(value: Json) -> bytes:
    """``value`` as compact JSON, compressed where that makes it smaller."""
    plain = dump(value).encode("utf-8")
    if len(plain) < _PACK_FROM:
        return plain
    packed = zlib.compress(plain)
    return packed if len(packed) < len(plain) else plain


def unpack(data: bytes) -> Json:
    """The value that ``pack`` was given."""
    if data[0] == _ZLIB_MARK:
        data = zlib.decompress(data)
    return json.loads(data.decode("utf-8"))


def _finite(value: Json) -> Json:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class Words(TypeDecorator[str]):
    """Text; what a database cannot hold is replaced, also in a value that is only compared."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """See ``storable``."""
        return None if value is None else storable(value)


class IndexedWords(TypeDecorator[str]):
    """Text of any length that is only compared, never read: past what an index entry of Postgres holds, its hash."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text, or ``sha256:…`` when it is long."""
        if value is None:
            return None
        value = storable(value)
        if len(value) <= _INDEXED_CHARACTERS:
            return value
        return "sha256:" + hashlib.sha256(value.encode("utf-8")).hexdigest()


class JsonText(TypeDecorator[Json]):
    """A small JSON value, readable in the database.  None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        """See ``dump``."""
        return None if value is None else dump(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:
        """The value that was stored."""
        return None if value is None else json.loads(value)


class PackedJson(TypeDecorator[Json]):
    """A JSON value that may be large, compressed.  None is NULL."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> bytes | None:
        """See ``pack``."""
        return None if value is None else pack(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Json:
        """The value that was stored."""
        return None if value is None else unpack(value)


class StateText(TypeDecorator[State]):
    """A state by its name."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: State | str | None, dialect: Dialect) -> str | None:
        """The state's name; raises ValueError for a word that is no state."""
        return None if value is None else State(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> State | None:
        """The state of that name."""
        return None if value is None else State(value)


class ErrorText(TypeDecorator[ErrorInfo]):
    """The error of a run, as a JSON list of code and message."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: ErrorInfo | None, dialect: Dialect) -> str | None:
        """``["code","message"]``."""
        return None if value is None else dump([value.code, value.message])

    def process_result_value(self, value: str | None, dialect: Dialect) -> ErrorInfo | None:
        """The error that was stored."""
        return None if value is None else ErrorInfo(*json.loads(value))


Serial = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives: SQLite counts by itself only where the type reads INTEGER."""
