"""What is checked of a definition when it is stored: expressions, what they refer to, and the parameters of actions.

Faults are collected, never raised one by one, so that an author sees all of them at once (FORMAT.md).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from playbooks.actions import ActionSpec, Catalogue
from playbooks.document import Document
from playbooks.expressions import Expression, ExpressionError, Problem, Reference, compile_expression
from playbooks.faults import Fault
from playbooks.layout import Layout, Reader
from playbooks.parsing import ParsedTemplate, compile_template
from playbooks.plan import Template, Tree
from playbooks.record import Json
from playbooks.schemas import errors_of, told, validator

Path = tuple[str | int, ...]

SCOPE = ("parameters", "asset", "execution", "steps", "vars", "finding", "container", "artifacts", "item", "index")
"""Names that expressions of a playbook may use, beside ``secrets``, which only templates take."""

ASSET_FIELDS = ("id", "name", "type", "hostname", "ip", "url", "tags", "attributes")
EXECUTION_FIELDS = ("id", "dry_run", "started_at")
ENDED_FIELDS = (*EXECUTION_FIELDS, "status", "error")
"""Fields of ``execution`` in the steps of ``always``, which know how the rest of the run has ended."""

STEP_FIELDS = ("status", "output", "error")

MAX_FAULTS = 100
MAX_NODES = 40_000
"""Nodes of all the expressions of one definition together: compiling more would take more than a second."""

_COMPILING = 8
"""What it takes to compile any expression at all, in nodes."""

_SUGGESTIONS = 20


@dataclass(slots=True)
class Faults:
    """The faults found so far; beyond ``MAX_FAULTS`` they are not kept."""

    document: Document
    found: list[Fault] = field(default_factory=list)
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.found)

    @property
    def full(self) -> bool:
        """Whether there are so many that looking for more is of no use."""
        return self.more

    def add(self, path: Path, message: str) -> None:
        """Notes a fault at ``path``."""
        if len(self.found) < MAX_FAULTS:
            self.found.append(self.document.fault(path, message))
        else:
            self.more = True

    def add_within(self, path: Path, line: int, column: int, message: str) -> None:
        """Notes a fault at a place within the string at ``path``."""
        if len(self.found) < MAX_FAULTS:
            self.found.append(self.document.fault_within(path, line, column, message))
        else:
            self.more = True

    def listed(self) -> list[Fault]:
        """The faults, in the order of the text, and whether there are more."""
        result = sorted(dict.fromkeys(self.found), key=lambda fault: (fault.line or 0, fault.column or 0))
        return [*result, Fault("", f"there are more faults; these are the first {MAX_FAULTS}")] if self.more else result


class Expressions:
    """Compiles the expressions of one definition, each text once, and bounds them together."""

    def __init__(self, scope: Iterable[str] = SCOPE) -> None:
        self.names = (*scope, "secrets")
        self.cache: dict[str, Expression | ExpressionError] = {}
        self.left = MAX_NODES

    def compile(self, source: str) -> Expression:
        """The compiled ``source``.  Raises ExpressionError."""
        self.left -= 1
        if self.left <= 0:
            raise ExpressionError([Problem(1, 1, "the expressions of this playbook are too large together")])
        known = self.cache.get(source)
        if known is None:
            known = self.cache[source] = self._compile(source)
        if isinstance(known, ExpressionError):
            raise known
        return known

    def _compile(self, source: str) -> Expression | ExpressionError:
        try:
            expression = compile_expression(source, self.names)
        except ExpressionError as error:
            self.left -= _COMPILING + error.size + len(source) // 8
            return error
        self.left -= _COMPILING + expression.size
        return expression


@dataclass(slots=True)
class Checker:
    """Compiles and checks the texts of a definition.

    ``parameter_names`` is None where the schema does not tell them all.
    """

    faults: Faults
    catalogue: Catalogue
    layout: Layout
    parameter_names: frozenset[str] | None
    expressions: Expressions = field(default_factory=Expressions)
    validators: dict[str, Any] = field(default_factory=dict)
    suggested: int = 0
    lost: set[int] = field(default_factory=set)
    """The steps, by index, of which a way leads nowhere that is known."""

    def expression(self, source: str, path: Path, reader: Reader) -> Tree:
        """The tree of a field that is an expression; of a wrong one, an empty tree."""
        try:
            expression = self.expressions.compile(source)
        except ExpressionError as error:
            for problem in error.problems:
                self.faults.add_within(path, problem.line, problem.column, problem.message)
            return []
        for reference in expression.references:
            message = self._reference_fault(reference, reader)
            if message is not None:
                self.faults.add_within(path, reference.line, reference.column, message)
        return expression.tree

    def template(self, value: Json, path: Path, reader: Reader, secrets: bool = False) -> ParsedTemplate:
        """The template of a value; faults are noted."""
        parsed = compile_template(value, self.expressions.compile, secrets)
        for problem in parsed.problems[: MAX_FAULTS + 1]:
            self.faults.add_within((*path, *problem.path), *problem.place(value), problem.message)
        for use in parsed.references:
            message = self._reference_fault(use.reference, reader)
            if message is not None and not self.faults.full:
                self.faults.add_within((*path, *use.path), *use.place(value), message)
        return parsed

    def _reference_fault(self, reference: Reference, reader: Reader) -> str | None:
        match reference.root:
            case "parameters":
                known = self.parameter_names
                if known is not None and reference.path and reference.path[0] not in known:
                    return f"there is no parameter `{reference.path[0]}`{self.suggest(reference.path[0], known)}"
            case "asset":
                return _field_fault("asset", reference.path, ASSET_FIELDS)
            case "execution":
                ended = any(place.index >= self.layout.always for place in reader.chain)
                return _field_fault("execution", reference.path, ENDED_FIELDS if ended else EXECUTION_FIELDS)
            case "secrets":
                return "secrets may be used only in the parameters of an action"
            case "item" if not reader.has_item:
                return "`item` has a value only inside of a foreach"
            case "index" if not reader.in_loop:
                return "`index` has a value only inside of a foreach or a while"
            case "steps":
                return self._step_fault(reference.path, reader)
        return None

    def _step_fault(self, path: tuple[str, ...], reader: Reader) -> str | None:
        if not path:
            return "a step is named by its id: steps.<id> or steps['<id>']"
        target = self.layout.by_id.get(path[0])
        if target is None:
            return f"there is no step `{path[0]}`{self.suggest(path[0], self.layout.by_id)}"
        return self.layout.hidden(target, reader) or _field_fault("a step", path[1:], STEP_FIELDS)

    def action(self, name: str, path: Path) -> ActionSpec | None:
        """The action of that name; None, with a fault, when there is none."""
        spec = self.catalogue.get(name)
        if spec is None:
            self.faults.add(path, f"there is no action `{name[:100]}`{self.suggest(name, self.catalogue)}")
        return spec

    def action_parameters(self, spec: ActionSpec, value: dict[str, Json], path: Path, reader: Reader) -> Template:
        """The template of an action's parameters, held to its input schema where they are constant."""
        parsed = self.template(value, path, reader, secrets=True)
        checker = self.validators.get(spec.name)
        if checker is None:
            checker = self.validators[spec.name] = validator(spec.input_schema)
        if not checker.is_valid(value) and not self.faults.full:
            templated = set(parsed.paths)
            above = {place[:length] for place in templated for length in range(len(place) + 1)}
            for error in errors_of(checker, value):
                if not _depends_on_template(tuple(error.instance_path), error.kind.name, templated, above):
                    for where, message in told(error):
                        self.faults.add((*path, *where), message)
                if self.faults.full:
                    break
        return parsed.template

    def suggest(self, name: str, known: Iterable[str]) -> str:
        """A question after the name that was perhaps meant; nothing after the first few, since looking is slow."""
        self.suggested += 1
        if self.suggested > _SUGGESTIONS or len(name) > 100:
            return ""
        close = difflib.get_close_matches(name, list(known)[:1000], n=1)
        return f"; is `{close[0]}` meant?" if close else ""


_OF_NAMES = frozenset({"required", "additionalProperties", "unevaluatedProperties"})


def _depends_on_template(path: Path, kind: str, templated: set[Path], above: set[Path]) -> bool:
    """Whether a violation at ``path`` may vanish once templates are filled in."""
    if any(path[:length] in templated for length in range(len(path) + 1)):
        return True
    return kind not in _OF_NAMES and path in above


def _field_fault(owner: str, path: tuple[str, ...], fields: tuple[str, ...]) -> str | None:
    if path and path[0] not in fields:
        return f"{owner} has no `{path[0]}`; it has {', '.join(fields)}"
    return None


def declared_names(schema: Mapping[str, Json]) -> frozenset[str] | None:
    """The parameters that may be referred to; None where the schema leaves them open."""
    properties = schema.get("properties")
    open_ended = schema.get("additionalProperties") not in (None, False) or "patternProperties" in schema
    combined = any(keyword in schema for keyword in ("allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas"))
    if not isinstance(properties, dict) or open_ended or combined:
        return None
    return frozenset(properties)
