"""Compiles JSON values with ``{{ expression }}`` in their strings, for ``playbooks.templates`` to render.

``{{`` itself is written ``{{ '{{' }}``.  Keys of objects are not templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playbooks.expressions import Expression, ExpressionError, Reference
from playbooks.plan import Template
from playbooks.record import Json
from playbooks.text import Span, UnclosedTemplate, find_templates

MAX_PROBLEMS = 100
"""Problems of one value after which no more are looked for."""

Path = tuple[str | int, ...]
Compiler = Callable[[str], Expression]
"""Compiles the source of one expression; raises ExpressionError."""


@dataclass(frozen=True, slots=True)
class PlacedProblem:
    """Something wrong in the string at ``path``: at ``line`` and ``column`` (from 1) after ``offset`` in it."""

    path: Path
    offset: int
    line: int
    column: int
    message: str

    def place(self, value: Json) -> tuple[int, int]:
        """Line and column within the string of ``value``."""
        return _place(value, self.path, self.offset, self.line, self.column)


@dataclass(frozen=True, slots=True)
class PlacedReference:
    """A use of a name in the string at ``path``; its line and column count from ``offset`` in that string."""

    path: Path
    offset: int
    reference: Reference

    def place(self, value: Json) -> tuple[int, int]:
        """Line and column within the string of ``value``."""
        return _place(value, self.path, self.offset, self.reference.line, self.reference.column)


def _place(value: Json, path: Path, offset: int, line: int, column: int) -> tuple[int, int]:
    for key in path:
        value = value[key]
    before = value.count("\n", 0, offset)
    return before + line, column + (offset - value.rfind("\n", 0, offset) - 1 if line == 1 else 0)


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
            parsed.problems.append(PlacedProblem(path, error.position, 1, 1, str(error)))
            continue
        _StringCompiler(parsed, path, text, compiler, secrets_allowed).compile(spans)
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


@dataclass(frozen=True, slots=True)
class _StringCompiler:
    """Compiles one string that holds templates."""

    parsed: ParsedTemplate
    path: Path
    text: str
    compiler: Compiler
    secrets_allowed: bool

    def compile(self, spans: list[Span]) -> None:
        parts: list[Json] = []
        position = 0
        for span in spans:
            if len(self.parsed.problems) > MAX_PROBLEMS:
                return
            if span.start > position:
                parts.append(self.text[position : span.start])
            position = span.end
            part = self.part(span.inner_start, self.text[span.inner_start : span.inner_end])
            if part is not None:
                parts.append(part)
        if position < len(self.text):
            parts.append(self.text[position:])
        whole = len(parts) == 1 and isinstance(parts[0], list) and parts[0][0] == "x"
        slot = [list(self.path), "value", parts[0][1]] if whole else [list(self.path), "text", parts]
        self.parsed.template[1].append(slot)

    def part(self, offset: int, source: str) -> Json:
        """One template as a part; None, with its problems noted, when it is wrong."""
        if not source.strip():
            return self.problem(offset, 1, 1, "the template is empty")
        try:
            expression = self.compiler(source)
        except ExpressionError as error:
            for problem in error.problems:
                self.problem(offset, problem.line, problem.column, problem.message)
            return None
        secret = next((use for use in expression.references if use.root == "secrets"), None)
        if secret is None:
            self.parsed.references.extend(PlacedReference(self.path, offset, use) for use in expression.references)
            return ["x", expression.tree]
        name = _secret_name(expression)
        if self.secrets_allowed and name is not None:
            return ["secret", name]
        return self.problem(offset, secret.line, secret.column, _SECRET_FORM if self.secrets_allowed else _SECRET_PLACE)

    def problem(self, offset: int, line: int, column: int, message: str) -> None:
        self.parsed.problems.append(PlacedProblem(self.path, offset, line, column, message))


_SECRET_FORM = "a secret stands alone in its braces: {{ secrets.name }}"
_SECRET_PLACE = "secrets may be used only in the parameters of an action"


def _secret_name(expression: Expression) -> str | None:
    """The name, where the whole expression is ``secrets.name``."""
    tree = expression.tree
    operand = tree[1] if tree[0] == "s" else tree[2] if tree[:2] == ["c", "_[_]"] else None
    if operand != ["v", "secrets"] or len(expression.references) != 1 or len(expression.references[0].path) != 1:
        return None
    return expression.references[0].path[0]
