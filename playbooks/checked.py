"""Reads a checked expression, as the CEL library serialises it, into the tree of ``playbooks.evaluation``.

The library hands out ``google.protobuf.Any`` of ``cel.expr.CheckedExpr`` (github.com/google/cel-spec, *checked.proto*
and *syntax.proto*); the field numbers below are theirs.  Macros come expanded to comprehensions and are told by the
shape that the specification gives them.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from playbooks.functions import FUNCTIONS
from playbooks.plan import Tree
from playbooks.values import TYPE_NAMES

MAX_DEPTH = 80
"""Levels of a tree: the walk takes two Python frames a level, and JSON readers stop at 200."""

Message = dict[int, list[bytes | int]]


class Unsupported(Exception):
    """A construct that has no place in a playbook; ``position`` is an offset in the source."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@dataclass(slots=True)
class Checked:
    """A tree; ``positions`` gives offsets in the source by the identity of a node, ``size`` the number of nodes."""

    tree: Tree
    positions: dict[int, int] = field(default_factory=dict)
    size: int = 0


def read_checked(serialized: bytes) -> Checked:
    """The tree of a serialised expression.  Raises Unsupported."""
    message = _message(_bytes(_message(serialized), 2))
    source = _message(_bytes(message, 5))
    offsets: dict[int, int] = {}
    for entry in source.get(4, []):
        position = _message(entry)
        offsets[_int(position, 1)] = _int(position, 2)
    reader = _Reader(offsets)
    tree = reader.read(_bytes(message, 4), 0)
    return Checked(tree, reader.positions, reader.size)


class _Reader:
    def __init__(self, offsets: dict[int, int]) -> None:
        self.offsets = offsets
        self.positions: dict[int, int] = {}
        self.size = 0

    def read(self, data: bytes, depth: int) -> Tree:
        expression = _message(data)
        position = self.offsets.get(_int(expression, 2), 0)
        if depth > MAX_DEPTH:
            raise Unsupported(f"the expression is nested deeper than {MAX_DEPTH}", position)
        self.size += 1
        node = self._node(expression, position, depth + 1)
        self.positions[id(node)] = position
        return node

    def _node(self, expression: Message, position: int, depth: int) -> Tree:
        for number, build in (
            (4, self._ident),
            (5, self._select),
            (6, self._call),
            (3, self._constant),
            (7, self._list),
            (8, self._map),
            (9, self._macro),
        ):
            if number in expression:
                return build(_message(_bytes(expression, number)), position, depth)
        raise Unsupported("this expression cannot be read", position)

    def _constant(self, message: Message, position: int, depth: int) -> Tree:
        number = next(iter(message), 1)
        match number:
            case 1:
                return ["k", None]
            case 2:
                return ["k", bool(_int(message, 2))]
            case 3:
                return ["k", _int(message, 3)]
            case 4:
                return ["u", _int(message, 4) % 2**64]
            case 5:
                return ["d", repr(struct.unpack("<d", _bytes(message, 5))[0])]
            case 6:
                return ["k", _bytes(message, 6).decode("utf-8")]
            case 7:
                return ["b", base64.b64encode(_bytes(message, 7)).decode("ascii")]
        raise Unsupported("this constant cannot be read", position)

    def _ident(self, message: Message, position: int, depth: int) -> Tree:
        name = _text(message, 1)
        return ["t", name] if name in TYPE_NAMES else ["v", name]

    def _select(self, message: Message, position: int, depth: int) -> Tree:
        node = "h" if _int(message, 3) else "s"
        return [node, self.read(_bytes(message, 1), depth), _text(message, 2)]

    def _call(self, message: Message, position: int, depth: int) -> Tree:
        name = _text(message, 2)
        operands = [*message.get(1, []), *message.get(3, [])]
        arguments = [self.read(operand, depth) for operand in operands if isinstance(operand, bytes)]
        if name in _LOGIC:
            return [_LOGIC[name], *arguments]
        if name not in FUNCTIONS:
            raise Unsupported(f"the function {name} is not supported", position)
        return ["c", name, *arguments]

    def _list(self, message: Message, position: int, depth: int) -> Tree:
        return ["l", *(self.read(item, depth) for item in message.get(1, []) if isinstance(item, bytes))]

    def _map(self, message: Message, position: int, depth: int) -> Tree:
        if 1 in message:
            raise Unsupported(f"messages such as {_text(message, 1)}{{}} are not supported", position)
        node: Tree = ["m"]
        for item in message.get(2, []):
            entry = _message(item)
            node += [self.read(_bytes(entry, 3), depth), self.read(_bytes(entry, 4), depth)]
        return node

    def _macro(self, message: Message, position: int, depth: int) -> Tree:
        variable, accumulator = _text(message, 1), _text(message, 3)
        if message.get(8):
            raise Unsupported("macros of two variables are not supported", position)
        source = self.read(_bytes(message, 2), depth)
        start, step, result = (self._part(message, number, depth) for number in (4, 6, 7))
        if step[:2] in (["and", ["v", accumulator]], ["or", ["v", accumulator]]) and result == ["v", accumulator]:
            return ["all" if step[0] == "and" else "exists", variable, source, step[2]]
        predicate = None
        if step[0] == "if" and step[3] == ["v", accumulator]:
            predicate, step = step[1], step[2]
        if start == ["k", 0] and predicate is not None:
            return ["exists_one", variable, source, predicate]
        if start == ["l"] and step[:3] == ["c", "_+_", ["v", accumulator]] and step[3][0] == "l":
            return ["map", variable, source, predicate, step[3][1]]
        raise Unsupported("this macro is not supported", position)

    def _part(self, message: Message, number: int, depth: int) -> Tree:
        return self.read(_bytes(message, number), depth)


_LOGIC = {"_&&_": "and", "_||_": "or", "_?_:_": "if"}


def _message(data: bytes | int) -> Message:
    """The fields of a protobuf message: varints as signed integers, everything else as bytes."""
    fields: Message = {}
    if isinstance(data, bytes):
        for number, value in _fields(data):
            fields.setdefault(number, []).append(value)
    return fields


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value - 2**64 if value >= 2**63 else value
            case 1:
                yield tag >> 3, data[position : position + 8]
                position += 8
            case 2:
                size, position = _varint(data, position)
                yield tag >> 3, data[position : position + size]
                position += size
            case _:
                yield tag >> 3, data[position : position + 4]
                position += 4


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result, shift = 0, 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _bytes(message: Message, number: int) -> bytes:
    value = message.get(number, [b""])[-1]
    return value if isinstance(value, bytes) else b""


def _text(message: Message, number: int) -> str:
    return _bytes(message, number).decode("utf-8")


def _int(message: Message, number: int) -> int:
    value = message.get(number, [0])[-1]
    return value if isinstance(value, int) else 0
