"""Holds the JSON Schemas of playbooks to what can be checked safely, and checks values against them.

The dialect is JSON Schema 2020-12.  A schema may refer only within itself and not in a circle, and what it asks for,
with every reference written out, is bounded: a few hundred bytes of references that double could otherwise take
gigabytes.  Patterns run on an engine of linear time, which knows no look-around and no back-references.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import jsonschema_rs

from playbooks.document import Path
from playbooks.record import Json

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_COST = 20_000
"""Keywords and choices of a schema with its references written out."""

MAX_WORK = 20_000_000
"""Cost of a schema times the values that it is held against."""

MAX_WORK_FOR_ALL = 50_000
"""The same, up to which every violation is listed; beyond it the first one."""

MAX_VALUES_FOR_ALL = 5_000
"""Values, names included, up to which every violation is listed."""

MAX_PATTERNS = 200
MAX_PROBLEMS = 100
_MAX_DEPTH = 150
_PATTERN_SIZE = 256 * 1024

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLES = (
    "additionalProperties",
    "items",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
)
_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
_SAME_VALUE = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "contains", "dependentSchemas", "dependencies"}
)
"""Keywords whose schemas are held against the value itself: what is left unevaluated is told by trying them again."""

Problem = tuple[tuple[str | int, ...], str]
"""A path and what is wrong there."""

TOO_MUCH: Problem = (), "this is too much to be checked against the schema"
_NO_TYPE = "the type is one of array, boolean, integer, null, number, object and string, or a list of them"


def validator(schema: Json) -> Any:
    """A validator that fetches nothing.  Raises ``jsonschema_rs.ValidationError`` for a wrong schema."""
    return jsonschema_rs.Draft202012Validator(
        schema,
        retriever=_refuse,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE),
        validate_formats=True,
        mask="this value",
    )


def _refuse(uri: str) -> NoReturn:
    raise ValueError("only references within the schema are allowed")


class ReadySchema:
    """A schema that values are held against, made ready once; it must have passed ``schema_problems``."""

    def __init__(self, schema: Json) -> None:
        self._cost = schema_cost(schema)
        self._validator = validator(schema)

    def violations(self, value: Json) -> list[Problem]:
        """What ``value`` violates."""
        work = self._cost * _count(value)
        if work > MAX_WORK:
            return [TOO_MUCH]
        errors = errors_of(self._validator, value, work > MAX_WORK_FOR_ALL)
        return [problem for error in errors for problem in told(error)]


def violations(schema: Json, value: Json) -> list[Problem]:
    """``ReadySchema.violations`` for a schema that is used once."""
    return ReadySchema(schema).violations(value)


def errors_of(checker: Any, value: Json, first_only: bool = False) -> list[Any]:
    """The validator's errors; of a large value the first one only, since each of them takes kilobytes."""
    if checker.is_valid(value):
        return []
    if first_only or _count(value) > MAX_VALUES_FOR_ALL:
        try:
            checker.validate(value)
        except jsonschema_rs.ValidationError as error:
            return [error]
    return list(checker.iter_errors(value))


def told(error: Any) -> Iterator[Problem]:
    """The problems that one error of the validator stands for: a missing or unknown name is told at its own place."""
    path = tuple(error.instance_path)
    kind = error.kind
    match kind.name:
        case "required":
            yield (*path, kind.property), "this is required"
        case "additionalProperties" | "unevaluatedProperties":
            for name in kind.unexpected:
                yield (*path, name), "this name is unknown"
        case _:
            yield path, error.message


