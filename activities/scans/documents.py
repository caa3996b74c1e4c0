"""Reads what a scanner wrote, XML or JSON, within bounds; every fault has its place.

No entity is expanded and nothing outside of the text is read (defusedxml); elements, depth and size are counted, since
a small text can say much.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TypeVar
from xml.etree.ElementTree import Element, ParseError, TreeBuilder  # only its classes; defusedxml does the parsing

from pydantic import BaseModel, ConfigDict, ValidationError

from activities.errors import ActionError
from playbooks.record import Json

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one result."""

MAX_ELEMENTS: Final = 500_000
"""Elements of XML, or values of JSON."""

MAX_DEPTH: Final = 100

MAX_FINDINGS: Final = 10_000


def fault(place: str, message: str) -> ActionError:
    """The error for a result that cannot be read."""
    return ActionError("invalid_report", f"{place}: {message}" if place else message, retryable=False)


def read_xml(data: bytes, encoding: str | None = None) -> Element:
    """The root of the document.  Raises ``ActionError`` with code ``invalid_report``.

    ``encoding`` stands above what the document says of itself: text that was decoded once is not what it was.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import XMLParser

    check_size(data)
    builder = _BoundedBuilder()
    parser = XMLParser(target=builder, encoding=encoding)
    builder.parser = parser.parser
    try:
        parser.feed(data)
        root = parser.close()
    except DefusedXmlException as error:
        line = parser.parser.CurrentLineNumber
        raise fault(f"line {line}", f"entities and external references are refused ({type(error).__name__})") from None
    except ParseError as error:
        line, column = error.position
        raise fault(f"line {line}, column {column + 1}", f"no XML: {str(error).partition(':')[0]}") from None
    except (LookupError, ValueError) as error:  # an encoding that there is not, or that Python refuses
        raise fault(f"line {parser.parser.CurrentLineNumber}", f"no XML: {error}") from None
    assert isinstance(root, Element)
    return root


class _BoundedBuilder(TreeBuilder):
    """Builds the tree, and counts."""

    parser: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._left = MAX_ELEMENTS

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self._depth += 1
        self._left -= 1
        if self._depth > MAX_DEPTH:
            raise fault(f"line {self.parser.CurrentLineNumber}", f"nested deeper than {MAX_DEPTH}")
        if self._left < 0:
            raise fault(f"line {self.parser.CurrentLineNumber}", f"more than {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:
        self._depth -= 1
        return super().end(tag)


def read_json(text: str, line: int = 1) -> Json:
    """The value of ``text``, which begins at ``line``.  Raises ``ActionError`` with code ``invalid_report``."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {line + error.lineno - 1}, column {error.colno}"
        raise fault(place, f"no JSON: {error.msg}") from None
    except RecursionError:
        raise fault(f"line {line}", f"nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise fault(f"line {line}", f"no JSON: {error}") from None
    check_value(value, f"line {line}")
    return value


def value_of(content: Json) -> Json:
    """The value that ``content`` is, or that it is the text of.  Raises what ``read_json`` raises."""
    if isinstance(content, str):
        return read_json(content)
    check_value(content)
    return content


def _no_constant(word: str) -> Json:
    raise ValueError(f"{word} is no JSON value")


def check_value(value: Json, place: str = "") -> None:
    """Raise ``ActionError`` with code ``invalid_report`` for a value of JSON that is too deep or too large."""
    pending, left = [(value, 1)], MAX_ELEMENTS
    while pending:
        item, depth = pending.pop()
        left -= 1
        if depth > MAX_DEPTH:
            raise fault(place, f"nested deeper than {MAX_DEPTH}")
        if left < 0:
            raise fault(place, f"more than {MAX_ELEMENTS} values")
        if isinstance(item, dict):
            pending.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, list):
            pending.extend((inner, depth + 1) for inner in item)


class Record(BaseModel):
    """Base of what a scanner writes, as far as it is read: other fields are left alone, so that new ones do no harm."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


AnyRecord = TypeVar("AnyRecord", bound=Record)


def record(kind: type[AnyRecord], value: Json, place: str) -> AnyRecord:
    """``value`` as a ``kind``.  Raises ``ActionError`` naming the first field that is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise fault(place, f"{path}: {first['msg']}" if path else first["msg"]) from None


def check_size(data: bytes) -> None:
    """Raise ``ActionError`` with code ``invalid_report`` for more than ``MAX_BYTES``."""
    if len(data) > MAX_BYTES:
        raise fault("", f"the result has {len(data)} bytes; at most {MAX_BYTES} are read")


def decoded(data: bytes) -> str:
    """The text of UTF-8 ``data``, a byte-order mark dropped.  Raises ``ActionError`` naming the byte that is wrong."""
    check_size(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise fault(f"line {line}", f"byte {error.start} is no UTF-8") from None


def local(element: Element) -> str:
    """The name of ``element`` without its namespace; nothing for a comment or an instruction."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def named(element: Element, name: str) -> Iterator[Element]:
    """The elements directly in ``element`` of that local name, in any namespace."""
    return (child for child in element if local(child) == name)


def anywhere(element: Element, name: str) -> Iterator[Element]:
    """The elements of that local name, ``element`` itself and all that is in it."""
    return (inner for inner in element.iter() if local(inner) == name)


def text_of(element: Element | None) -> str:
    """All the text in ``element``, white space folded."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def number(text: str | None) -> float | None:
    """``text`` as a finite number, None when it is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value - value == 0 else None
