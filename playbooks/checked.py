"""Reads a checked expression, as the CEL library serialises it, into the tree of ``playbooks.evaluation``.

Macros come expanded to comprehensions and are told by the shape that the specification of CEL gives them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from playbooks.functions import FUNCTIONS
from playbooks.plan import Tree
from playbooks.syntax import decode
from playbooks.values import TYPE_NAMES

MAX_DEPTH = 80
"""Levels of a tree: the walk takes two Python frames a level, and JSON readers stop at 200."""

_LOGIC = {"_&&_": "and", "_||_": "or", "_?_:_": "if"}


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
    try:
        message = decode(serialized)
    except DecodeError:
        raise Unsupported("the expression is nested too deeply") from None
    reader = _Reader({entry.id: entry.offset for entry in message.source_info.positions})
    tree = reader.read(message.expr, 0)
    return Checked(tree, reader.positions, reader.size)


class _Reader:
    def __init__(self, offsets: dict[int, int]) -> None:
        self.offsets = offsets
        self.positions: dict[int, int] = {}
        self.size = 0

    def read(self, expression: Any, depth: int) -> Tree:
        position = self.offsets.get(expression.id, 0)
        if depth > MAX_DEPTH:
            raise Unsupported(f"the expression is nested deeper than {MAX_DEPTH}", position)
        self.size += 1
        kind = expression.WhichOneof("kind")
        if kind is None:
            raise Unsupported("this expression cannot be read", position)
        node: Tree = getattr(self, "_" + kind)(getattr(expression, kind), position, depth + 1)
        self.positions[id(node)] = position
        return node

    def _const(self, message: Any, position: int, depth: int) -> Tree:
        kind = message.WhichOneof("kind")
        match kind:
            case "null_value" | None:
                return ["k", None]
            case "uint64_value":
                return ["u", message.uint64_value]
            case "double_value":
                return ["d", repr(message.double_value)]
            case "bytes_value":
                return ["b", base64.b64encode(message.bytes_value).decode("ascii")]
        return ["k", getattr(message, kind)]

    def _ident(self, message: Any, position: int, depth: int) -> Tree:
        return ["t" if message.name in TYPE_NAMES else "v", message.name]

    def _select(self, message: Any, position: int, depth: int) -> Tree:
        return ["h" if message.test_only else "s", self.read(message.operand, depth), message.field]

    def _call(self, message: Any, position: int, depth: int) -> Tree:
        name = message.function
        arguments = [self.read(message.target, depth)] if message.HasField("target") else []
        arguments += [self.read(argument, depth) for argument in message.args]
        if name in _LOGIC:
            return [_LOGIC[name], *arguments]
        if name not in FUNCTIONS:
            raise Unsupported(f"the function {name} is not supported", position)
        return ["c", name, *arguments]

    def _list(self, message: Any, position: int, depth: int) -> Tree:
        return ["l", *[self.read(item, depth) for item in message.elements]]

    def _struct(self, message: Any, position: int, depth: int) -> Tree:
        if message.message_name:
            raise Unsupported(f"messages such as {message.message_name}{{}} are not supported", position)
        node: Tree = ["m"]
        for entry in message.entries:
            node += [self.read(entry.map_key, depth), self.read(entry.value, depth)]
        return node

    def _comprehension(self, message: Any, position: int, depth: int) -> Tree:
        variable, accumulator = message.iter_var, ["v", message.accu_var]
        if message.iter_var2:
            raise Unsupported("macros of two variables are not supported", position)
        parts = (message.iter_range, message.accu_init, message.loop_step, message.result)
        source, start, step, result = (self.read(part, depth) for part in parts)
        if step[0] in ("and", "or") and step[1] == accumulator and result == accumulator:
            return ["all" if step[0] == "and" else "exists", variable, source, step[2]]
        predicate = None
        if step[0] == "if" and step[3] == accumulator:
            predicate, step = step[1], step[2]
        if start == ["k", 0] and predicate is not None:
            return ["exists_one", variable, source, predicate]
        if start == ["l"] and step[:3] == ["c", "_+_", accumulator] and step[3][0] == "l":
            return ["map", variable, source, predicate, step[3][1]]
        raise Unsupported("this macro is not supported", position)
