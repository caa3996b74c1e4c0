"""Evaluates a compiled expression.

The tree is plain JSON, one list a node, its first element the kind:

====================================== ======================================================================
``["k", value]``                       a constant: null, bool, int or string
``["d", text]`` ``["u", n]``           a double as its text; a uint
``["b", base64]`` ``["t", name]``      bytes; a type
``["v", name]``                        a name in scope, or the variable of a macro
``["s", x, field]`` ``["h", x, field]`` ``x.field``; ``has(x.field)``
``["c", function, arguments …]``       a function or operator; the receiver is its first argument
``["and", x, y]`` ``["or", x, y]``     ``&&`` and ``||``, which absorb an error of one side where the other decides
``["if", x, y, z]``                    ``x ? y : z``
``["l", items …]`` ``["m", k, v, …]``  a list; a map
``["all"|"exists"|"exists_one", variable, range, predicate]``
``["map", variable, range, predicate or null, transform]``  ``map`` and ``filter``
====================================== ======================================================================

The walk is our own, so that a worker needs no CEL library, a library upgrade cannot change a run under way, and
every evaluation is bounded in steps and bytes.  A property test holds it to the library's own evaluator.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from playbooks import times
from playbooks.functions import FOREIGN, FUNCTIONS
from playbooks.plan import Tree
from playbooks.record import MAX_NESTING, Json
from playbooks.values import (
    Budget,
    BudgetError,
    Duration,
    EvaluationError,
    Timestamp,
    TypeName,
    UInt,
    Value,
    as_key,
    describe,
    elements,
    from_key,
    kind,
    no_overload,
)

__all__ = ["Budget", "BudgetError", "EvaluationError", "evaluate"]

Scope = Mapping[str, Any]


def evaluate(tree: Tree, names: Mapping[str, Json], budget: Budget | None = None, within: int = 0) -> Json:
    """The JSON value of ``tree`` over ``names``.

    Timestamps become RFC 3339 text, durations text such as ``90s``, bytes base64, types their names.  A part of
    ``names`` that is referred to whole is returned itself, not copied.  The value is to stand ``within`` so many
    levels of lists and objects.  Raises EvaluationError.
    """
    budget = budget or Budget()
    value = _walk(tree, names, budget)
    if budget.foreign:
        value = to_json(value, budget)
    measure(value, budget, within)
    return value


def measure(value: Json, budget: Budget, within: int = 0) -> None:
    """Takes the size of ``value``, which stands ``within`` so many levels, in JSON from the bytes of ``budget``.

    A value may hold one and the same list many times over: small in memory, huge as text, so the walk stops in time.
    Raises BudgetError, and EvaluationError for a value that is nested too deeply.
    """
    level, depth = [value], within
    while level:
        if depth > MAX_NESTING:
            raise EvaluationError(f"the value is nested deeper than {MAX_NESTING}")
        level, depth = [part for item in level for part in _measured(item, budget)], depth + 1


def _measured(item: Json, budget: Budget) -> Iterable[Json]:
    """Takes the size of ``item`` without its parts; these."""
    if isinstance(item, str):
        budget.take(len(json.dumps(item, ensure_ascii=False).encode("utf-8", "replace")))
    elif isinstance(item, list):
        budget.take(2 + len(item))
        return item
    elif isinstance(item, dict):
        budget.take(2 + sum(len(key) + 4 for key in item))
        return item.values()
    else:
        budget.take(5)
    return ()


def to_json(value: Value, budget: Budget, depth: int = 0) -> Json:
    """``value`` with everything that JSON lacks as text.  Raises EvaluationError for what cannot be told as JSON."""
    budget.step()
    if depth > MAX_NESTING:
        raise EvaluationError(f"the value is nested deeper than {MAX_NESTING}")
    if isinstance(value, list):
        return [to_json(item, budget, depth + 1) for item in value]
    if isinstance(value, dict):
        result = {_key_text(key): to_json(item, budget, depth + 1) for key, item in value.items()}
        if len(result) != len(value):
            raise EvaluationError("two keys of the map have the same text in JSON")
        return result
    return _scalar_to_json(value, budget)


def _scalar_to_json(value: Value, budget: Budget) -> Json:
    if isinstance(value, UInt):
        return int(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise EvaluationError(f"{value} is no number of JSON")
    if isinstance(value, bytes):
        budget.take(len(value) * 4 // 3)
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Timestamp):
        return times.format_timestamp(value)
    if isinstance(value, Duration):
        return times.format_duration(value)
    return value.name if isinstance(value, TypeName) else value


def _key_text(key: Value) -> str:
    value = from_key(key)
    return value if isinstance(value, str) else str(value).lower()


def _walk(node: Tree, scope: Scope, budget: Budget) -> Value:
    budget.steps -= 1
    if budget.steps < 0:
        budget.step(0)
    return _NODES[node[0]](node, scope, budget)


def _constant(node: Tree, scope: Scope, budget: Budget) -> Value:
    return node[1]


def _foreign_constant(node: Tree, scope: Scope, budget: Budget) -> Value:
    budget.foreign = True
    match node[0]:
        case "u":
            return UInt(node[1])
        case "b":
            return base64.b64decode(node[1])
    return TypeName(node[1])


def _name(node: Tree, scope: Scope, budget: Budget) -> Value:
    try:
        return scope[node[1]]
    except KeyError:
        raise EvaluationError(f"unknown name: {node[1]}") from None


def _select(node: Tree, scope: Scope, budget: Budget) -> Value:
    operand = _walk(node[1], scope, budget)
    if not isinstance(operand, dict):
        raise EvaluationError(f"no such key: {describe(node[2])} (a {kind(operand)} has no fields)")
    if node[2] not in operand:
        raise EvaluationError(f"no such key: {describe(node[2])}")
    return operand[node[2]]


def _has(node: Tree, scope: Scope, budget: Budget) -> Value:
    operand = _walk(node[1], scope, budget)
    if not isinstance(operand, dict):
        raise EvaluationError(f"has() asks a {kind(operand)} for the field {describe(node[2])}")
    return bool(node[2] in operand)


def _call(node: Tree, scope: Scope, budget: Budget) -> Value:
    name = node[1]
    if name in FOREIGN:
        budget.foreign = True
    return FUNCTIONS[name](budget, *[_walk(argument, scope, budget) for argument in node[2:]])


def _logic(node: Tree, scope: Scope, budget: Budget) -> bool:
    decisive: bool = node[0] == "or"
    problem: EvaluationError | None = None
    for operand in node[1:]:
        try:
            value = _walk(operand, scope, budget)
        except BudgetError:
            raise
        except EvaluationError as error:
            problem = problem or error
            continue
        if value is decisive:
            return bool(value)
        if not isinstance(value, bool):
            problem = problem or no_overload(f"{node[0]}", value)
    if problem is not None:
        raise problem
    return not decisive


def _choose(node: Tree, scope: Scope, budget: Budget) -> Value:
    return _walk(node[2] if _truth(node[1], scope, budget) else node[3], scope, budget)


def _truth(node: Tree, scope: Scope, budget: Budget) -> bool:
    value = _walk(node, scope, budget)
    if not isinstance(value, bool):
        raise EvaluationError(f"a condition is true or false, not a {kind(value)}")
    return value


def _list(node: Tree, scope: Scope, budget: Budget) -> Value:
    budget.take(8 * len(node))
    return [_walk(item, scope, budget) for item in node[1:]]


def _map(node: Tree, scope: Scope, budget: Budget) -> Value:
    budget.take(16 * len(node))
    result: dict[Any, Value] = {}
    for position in range(1, len(node), 2):
        value = _walk(node[position], scope, budget)
        if isinstance(value, float):
            raise EvaluationError("a double cannot be the key of a map")
        key = as_key(value)
        if key in result:
            raise EvaluationError(f"duplicate key in map: {describe(value)}")
        if not isinstance(key, str):
            budget.foreign = True
        result[key] = _walk(node[position + 1], scope, budget)
    return result


def _scopes(node: Tree, scope: Scope, budget: Budget) -> Iterator[dict[str, Value]]:
    inner = dict(scope)
    for element in elements(_walk(node[2], scope, budget)):
        budget.step()
        inner[node[1]] = element
        yield inner


def _quantified(node: Tree, scope: Scope, budget: Budget) -> bool:
    decisive: bool = node[0] == "exists"
    problem: EvaluationError | None = None
    for inner in _scopes(node, scope, budget):
        try:
            if _truth(node[3], inner, budget) is decisive:
                return decisive
        except BudgetError:
            raise
        except EvaluationError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    return not decisive


def _exists_one(node: Tree, scope: Scope, budget: Budget) -> bool:
    return sum(_truth(node[3], inner, budget) for inner in _scopes(node, scope, budget)) == 1


def _mapped(node: Tree, scope: Scope, budget: Budget) -> Value:
    result = []
    for inner in _scopes(node, scope, budget):
        if node[3] is None or _truth(node[3], inner, budget):
            budget.take(8)
            result.append(_walk(node[4], inner, budget))
    return result


_NODES: dict[str, Callable[[Tree, Scope, Budget], Value]] = {
    "k": _constant,
    "d": lambda node, scope, budget: float(node[1]),
    "u": _foreign_constant,
    "b": _foreign_constant,
    "t": _foreign_constant,
    "v": _name,
    "s": _select,
    "h": _has,
    "c": _call,
    "and": _logic,
    "or": _logic,
    "if": _choose,
    "l": _list,
    "m": _map,
    "all": _quantified,
    "exists": _quantified,
    "exists_one": _exists_one,
    "map": _mapped,
}
