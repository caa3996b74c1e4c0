"""Builds a value from the events of libyaml, with the place of every part.

PyYAML's own composer recurses and keeps aliases, so it is not used: text of some kilobytes could exhaust the stack
or the memory.  Scalars follow the core schema of YAML 1.2 (yaml.org/spec/1.2.2, chapter 10.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from playbooks.document import MAX_DEPTH, MAX_NODES, Document, Path, Places
from playbooks.faults import DefinitionError, Fault
from playbooks.record import Json

_CONSTANTS: dict[str, Json] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BAD = re.compile("[\x00\ud800-\udfff]")


def read_yaml(text: str) -> Document:
    """The document in ``text``.  Raises DefinitionError."""
    builder = _Builder(text)
    try:
        return builder.document()
    except yaml.MarkedYAMLError as error:
        raise DefinitionError([_syntax_fault(error)]) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or "cannot be read"
        offset = min(int(getattr(error, "position", 0) or 0), len(text))
        fault = Document(None, text, offset).fault((), f"the YAML is wrong: {reason}")
        raise DefinitionError([fault]) from None


def _syntax_fault(error: yaml.MarkedYAMLError) -> Fault:
    mark: Any = error.problem_mark or error.context_mark
    context = f" {error.context}" if error.context else ""
    place = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return Fault("", f"the YAML is wrong{context}: {error.problem}", *place)


class _Builder:
    def __init__(self, text: str) -> None:
        self.text = text
        self.nodes = 0
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))

    def document(self) -> Document:
        """Reads the one document that the text may hold."""
        self.expect(yaml.StreamStartEvent)
        start = next(self.events)
        if isinstance(start, yaml.StreamEndEvent):
            raise DefinitionError([Fault("", "the text is empty")])
        value, places = self.value(next(self.events), ())
        self.expect(yaml.DocumentEndEvent)
        following = next(self.events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise self.error(following, (), "there is more than one document")
        return Document(value, self.text, places)

    def expect(self, kind: type[Any]) -> None:
        event = next(self.events)
        if not isinstance(event, kind):
            raise self.error(event, (), "the text cannot be read")

    def error(self, event: Any, path: Path, message: str) -> DefinitionError:
        named = Document(None).fault(path, message)
        return DefinitionError([Fault(named.path, message, event.start_mark.line + 1, event.start_mark.column + 1)])

    def value(self, event: Any, path: tuple[str | int, ...]) -> tuple[Json, Places]:
        self.check(event, path)
        if isinstance(event, yaml.ScalarEvent):
            mark: Any = event.start_mark
            return self.scalar(event, path), mark.index
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(event, path)
        return self.mapping(event, path)

    def check(self, event: Any, path: Path) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.error(event, (), f"more than {MAX_NODES} values")
        if len(path) > MAX_DEPTH:
            raise self.error(event, path, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            raise self.error(event, path, "aliases are not allowed")
        if event.anchor is not None:
            raise self.error(event, path, "anchors are not allowed")
        if event.tag is not None:
            raise self.error(event, path, "tags are not allowed")

    def sequence(self, start: Any, path: tuple[str | int, ...]) -> tuple[Json, Places]:
        result: list[Json] = []
        places: list[Places] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            value, place = self.value(event, (*path, len(result)))
            result.append(value)
            places.append(place)
        return result, (start.start_mark.index, places)

    def mapping(self, start: Any, path: tuple[str | int, ...]) -> tuple[Json, Places]:
        result: dict[str, Json] = {}
        places: dict[str, Places] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, path)
            if key in result:
                raise self.error(event, (*path, key), "this key stands twice")
            value, place = self.value(next(self.events), (*path, key))
            result[key] = value
            places[key] = (event.start_mark.index, place)
        return result, (start.start_mark.index, places)

    def key(self, event: Any, path: tuple[str | int, ...]) -> str:
        self.check(event, path)
        key = self.scalar(event, path) if isinstance(event, yaml.ScalarEvent) else None
        if not isinstance(key, str):
            raise self.error(event, path, "a key must be text: put it in quotes")
        return key

    def scalar(self, event: Any, path: Path) -> Json:
        text: str = event.value
        if _BAD.search(text):
            raise self.error(event, path, "text may not hold NUL or half a surrogate pair")
        if not event.implicit[0]:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.fullmatch(text):
            return self.integer(event, text, path)
        if _FLOAT.fullmatch(text):
            return self.number(event, text, path)
        if _NOT_FINITE.fullmatch(text):
            raise self.error(event, path, "a number must be finite")
        return text

    def integer(self, event: Any, text: str, path: Path) -> int:
        value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) <= 64 else 2**63
        if not -(2**63) <= value < 2**63:
            raise self.error(event, path, "an integer must fit in 64 bits")
        return value

    def number(self, event: Any, text: str, path: Path) -> float:
        value = float(text) if len(text) < 1000 else float("inf")
        if value in (float("inf"), float("-inf")):
            raise self.error(event, path, "a number must be finite")
        return value
