"""The walk of ``playbooks.evaluation`` is held to the evaluator of the library that compiles expressions."""

from __future__ import annotations

import base64
import datetime
import math
import os
from collections.abc import Callable
from typing import Any
from unittest import mock

from cel_expr_python import cel
from hypothesis import assume, example, given, settings

from playbooks import evaluation
from playbooks.evaluation import EvaluationError, evaluate
from playbooks.expressions import ExpressionError, compile_expression
from playbooks.times import format_duration, format_timestamp
from playbooks.values import Duration, Timestamp, elements
from tests.unit.playbooks.cel_strategies import DATA, expressions, macros

ERROR = "an error"
EXAMPLES = int(os.environ.get("EXAMPLES", "500"))
"""More of them, with ``HYPOTHESIS_PROFILE=explore``, look further than a test run has time for."""

_ENVIRONMENT = cel.NewEnv(variables=dict.fromkeys(DATA, cel.Type.DYN))
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_ORDERS: list[Callable[[list[Any]], list[Any]]] = [
    lambda keys: keys[::-1],
    lambda keys: keys[1:] + keys[:1],
]
_TYPES = {
    "INT": "int",
    "UINT": "uint",
    "DOUBLE": "double",
    "STRING": "string",
    "BOOL": "bool",
    "BYTES": "bytes",
    "NULL": "null_type",
    "TYPE": "type",
    "TIMESTAMP": "google.protobuf.Timestamp",
    "DURATION": "google.protobuf.Duration",
}


def by_library(source: str) -> Any:
    """What the library makes of ``source``, told as ``evaluate`` tells it."""
    try:
        value = _ENVIRONMENT.compile(source).eval(data=DATA)
    except RuntimeError:
        return ERROR
    if value.type() == cel.Type.ERROR:
        return ERROR
    return plain(value.plain_value())


def plain(value: Any) -> Any:
    """A value of the library as JSON; what JSON has no word for raises ``ValueError``."""
    if isinstance(value, cel.Type):
        name = value.name()
        return _TYPES.get(name, "list" if name.startswith("LIST") else "map")
    if isinstance(value, bytearray | bytes):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, datetime.datetime):
        return format_timestamp(Timestamp(micros(value - _EPOCH) * 1000))
    if isinstance(value, datetime.timedelta):
        return format_duration(Duration(micros(value) * 1000))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    if isinstance(value, dict):
        named = {key if isinstance(key, str) else str(key).lower(): plain(item) for key, item in value.items()}
        if len(named) != len(value):
            raise ValueError
        return named
    return [plain(item) for item in value] if isinstance(value, list) else value


def micros(span: datetime.timedelta) -> int:
    """Whole microseconds."""
    return span // datetime.timedelta(microseconds=1)


def by_walk(source: str) -> Any:
    """What our own walk makes of ``source``."""
    try:
        return evaluate(compile_expression(source, DATA).tree, DATA)
    except (EvaluationError, ExpressionError):
        return ERROR


def by_walk_in(order: Callable[[list[Any]], list[Any]], source: str) -> Any:
    """What our own walk makes of ``source`` when it goes through the keys of a map in another order."""

    def reordered(value: Any) -> list[Any]:
        return order(list(elements(value))) if isinstance(value, dict) else list(elements(value))

    with mock.patch.object(evaluation, "elements", reordered):
        return by_walk(source)


def check(source: str) -> None:
    """Holds the two to each other, where the library takes the expression at all.

    CEL leaves the order of a map's keys open, and the library's differs from process to process: an expression
    whose value depends on it is left out.
    """
    try:
        _ENVIRONMENT.compile(source)
    except RuntimeError:
        assume(False)
    try:
        expected = by_library(source)
    except ValueError:
        expected = ERROR
    actual = by_walk(source)
    assume(all(same(by_walk_in(order, source), actual) for order in _ORDERS))
    assert same(actual, expected), (source, actual, expected)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all the way down: in Python 1, 1.0 and True are equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other) and str(one) == str(other)


@settings(deadline=None, max_examples=EXAMPLES)
@given(expressions)
@example("parameters.i / 0 == 1 || true")
@example("[1, 2, 3].map(x, x > 1, x * 2)")
def test_any_expression(source: str) -> None:
    """Any expression has the library's value, or fails where the library's fails."""
    check(source)


@settings(deadline=None, max_examples=EXAMPLES)
@given(macros)
def test_any_macro(source: str) -> None:
    """Any macro over lists and maps has the library's value, errors of single elements included."""
    check(source)
