"""Reads JSON (RFC 8259) with the place of every value; no key twice, integers of 64 bits, bounded in depth."""

from __future__ import annotations

import json.decoder
import re
from typing import Any

from playbooks.document import MAX_DEPTH, MAX_NODES, Document, Path, Places
from playbooks.faults import DefinitionError
from playbooks.record import Json

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r'"([^"\\\x00-\x1f]*)"')
_SURROGATE = re.compile("[\x00\ud800-\udfff]")
_WORDS: dict[str, Json] = {"true": True, "false": False, "null": None}
_scan_string: Any = json.decoder.scanstring  # type: ignore[attr-defined]


def read_json(text: str) -> Document:
    """The document in ``text``.  Raises DefinitionError."""
    reader = _Reader(text)
    reader.skip()
    value, places = reader.value(())
    reader.skip()
    if reader.position < len(text):
        raise reader.error("there is more text after the value")
    return Document(value, text, places)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.nodes = 0

    def error(self, message: str, path: Path = (), position: int | None = None) -> DefinitionError:
        place = self.position if position is None else position
        fault = Document(None, self.text, place).fault((), message)
        named = Document(None).fault(path, message)
        return DefinitionError([type(fault)(named.path, message, fault.line, fault.column)])

    def skip(self) -> None:
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def value(self, path: tuple[str | int, ...]) -> tuple[Json, Places]:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.error(f"more than {MAX_NODES} values")
        if len(path) > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels", path)
        start, character = self.position, self.peek()
        if character == "{":
            return self.object(path, start)
        if character == "[":
            return self.array(path, start)
        if character == '"':
            return self.string(path), start
        return self.scalar(path), start

    def object(self, path: tuple[str | int, ...], start: int) -> tuple[Json, Places]:
        result: dict[str, Json] = {}
        places: dict[str, Places] = {}
        self.position += 1
        self.skip()
        while self.peek() != "}":
            if result:
                self.expect(",", path)
            key_start = self.position
            if self.peek() != '"':
                raise self.error("a key in quotes is expected", path)
            key = self.string(path)
            if key in result:
                raise self.error("this key stands twice", (*path, key), key_start)
            self.skip()
            self.expect(":", path)
            result[key], place = self.value((*path, key))
            places[key] = (key_start, place)
            self.skip()
        self.position += 1
        return result, (start, places)

    def array(self, path: tuple[str | int, ...], start: int) -> tuple[Json, Places]:
        result: list[Json] = []
        places: list[Places] = []
        self.position += 1
        self.skip()
        while self.peek() != "]":
            if result:
                self.expect(",", path)
            value, place = self.value((*path, len(result)))
            result.append(value)
            places.append(place)
            self.skip()
        self.position += 1
        return result, (start, places)

    def expect(self, character: str, path: Path) -> None:
        if self.peek() != character:
            found = repr(self.peek()) if self.peek() else "the end of the text"
            raise self.error(f"{character!r} is expected, not {found}", path)
        self.position += 1
        self.skip()

    def string(self, path: Path) -> str:
        start = self.position
        if match := _PLAIN.match(self.text, start):
            self.position = match.end()
            return match[1]
        try:
            value, self.position = _scan_string(self.text, start + 1, True)
        except json.JSONDecodeError as error:
            reason = error.msg.removesuffix(" at").removesuffix(" starting")
            raise self.error(reason[:1].lower() + reason[1:], path, error.pos) from None
        if _SURROGATE.search(value):
            raise self.error("text may not hold NUL or half a surrogate pair", path, start)
        return str(value)

    def scalar(self, path: Path) -> Json:
        if match := _NUMBER.match(self.text, self.position):
            value = self.number(match, path)
            self.position = match.end()
            return value
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.position):
                self.position += len(word)
                return value
        raise self.error("a value is expected", path)

    def number(self, match: re.Match[str], path: Path) -> Json:
        if match[1] or match[2]:
            value = float(match[0]) if len(match[0]) < 1000 else float("inf")
            if value in (float("inf"), float("-inf")):
                raise self.error("a number must be finite", path)
            return value
        if len(match[0]) > 20 or not -(2**63) <= int(match[0]) < 2**63:
            raise self.error("an integer must fit in 64 bits", path)
        return int(match[0])
