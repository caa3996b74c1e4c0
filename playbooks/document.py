"""A definition's value together with the places of its parts in the text it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.faults import Fault
from playbooks.record import Json

MAX_DEPTH = 64
"""Levels of objects and lists in a definition."""

MAX_NODES = 100_000
"""Values in a definition."""

Path = Sequence[str | int]

Places = Any
"""Where a value is: an offset in the text for a scalar, ``(offset, children)`` for a list or an object.

Children of an object are ``{key: (offset of the key, places)}``.
"""


@dataclass(frozen=True, slots=True)
class Document:
    """A value and its text.  A value that was never text has none, and its faults have paths only."""

    value: Json
    text: str | None = None
    places: Places = None

    def fault(self, path: Path, message: str) -> Fault:
        """A fault at the value, or at the nearest one around it that exists."""
        offset = self._offset(path, of_key=True)
        return Fault(pointer(path), message, *(self._position(offset) if offset is not None else (None, None)))

    def fault_within(self, path: Path, line: int, column: int, message: str) -> Fault:
        """A fault at ``line`` and ``column`` (from 1) of the string at ``path``.

        The place in the file is told where the string stands there as it is; otherwise it is that of the string.
        """
        offset = self._offset(path, of_key=False)
        if self.text is None or offset is None:
            where = f"line {line}, column {column}: " if line > 1 else f"column {column}: "
            return Fault(pointer(path), where + message)
        value = _at(self.value, path)
        start = self._start_of_line(offset, value, line) if isinstance(value, str) else None
        if start is None:
            return Fault(pointer(path), f"column {column} of the text: {message}", *self._position(offset))
        return Fault(pointer(path), message, *self._position(start + column - 1))

    def _start_of_line(self, offset: int, value: str, line: int) -> int | None:
        text = self.text or ""
        if "\n" not in value:
            starts = (offset, offset + 1)
            return next((start for start in starts if text.startswith(value, start)), None)
        if text[offset : offset + 1] != "|":
            return None
        wanted = value.split("\n")[line - 1]
        start = offset
        for _ in range(line):
            start = text.find("\n", start) + 1
            if start == 0:
                return None
        end = text.find("\n", start)
        raw = text[start : end if end >= 0 else len(text)].rstrip("\r")
        return start + len(raw) - len(wanted) if raw.endswith(wanted) else None

    def _offset(self, path: Path, of_key: bool) -> int | None:
        if self.places is None:
            return None
        places, offset = self.places, _own(self.places)
        for key in path:
            children = places[1] if isinstance(places, tuple) else None
            if isinstance(children, dict) and key in children:
                key_offset, places = children[key]
                offset = key_offset if of_key else _own(places)
            elif isinstance(children, list) and isinstance(key, int) and 0 <= key < len(children):
                places = children[key]
                offset = _own(places)
            else:
                break
        return offset

    def _position(self, offset: int) -> tuple[int, int]:
        text = self.text or ""
        return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def pointer(path: Path) -> str:
    """The JSON Pointer (RFC 6901) of ``path``."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def _own(places: Places) -> int:
    offset: int = places[0] if isinstance(places, tuple) else places
    return offset


def _at(value: Json, path: Path) -> Json:
    for key in path:
        value = value[key]
    return value
