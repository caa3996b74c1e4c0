"""Compiles JSON values with ``{{ expression }}`` in their strings, for ``playbooks.templates`` to render.

``{{`` itself is written ``{{ '{{' }}``.  Keys of objects are not templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playbooks.expressions import Expression, ExpressionError, Problem, Reference
from playbooks.plan import Template
from playbooks.record import Json
from playbooks.text import Span, UnclosedTemplate, find_templates

Path = tuple[str | int, ...]
Compiler = Callable[[str], Expression]
"""Compiles the source of one expression; raises ExpressionError."""


@dataclass(frozen=True, slots=True)
class PlacedProblem:
    """Something wrong in the string at ``path``; ``line`` and ``column`` count from 1 within that string."""

    path: Path
    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class PlacedReference:
    """A use of a name in the string at ``path``; the reference's line and column count within that string."""

    path: Path
    reference: Reference


@dataclass(frozen=True, slots=True)
class ParsedTemplate:
    """A compiled template, what it refers to, and everything wrong in it; with problems it must not be rendered."""

    template: Template
    references: list[PlacedReference]
    problems: list[PlacedProblem]

    @property
    def paths(self) -> list[Path]:
        """The places of the strings that hold templates."""
        return [*(tuple(slot[0]) for slot in self.template[1]), *(problem.path for problem in self.problems)]


def compile_template(value: Json, compiler: Compiler, secrets_allowed: bool = False) -> ParsedTemplate:
    """Compiles ``value``.  ``{{ secrets.name }}`` is taken only with ``secrets_allowed``; it has no other form."""
    parsed = ParsedTemplate([value, []], [], [])
    for path, text in _strings(value, ()):
        if "{{" not in text:
            continue
        try:
            spans = find_templates(text)
        except UnclosedTemplate as error:
            parsed.problems.append(PlacedProblem(path, *_place(text, error.position), str(error)))
            continue
        _compile_string(parsed, path, text, spans, compiler, secrets_allowed)
    return parsed


def _strings(value: Json, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def _compile_string(
    parsed: ParsedTemplate, path: Path, text: str, spans: list[Span], compiler: Compiler, secrets_allowed: bool
) -> None:
    parts: list[Json] = []
    position = 0
    for span in spans:
        if span.start > position:
            parts.append(text[position : span.start])
        position = span.end
        part = _compile_span(parsed, path, text, span, compiler, secrets_allowed)
        if part is not None:
            parts.append(part)
    if position < len(text):
        parts.append(text[position:])
    if len(parts) == 1 and isinstance(parts[0], list) and parts[0][0] == "x":
        parsed.template[1].append([list(path), "value", parts[0][1]])
    else:
        parsed.template[1].append([list(path), "text", parts])


def _compile_span(
    parsed: ParsedTemplate, path: Path, text: str, span: Span, compiler: Compiler, secrets_allowed: bool
) -> Json:
    line, column = _place(text, span.inner_start)
    source = text[span.inner_start : span.inner_end]
    if not source.strip():
        parsed.problems.append(PlacedProblem(path, line, column, "the template is empty"))
        return None
    try:
        expression = compiler(source)
    except ExpressionError as error:
        parsed.problems.extend(_shifted(path, line, column, problem) for problem in error.problems)
        return None
    secrets = [reference for reference in expression.references if reference.root == "secrets"]
    if secrets:
        name = _secret_name(expression)
        if secrets_allowed and name is not None:
            return ["secret", name]
        message = _SECRET_FORM if secrets_allowed else _SECRET_PLACE
        parsed.problems.append(_shifted(path, line, column, Problem(secrets[0].line, secrets[0].column, message)))
        return None
    parsed.references.extend(PlacedReference(path, _moved(line, column, use)) for use in expression.references)
    return ["x", expression.tree]


_SECRET_FORM = "a secret stands alone in its braces: {{ secrets.name }}"
_SECRET_PLACE = "secrets may be used only in the parameters of an action"


def _secret_name(expression: Expression) -> str | None:
    """The name, where the whole expression is ``secrets.name``."""
    (first, *rest) = expression.references
    selects = expression.tree[0] == "s" or expression.tree[:2] == ["c", "_[_]"]
    if rest or len(first.path) != 1 or not selects or expression.tree[-2 if expression.tree[0] == "c" else 1][0] != "v":
        return None
    return first.path[0]


def _shifted(path: Path, line: int, column: int, problem: Problem) -> PlacedProblem:
    return PlacedProblem(path, *_shift(line, column, problem.line, problem.column), problem.message)


def _moved(line: int, column: int, use: Reference) -> Reference:
    return Reference(use.root, use.path, *_shift(line, column, use.line, use.column))


def _shift(line: int, column: int, inner_line: int, inner_column: int) -> tuple[int, int]:
    return line + inner_line - 1, inner_column + (column - 1 if inner_line == 1 else 0)


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
