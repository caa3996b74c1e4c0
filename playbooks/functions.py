"""The operators and functions of CEL's standard library, over ``playbooks.values``."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import re2

from playbooks import times
from playbooks.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Budget,
    Duration,
    EvaluationError,
    Timestamp,
    TypeName,
    UInt,
    Value,
    as_double,
    as_key,
    compare,
    describe,
    equal,
    kind,
    no_overload,
)

Function = Callable[..., Value]
"""Takes the budget and the arguments."""

MAX_PATTERN = 1000
"""Characters of a regular expression."""

_REGEX_MEMORY = 256 * 1024
_SPACE = " \t\n\v\f\r"


def _integer(value: int, unsigned: bool) -> int:
    if unsigned:
        if not 0 <= value <= UINT_MAX:
            raise EvaluationError("unsigned integer overflow")
        return UInt(value)
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def _double(budget: Budget, value: float) -> float:
    if not math.isfinite(value):
        budget.foreign = True
    return value


def _arithmetic(name: str, exact: Callable[[Any, Any], Any]) -> Function:
    def apply(budget: Budget, left: Value, right: Value) -> Value:
        kinds = {kind(left), kind(right)}
        if kinds in ({"int"}, {"uint"}):
            return _integer(exact(int(left), int(right)), kinds == {"uint"})
        if kinds == {"double"}:
            return _double(budget, exact(left, right))
        raise no_overload(name, left, right)

    return apply


def _add(budget: Budget, left: Value, right: Value) -> Value:
    kinds = kind(left), kind(right)
    if kinds in (("string", "string"), ("bytes", "bytes")):
        budget.take(len(left) + len(right))
        return left + right
    if kinds == ("list", "list"):
        budget.take(8 * (len(left) + len(right)))
        return left + right
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return times.timestamp(left.nanos + right.nanos)
    if isinstance(left, Duration) and isinstance(right, Timestamp):
        return times.timestamp(left.nanos + right.nanos)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return times.duration(left.nanos + right.nanos)
    return _add_numbers(budget, left, right)


_add_numbers = _arithmetic("_+_", operator.add)
_subtract_numbers = _arithmetic("_-_", operator.sub)


def _subtract(budget: Budget, left: Value, right: Value) -> Value:
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return times.timestamp(left.nanos - right.nanos)
    if isinstance(left, Timestamp | Duration) and type(left) is type(right):
        return times.duration(left.nanos - right.nanos)
    return _subtract_numbers(budget, left, right)


def _quotient(left: Any, right: Any) -> Any:
    if isinstance(left, float):
        if right != 0:
            return left / right
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)
    if right == 0:
        raise EvaluationError("divide by zero")
    whole = abs(left) // abs(right)
    return whole if (left < 0) == (right < 0) else -whole


def _remainder(left: int, right: int) -> int:
    if isinstance(left, float):
        raise no_overload("_%_", left, right)
    if right == 0:
        raise EvaluationError("modulus by zero")
    return int(left - _quotient(left, right) * right)


def _modulo(budget: Budget, left: Value, right: Value) -> Value:
    # INT_MIN % -1 is 0 in arithmetic; CEL's implementations call it an overflow.
    if left == INT_MIN and right == -1 and kind(left) == kind(right) == "int":
        raise EvaluationError("integer overflow")
    return _arithmetic("_%_", _remainder)(budget, left, right)


def _negate(budget: Budget, value: Value) -> Value:
    if kind(value) == "int":
        return _integer(-value, False)
    if kind(value) == "double":
        return -value
    raise no_overload("-_", value)


def _not(budget: Budget, value: Value) -> Value:
    if not isinstance(value, bool):
        raise no_overload("!_", value)
    return not value


def _ordering(name: str, accept: tuple[int, ...]) -> Function:
    def apply(budget: Budget, left: Value, right: Value) -> bool:
        return compare(left, right, name) in accept

    return apply


_KEYS = frozenset({"string", "int", "uint", "bool", "double"})
"""Kinds of values that a key of a map may be compared with."""


def _contains_element(budget: Budget, element: Value, container: Value) -> bool:
    if kind(container) == "list":
        return any(equal(element, other, budget) for other in container)
    if kind(container) == "map" and kind(element) in _KEYS:
        return not _is_broken(element) and as_key(element) in container
    raise no_overload("@in", element, container)


def _is_broken(number: Value) -> bool:
    """True for a double that no key can be equal to."""
    return isinstance(number, float) and not number.is_integer()


def _index(budget: Budget, container: Value, index: Value) -> Value:
    if kind(container) == "map":
        key = as_key(index)
        if key not in container:
            raise EvaluationError(f"no such key: {describe(index)}")
        return container[key]
    if kind(container) != "list":
        raise no_overload("_[_]", container, index)
    if isinstance(index, bool) or not isinstance(index, int | float) or int_or_none(index) is None:
        raise EvaluationError(f"a list is indexed by an integer, not by {describe(index)}")
    if not 0 <= index < len(container):
        raise EvaluationError(f"index {describe(index)} is outside of the list of {len(container)}")
    return container[int(index)]


def int_or_none(value: int | float) -> int | None:
    """``value`` as an integer, where it is one."""
    return int(value) if not isinstance(value, float) or value.is_integer() else None


def _size(budget: Budget, value: Value) -> int:
    if kind(value) in ("string", "bytes", "list", "map"):
        return len(value)
    raise no_overload("size", value)


def _text_test(name: str, test: Callable[[str, str], bool]) -> Function:
    def apply(budget: Budget, text: Value, part: Value) -> bool:
        if not (isinstance(text, str) and isinstance(part, str)):
            raise no_overload(name, text, part)
        budget.step(len(text) // 1024)
        return test(text, part)

    return apply


def compile_pattern(pattern: str) -> Any:
    """The compiled RE2 pattern.  Raises EvaluationError for one that is wrong or too large."""
    if len(pattern) > MAX_PATTERN:
        raise EvaluationError(f"a regular expression has at most {MAX_PATTERN} characters")
    options = re2.Options()
    options.max_mem = _REGEX_MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "wrong"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise EvaluationError(f"invalid regular expression: {text}") from None


def _matches(budget: Budget, text: Value, pattern: Value) -> bool:
    if not (isinstance(text, str) and isinstance(pattern, str)):
        raise no_overload("matches", text, pattern)
    compiled = compile_pattern(pattern)
    budget.step(len(text) * compiled.programsize // 1024)
    return compiled.search(text) is not None


def _to_int(budget: Budget, value: Value) -> int:
    match kind(value):
        case "int" | "uint" | "bool":
            return _ranged(int(value), INT_MIN, INT_MAX, "int64")
        case "double":
            # 2^63 is a double and is out of range; INT_MIN is refused too, as the library does.
            if not -(2.0**63) < value < 2.0**63:
                raise EvaluationError("double out of int64 range")
            return int(value)
        case "string":
            return _ranged(_digits(value, "int"), INT_MIN, INT_MAX, "int64")
        case "google.protobuf.Timestamp":
            return int(value.nanos // times.SECOND)
    raise no_overload("int", value)


def _to_uint(budget: Budget, value: Value) -> UInt:
    match kind(value):
        case "int" | "uint":
            return UInt(_ranged(int(value), 0, UINT_MAX, "uint64"))
        case "double":
            if not 0 <= value < 2.0**64:
                raise EvaluationError("double out of uint64 range")
            return UInt(int(value))
        case "string":
            return UInt(_ranged(_digits(value, "uint"), 0, UINT_MAX, "uint64"))
    raise no_overload("uint", value)


def _ranged(value: int, low: int, high: int, name: str) -> int:
    if not low <= value <= high:
        raise EvaluationError(f"{value if abs(value) < 10**30 else 'number'} out of {name} range")
    return value


def _digits(text: str, name: str) -> int:
    body = text.strip(_SPACE)
    digits = body[1:] if body[:1] in ("+", "-") else body
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 40):
        raise EvaluationError(f"cannot convert string to {name}: {describe(text)}")
    return int(body)


def _to_double(budget: Budget, value: Value) -> float:
    if kind(value) in ("int", "uint", "double"):
        return _double(budget, as_double(value))
    if not isinstance(value, str):
        raise no_overload("double", value)
    body = value.strip(_SPACE)
    try:
        if "_" in body or not body.isascii():
            raise ValueError
        return _double(budget, float(body))
    except ValueError:
        raise EvaluationError(f"cannot convert string to double: {describe(value)}") from None


def double_text(value: float) -> str:
    """A double as ``string()`` of the library writes it: the fewest digits that read back as the same number.

    The power of ten is written apart from a million on, and below a ten-thousandth.
    """
    if not math.isfinite(value):
        return f"{value:g}"
    text = next(text for digits in range(17) if float(text := f"{value:.{digits}e}") == value)
    mantissa, exponent = text.split("e")
    power = int(exponent)
    if not -4 <= power < 6:
        return text
    return f"{value:.{max(0, len(mantissa.lstrip('-').replace('.', '')) - 1 - power)}f}"


def _to_string(budget: Budget, value: Value) -> str:
    match kind(value):
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "int" | "uint":
            return str(int(value))
        case "double":
            return double_text(value)
        case "bytes":
            budget.take(len(value))
            try:
                return str(value, "utf-8")
            except UnicodeDecodeError:
                raise EvaluationError("malformed UTF-8 bytes") from None
        case "google.protobuf.Timestamp":
            return times.format_timestamp(value)
        case "google.protobuf.Duration":
            return times.format_duration(value)
    raise no_overload("string", value)


def _to_bytes(budget: Budget, value: Value) -> bytes:
    if isinstance(value, str):
        budget.take(len(value))
        return value.encode("utf-8", "replace")
    if isinstance(value, bytes):
        return value
    raise no_overload("bytes", value)


def _to_bool(budget: Budget, value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise no_overload("bool", value)
    if value in ("1", "t", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "false", "FALSE", "False"):
        return False
    raise EvaluationError(f"cannot convert string to bool: {describe(value)}")


def _to_timestamp(budget: Budget, value: Value) -> Timestamp:
    if isinstance(value, str):
        return times.parse_timestamp(value)
    if kind(value) == "int":
        return times.timestamp(value * times.SECOND)
    if isinstance(value, Timestamp):
        return value
    raise no_overload("timestamp", value)


def _to_duration(budget: Budget, value: Value) -> Duration:
    if isinstance(value, str):
        return times.parse_duration(value)
    if isinstance(value, Duration):
        return value
    raise no_overload("duration", value)


def _getter(name: str) -> Function:
    def apply(budget: Budget, value: Value, zone: Value = "UTC") -> int:
        if isinstance(value, Timestamp) and isinstance(zone, str):
            return times.get_field(value, name, zone)
        if isinstance(value, Duration) and name in _DURATION_GETTERS:
            return times.get_duration_field(value, name)
        raise no_overload(name, value)

    return apply


_DURATION_GETTERS = ("getHours", "getMinutes", "getSeconds", "getMilliseconds")
_GETTERS = (*_DURATION_GETTERS, "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear")

FOREIGN = frozenset({"uint", "bytes", "timestamp", "duration", "type"})
"""Functions whose results JSON cannot hold as they are."""

FUNCTIONS: dict[str, Function] = {
    "_+_": _add,
    "_-_": _subtract,
    "_*_": _arithmetic("_*_", operator.mul),
    "_/_": _arithmetic("_/_", _quotient),
    "_%_": _modulo,
    "-_": _negate,
    "!_": _not,
    "_==_": lambda budget, left, right: equal(left, right, budget),
    "_!=_": lambda budget, left, right: not equal(left, right, budget),
    "_<_": _ordering("_<_", (-1,)),
    "_<=_": _ordering("_<=_", (-1, 0)),
    "_>_": _ordering("_>_", (1,)),
    "_>=_": _ordering("_>=_", (1, 0)),
    "@in": _contains_element,
    "_[_]": _index,
    "size": _size,
    "contains": _text_test("contains", lambda text, part: part in text),
    "startsWith": _text_test("startsWith", str.startswith),
    "endsWith": _text_test("endsWith", str.endswith),
    "matches": _matches,
    "int": _to_int,
    "uint": _to_uint,
    "double": _to_double,
    "string": _to_string,
    "bytes": _to_bytes,
    "bool": _to_bool,
    "timestamp": _to_timestamp,
    "duration": _to_duration,
    "type": lambda budget, value: TypeName(kind(value)),
    "dyn": lambda budget, value: value,
    **{name: _getter(name) for name in _GETTERS},
}
