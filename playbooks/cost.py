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

_LITERAL_ARGUMENT = {"timestamp": parse_timestamp, "duration": parse_duration, "matches": compile_pattern}


@dataclass(frozen=True, slots=True)
class _Bound:
    """What a node uses at least; ``closed``: it refers to no name; ``heavy``: it holds a macro or joins values."""

    steps: int = 1
    bytes: int = 0
    length: int | None = None
    closed: bool = True
    heavy: bool = False


def check_cost(tree: Tree) -> int:
    """The steps that were taken to check ``tree``.

    Raises EvaluationError when it cannot be evaluated within a budget, or holds a literal that is wrong.
    """
    checker = _Checker()
    bound = checker.bound(tree, frozenset())
    if bound.steps > MAX_STEPS:
        raise BudgetError("the expression takes too many steps")
    if bound.bytes > MAX_BYTES:
        raise BudgetError("the expression makes values that are too large")
    if bound.closed and bound.heavy:
        checker.attempt(tree)
    return checker.taken


class _Checker:
    def __init__(self) -> None:
        self.taken = 0

    def attempt(self, tree: Tree) -> None:
        """Evaluates a part that refers to nothing outside of it; only the budget counts here."""
        budget = Budget()
        try:
            evaluate(tree, {}, budget)
        except BudgetError:
            raise
        except EvaluationError:
            pass
        finally:
            self.taken += MAX_STEPS - budget.steps

    def bound(self, node: Tree, names: frozenset[str]) -> _Bound:
        match node[0]:
            case "v":
                return _Bound(closed=node[1] in names)
            case "k" | "d" | "u" | "b" | "t":
                return _Bound(length=len(node[1]) if isinstance(node[1], str) else None)
            case "all" | "exists" | "exists_one" | "map":
                return self.macro(node, names)
        if node[0] == "c":
            _check_literal(node)
        parts = [part for part in node[1:] if isinstance(part, list)]
        children = [self.bound(part, names) for part in parts]
        if not names:
            self.attempt_closed(parts, children)
        return _combined(node, children)

    def attempt_closed(self, parts: list[Tree], children: list[_Bound]) -> None:
        """Tries the largest closed parts: those of a node that is not closed itself."""
        if all(child.closed for child in children):
            return
        for part, child in zip(parts, children, strict=True):
            if child.closed and child.heavy:
                self.attempt(part)

    def macro(self, node: Tree, names: frozenset[str]) -> _Bound:
        source = self.bound(node[2], names)
        inner = [self.bound(part, names | {node[1]}) for part in node[3:] if part is not None]
        closed = source.closed and all(part.closed for part in inner)
        if not names and source.closed and source.heavy and not closed:
            self.attempt(node[2])
        times = source.length if source.length is not None and node[2][0] in ("l", "map") else 0
        if node[0] in ("all", "exists"):
            times = min(times, 1)
        steps = 1 + source.steps + times * inner[0].steps
        size = source.bytes + times * inner[0].bytes
        length = times if node[0] == "map" and node[3] is None and source.length is not None else None
        return _Bound(steps, size + 8 * (length or 0), length, closed, heavy=True)


def _combined(node: Tree, children: list[_Bound]) -> _Bound:
    certain = children[:1] if node[0] in ("if", "and", "or") else children
    size = sum(child.bytes for child in certain)
    length = None
    joins = node[:2] == ["c", "_+_"]
    if node[0] in ("l", "m"):
        length = len(children)
        size += 8 * length
    elif joins and all(child.length is not None for child in children):
        length = sum(child.length or 0 for child in children)
        size += length
    return _Bound(
        steps=1 + sum(child.steps for child in certain),
        bytes=size,
        length=length,
        closed=all(child.closed for child in children),
        heavy=joins or any(child.heavy for child in children),
    )


def _check_literal(node: Tree) -> None:
    literal = node[-1]
    if node[1] in _LITERAL_ARGUMENT and literal[0] == "k" and isinstance(literal[1], str):
        _LITERAL_ARGUMENT[node[1]](literal[1])
