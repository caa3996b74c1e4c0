"""Compiles an expression of CEL to the tree that ``playbooks.evaluation`` walks, and says what it refers to.

Only what stores definitions imports this module: a worker has no need of the CEL library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from cel_expr_python import cel

from playbooks.checked import Checked, Unsupported, read_checked
from playbooks.cost import check_cost
from playbooks.plan import Tree
from playbooks.text import braces_to_parentheses
from playbooks.values import MAX_STEPS, BudgetError, EvaluationError

MAX_SOURCE = 4096
"""Characters of one expression."""

MAX_MACROS = 3
"""Levels of macros in one another."""

_MESSAGE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_UNKNOWN = re.compile(r"undeclared reference to '\.?([^']+)'")
_MACROS = frozenset({"all", "exists", "exists_one", "map"})
_EXPECTING = re.compile(r" expecting (\{.*\}|<EOF>|'.*')$")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in an expression; ``line`` and ``column`` count from 1."""

    line: int
    column: int
    message: str


class ExpressionError(Exception):
    """An expression that does not compile; carries everything that is wrong with it, and what it took to say so."""

    def __init__(self, problems: list[Problem], size: int = 20) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems
        self.size = size


@dataclass(frozen=True, slots=True)
class Reference:
    """A use of a name in scope: ``path`` is what is selected from it by constants, as far as that goes."""

    root: str
    path: tuple[str, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression: ``size`` says what it took to compile and check it, in nodes."""

    tree: Tree
    references: tuple[Reference, ...]
    size: int


def compile_expression(source: str, names: Iterable[str]) -> Expression:
    """Compiles ``source``, in which ``names`` may be used.  Raises ExpressionError."""
    if len(source) > MAX_SOURCE:
        raise ExpressionError([Problem(1, 1, f"an expression has at most {MAX_SOURCE} characters")])
    text = braces_to_parentheses(source)
    try:
        serialized = _environment(frozenset(names)).compile(text).serialize()
        checked = read_checked(serialized)
        _check_macros(checked.tree, checked, 0)
        size = checked.size + check_cost(checked.tree) // 10
    except RuntimeError as error:
        raise ExpressionError(_problems(str(error), text.split("\n"))) from None
    except Unsupported as error:
        raise ExpressionError([Problem(*_place(text, error.position), error.message)]) from None
    except BudgetError as error:
        raise ExpressionError([Problem(1, 1, str(error))], size=MAX_STEPS // 10) from None
    except EvaluationError as error:
        raise ExpressionError([Problem(1, 1, str(error))]) from None
    except (TypeError, UnicodeError):
        raise ExpressionError([Problem(1, 1, "the expression is not valid Unicode")]) from None
    references = tuple(
        Reference(root, path, *_place(text, position))
        for root, path, position in _references(checked.tree, checked, frozenset())
    )
    return Expression(checked.tree, references, size)


@lru_cache(maxsize=32)
def _environment(names: frozenset[str]) -> cel.Env:
    return cel.NewEnv(variables=dict.fromkeys(sorted(names), cel.Type.DYN))


def _problems(report: str, lines: list[str]) -> list[Problem]:
    """The library's report on the ``lines`` of an expression, one problem a message."""
    problems = [
        _problem(max(int(match[1]), 1), max(int(match[2]), 1), match[3], lines) for match in _MESSAGE.finditer(report)
    ]
    if not problems:
        problems = [Problem(1, 1, _sentence(report.split("\n")[0]))]
    return list(dict.fromkeys(problems))[:20]


def _problem(line: int, column: int, message: str, lines: list[str]) -> Problem:
    """One problem; a name that is unknown is told where it begins, the library says where its last part does."""
    unknown = _UNKNOWN.match(message)
    if unknown is None:
        return Problem(line, column, _sentence(message))
    name = unknown[1]
    start = lines[line - 1].rfind(name, 0, column + len(name)) if line <= len(lines) else -1
    return Problem(line, start + 1 if start >= 0 else column, f"unknown name '{name.split('.')[0]}'")


def _sentence(message: str) -> str:
    message = message.removesuffix(" [INVALID_ARGUMENT]").replace(" (in container '')", "")
    if "recursion" in message:
        return "the expression is nested too deeply: at most 32 levels"
    message = _EXPECTING.sub("", message)
    return message.replace("input '<EOF>'", "end of the expression").replace("at '<EOF>'", "at the end")


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _check_macros(node: Tree, checked: Checked, level: int) -> None:
    if node[0] in _MACROS:
        level += 1
        if level > MAX_MACROS:
            position = checked.positions.get(id(node), 0)
            raise Unsupported(f"macros are nested deeper than {MAX_MACROS}", position)
    for child in children(node):
        _check_macros(child, checked, level)


def children(node: Tree) -> Iterator[Tree]:
    """The nodes directly under ``node``."""
    return (part for part in node[1:] if isinstance(part, list))


def _references(node: Tree, checked: Checked, bound: frozenset[str]) -> Iterator[tuple[str, tuple[str, ...], int]]:
    path: list[str] = []
    inner = node
    while (selected := _selected(inner)) is not None:
        inner, name = selected
        path.insert(0, name)
    if inner[0] == "v":
        if inner[1] not in bound:
            yield inner[1], tuple(path), checked.positions.get(id(inner), 0)
        return
    if path:
        yield from _references(inner, checked, bound)
        return
    if node[0] in _MACROS:
        yield from _references(node[2], checked, bound)
        for child in node[3:]:
            if child is not None:
                yield from _references(child, checked, bound | {node[1]})
        return
    for child in children(node):
        yield from _references(child, checked, bound)


def _selected(node: Tree) -> tuple[Tree, str] | None:
    if node[0] in ("s", "h"):
        return node[1], node[2]
    if node[:2] == ["c", "_[_]"] and node[3][0] == "k" and isinstance(node[3][1], str):
        return node[2], node[3][1]
    return None
