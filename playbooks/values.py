"""The values of CEL at run time, beside those of JSON, and the budgets that bound them.

JSON's own values stand for themselves: null, bool, int (CEL ``int``), float (``double``), str, list and dict.  What
JSON lacks has a class here.  The rules are those of the CEL specification (github.com/google/cel-spec,
*langdef.md*), and where it leaves room, those of the library that ``playbooks.expressions`` compiles with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Value = Any
"""A value of CEL: a JSON value, or one of ``UInt``, ``bytes``, ``Timestamp``, ``Duration``, ``TypeName``."""

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
MAX_STEPS = 100_000
MAX_BYTES = 1024 * 1024


class EvaluationError(Exception):
    """An expression that has no value for these data; the text says why."""


class BudgetError(EvaluationError):
    """An expression that needs more steps or bytes than it is given; ``&&`` and ``||`` do not absorb it."""


class Budget:
    """What one evaluation or rendering may use: ``steps`` of the walk, ``bytes`` (about) of new values."""

    __slots__ = ("bytes", "foreign", "steps")

    def __init__(self, steps: int = MAX_STEPS, size: int = MAX_BYTES) -> None:
        self.steps = steps
        self.bytes = size
        self.foreign = False
        """True once a value was made that JSON cannot hold as it is."""

    def step(self, count: int = 1) -> None:
        """Takes ``count`` steps.  Raises BudgetError when there are none left."""
        self.steps -= count
        if self.steps < 0:
            raise BudgetError("the expression takes too many steps")

    def take(self, size: int) -> None:
        """Takes ``size`` bytes.  Raises BudgetError when there are none left."""
        self.bytes -= size
        if self.bytes < 0:
            raise BudgetError("the expression makes values that are too large")


class UInt(int):
    """CEL ``uint``: 0 to 2^64 - 1."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """CEL ``timestamp``: nanoseconds since the epoch, UTC."""

    nanos: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """CEL ``duration``, in nanoseconds."""

    nanos: int


@dataclass(frozen=True, slots=True)
class TypeName:
    """CEL ``type``: what ``type(x)`` gives."""

    name: str


@dataclass(frozen=True, slots=True)
class BoolKey:
    """A bool as key of a map: in Python ``True`` and ``1`` would be one key, in CEL they are two."""

    value: bool


_KINDS: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeName: "type",
}
TYPE_NAMES = frozenset(_KINDS.values())
NUMBERS = frozenset({"int", "uint", "double"})
_ORDERED = frozenset({"bool", "string", "bytes", "google.protobuf.Timestamp", "google.protobuf.Duration"})


def kind(value: Value) -> str:
    """The name of the CEL type of ``value``.  Raises EvaluationError for what is no value of CEL."""
    name = _KINDS.get(type(value))
    if name is not None:
        return name
    for base, base_name in ((bool, "bool"), (str, "string"), (dict, "map"), (list, "list"), (int, "int")):
        if isinstance(value, base):
            return base_name
    raise EvaluationError(f"a {type(value).__name__} is no value of an expression")


def as_double(value: int | float) -> float:
    """``value`` as a double; an integer of JSON that is beyond their range is infinite, as IEEE 754 rounds it."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def no_overload(name: str, *values: Value) -> EvaluationError:
    """The error for an operator or function that does not take values of these types."""
    return EvaluationError(f"no such overload: {name}({', '.join(kind(value) for value in values)})")


def as_key(value: Value) -> Value:
    """``value`` as the key of a Python dict.  Raises EvaluationError for a type that cannot be one."""
    if isinstance(value, bool):
        return BoolKey(value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise EvaluationError(f"no such key: {describe(value)}")


def from_key(key: Value) -> Value:
    """The value that ``as_key`` made ``key`` of."""
    return key.value if isinstance(key, BoolKey) else key


def describe(value: Value) -> str:
    """``value`` as a message shows it: short."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def equal(left: Value, right: Value, budget: Budget) -> bool:
    """CEL's ``==``: numbers by value across types, everything else only within its own type."""
    pending: list[tuple[Value, Value]] = [(left, right)]
    while pending:
        budget.step()
        one, other = pending.pop()
        kinds = kind(one), kind(other)
        if kinds == ("list", "list"):
            if len(one) != len(other):
                return False
            pending.extend(zip(one, other, strict=True))
        elif kinds == ("map", "map"):
            if len(one) != len(other) or any(key not in other for key in one):
                return False
            pending.extend((value, other[key]) for key, value in one.items())
        elif not _equal_scalars(one, other, *kinds):
            return False
    return True


def _equal_scalars(left: Value, right: Value, left_kind: str, right_kind: str) -> bool:
    if left_kind in NUMBERS and right_kind in NUMBERS:
        return _numbers(left, right, "double" in (left_kind, right_kind))
    return left_kind == right_kind and bool(left == right)


def _numbers(left: Value, right: Value, doubles: bool) -> bool:
    return as_double(left) == as_double(right) if doubles else int(left) == int(right)


def compare(left: Value, right: Value, name: str) -> int | None:
    """-1, 0 or 1; None where one is NaN.  Raises EvaluationError for types without a common order."""
    kinds = kind(left), kind(right)
    if kinds[0] in NUMBERS and kinds[1] in NUMBERS:
        if "double" in kinds:
            left, right = as_double(left), as_double(right)
            if math.isnan(left) or math.isnan(right):
                return None
    elif kinds[0] != kinds[1] or kinds[0] not in _ORDERED:
        raise no_overload(name, left, right)
    return int(left > right) - int(left < right)


def elements(value: Value) -> Iterator[Value]:
    """What a macro walks: the elements of a list, the keys of a map."""
    if kind(value) == "list":
        return iter(value)
    if kind(value) == "map":
        return map(from_key, value)
    raise EvaluationError(f"a {kind(value)} has no elements: a macro takes a list or a map")