def schema_problems(schema: Json) -> list[Problem]:
    """Everything that is wrong with ``schema`` as that of an object's values."""
    if not isinstance(schema, dict):
        return [((), "a schema is an object")]
    examiner = _Examiner(schema)
    examiner.visit(schema, (), ())
    problems = [*_structure_problems(schema), *examiner.problems]
    if problems:
        return problems
    if examiner.costs[id(schema)].once > MAX_COST:
        return [((), "the schema is too large with its references written out")]
    try:
        validator(schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        return [((), str(error).split("\n")[0])]
    return [] if schema.get("type", "object") == "object" else [(("type",), "parameters are an object")]


def schema_cost(schema: Json) -> int:
    """How many keywords a value is held against at most, with references written out."""
    return _Examiner(schema).visit(schema, (), ()).once


def _structure_problems(schema: Json) -> list[Problem]:
    dialect = schema.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        return [(("$schema",), f"the dialect of parameters is {DIALECT}")]
    problems = (
        (path, _NO_TYPE if error.kind.name == "anyOf" and path[-1:] == ("type",) else message)
        for error in errors_of(_META, schema)
        if not str(error.kind.name).startswith("format")
        for path, message in told(error)
    )
    return list(dict.fromkeys(problems))[:MAX_PROBLEMS]


_META = validator({"$ref": DIALECT})


class _Cost(NamedTuple):
    """What it takes to hold a value against a schema ``once``, and to tell what it has left ``unevaluated``."""

    once: int = 1
    unevaluated: int = 0


class _Examiner:
    """Walks a schema once, following its references."""

    def __init__(self, root: Json) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.costs: dict[int, _Cost] = {}
        self.patterns = 0

    def visit(self, schema: Json, path: tuple[str | int, ...], open_schemas: tuple[int, ...]) -> _Cost:
        if not isinstance(schema, dict):
            return _Cost()
        key = id(schema)
        if key in open_schemas:
            return self.complain((*path, "$ref"), "a schema that refers to itself is not supported")
        if len(open_schemas) > _MAX_DEPTH:
            return self.complain(path, "the schema is nested too deeply")
        if key not in self.costs:
            self.check(schema, path)
            self.costs[key] = self.cost(schema, path, (*open_schemas, key))
        return self.costs[key]

    def cost(self, schema: dict[str, Json], path: Path, inside: tuple[int, ...]) -> _Cost:
        once, again = _own_cost(schema), 0
        for steps, child in self.children(schema, path):
            cost = self.visit(child, (*path, *steps), inside)
            once += cost.once
            if not steps or steps[0] in _SAME_VALUE or steps[0] in _UNEVALUATED:
                again += cost.once + cost.unevaluated
        return _Cost(once if _UNEVALUATED.isdisjoint(schema) else once + again, again)

    def complain(self, path: Path, message: str) -> _Cost:
        self.problems.append((tuple(path), message))
        return _Cost()

    def children(self, schema: dict[str, Json], path: Path) -> Iterator[tuple[tuple[str | int, ...], Json]]:
        for keyword in _MAPS:
            if isinstance(schema.get(keyword), dict):
                yield from (((keyword, name), child) for name, child in schema[keyword].items())
        for keyword in _LISTS:
            if isinstance(schema.get(keyword), list):
                yield from (((keyword, index), child) for index, child in enumerate(schema[keyword]))
        for keyword in _SINGLES:
            if keyword in schema:
                yield (keyword,), schema[keyword]
        if isinstance(schema.get("$ref"), str):
            yield (), self.resolve(schema["$ref"], path)

    def resolve(self, reference: str, path: Path) -> Json:
        if reference != "#" and not reference.startswith("#/"):
            self.complain((*path, "$ref"), "only references within the schema are allowed, such as #/$defs/name")
            return True
        if "%" in reference:
            self.complain((*path, "$ref"), "a reference is written without percent signs")
            return True
        target = self.root
        for part in reference.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isascii() and name.isdigit() and len(name) < 7:
                target = target[int(name)] if int(name) < len(target) else None
            else:
                target = None
        if not isinstance(target, dict | bool):
            self.complain((*path, "$ref"), f"there is no {reference} in the schema")
            return True
        return target

    def check(self, schema: dict[str, Json], path: Path) -> None:
        for keyword in ("$dynamicRef", "$dynamicAnchor", "$anchor", "$recursiveRef", *(("$id",) if path else ())):
            if keyword in schema:
                self.complain((*path, keyword), f"{keyword} is not supported")
        named = schema.get("patternProperties")
        patterns = [(("patternProperties", name), name) for name in (named if isinstance(named, dict) else ())]
        if isinstance(schema.get("pattern"), str):
            patterns.append((("pattern", ""), schema["pattern"]))
        for steps, pattern in patterns:
            self.patterns += 1
            if self.patterns > MAX_PATTERNS:
                self.complain(path, f"a schema has at most {MAX_PATTERNS} patterns")
                return
            if reason := _pattern_fault(pattern):
                self.complain((*path, *(step for step in steps if step)), reason)


def _own_cost(schema: dict[str, Json]) -> int:
    lists = (schema.get(keyword) for keyword in ("enum", "required"))
    return 1 + len(schema) + sum(len(items) for items in lists if isinstance(items, list))


def _pattern_fault(pattern: str) -> str | None:
    try:
        jsonschema_rs.Draft202012Validator(
            {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE)
        )
    except (jsonschema_rs.ValidationError, ValueError):
        if any(mark in pattern for mark in ("(?=", "(?!", "(?<")):
            return "this pattern uses look-around, which is not supported"
        return "this pattern is wrong or too large"
    return None


def _count(value: Json) -> int:
    pending, count = [value], 0
    while pending:
        item = pending.pop()
        count += 1
        if isinstance(item, dict):
            pending.extend(item.values())
            count += len(item)
        elif isinstance(item, list):
            pending.extend(item)
    return count
