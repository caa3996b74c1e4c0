"""What an expression is certain to use, told from its tree alone.

An expression that would pass the budgets of every run is refused when it is stored.  Parts that refer to no name are
evaluated, under the very budget of a run; for the rest a lower bound is taken: the length of literal lists times what
their macro does for each element.
"""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.evaluation import evaluate
from playbooks.functions import compile_pattern
from playbooks.plan import Tree
from playbooks.times import parse_duration, parse_timestamp
from playbooks.values import MAX_BYTES, MAX_STEPS, Budget, BudgetError, EvaluationError

_LITERAL_ARGUMENT = {"timestamp": parse_timestamp, "duration": parse_duration}


@dataclass(frozen=True, slots=True)
class _Bound:
    steps: int = 1
    bytes: int = 0
    length: int | None = None
    closed: bool = True


def check_cost(tree: Tree) -> None:
    """Raises EvaluationError when ``tree`` cannot be evaluated within a budget, or holds a literal that is wrong."""
    bound = _bound(tree, frozenset())
    if bound.steps > MAX_STEPS:
        raise BudgetError("the expression takes too many steps")
    if bound.bytes > MAX_BYTES:
        raise BudgetError("the expression makes values that are too large")
    if bound.closed:
        _try(tree)


def _try(tree: Tree) -> None:
    """Evaluates a part that refers to nothing outside of it; only the budget counts here."""
    try:
        evaluate(tree, {}, Budget())
    except BudgetError:
        raise
    except EvaluationError:
        return


def _bound(node: Tree, names: frozenset[str]) -> _Bound:
    match node[0]:
        case "v":
            return _Bound(closed=node[1] in names)
        case "k" | "d" | "u" | "b" | "t":
            return _Bound(length=len(node[1]) if isinstance(node[1], str) else None)
        case "all" | "exists" | "exists_one" | "map":
            return _macro(node, names)
        case "if" | "and" | "or":
            return _sum(node, [_bound(child, names) for child in node[1:]], certain=1)
    children = [_bound(part, names) for part in node[1:] if isinstance(part, list)]
    if node[0] == "c":
        _check_literal(node)
    return _sum(node, children, certain=len(children))


def _sum(node: Tree, children: list[_Bound], certain: int) -> _Bound:
    steps = 1 + sum(child.steps for child in children[:certain])
    size = sum(child.bytes for child in children[:certain])
    length = None
    if node[0] in ("l", "m"):
        length = len(children)
        size += 8 * length
    elif node[:2] == ["c", "_+_"] and all(child.length is not None for child in children):
        length = sum(child.length or 0 for child in children)
        size += length
    closed = all(child.closed for child in children)
    return _Bound(steps, size, length, closed)


def _macro(node: Tree, names: frozenset[str]) -> _Bound:
    source = _bound(node[2], names)
    inside = names | {node[1]}
    parts = [_bound(part, inside) for part in node[3:] if part is not None]
    times = 0
    if source.length is not None and node[2][0] in ("l", "map"):
        times = source.length if node[0] in ("map", "exists_one") else min(source.length, 1)
    first = parts[0]
    steps = 1 + source.steps + times * first.steps
    size = source.bytes + times * first.bytes
    length = None
    if node[0] == "map" and node[3] is None:
        length = times if source.length is not None else None
        size += 8 * times
    closed = source.closed and all(part.closed for part in parts)
    if closed and not names:
        _try(node)
    return _Bound(steps, size, length, closed)


def _check_literal(node: Tree) -> None:
    literal = node[-1]
    if literal[0] != "k" or not isinstance(literal[1], str):
        return
    if node[1] == "matches":
        compile_pattern(literal[1])
    elif node[1] in _LITERAL_ARGUMENT:
        _LITERAL_ARGUMENT[node[1]](literal[1])
