"""Schemas of parameters: what they may say, and what values they refuse with which words."""

from __future__ import annotations

from typing import Any

import pytest

from playbooks.schemas import DIALECT, MAX_COST, MAX_PATTERNS, TOO_MUCH, schema_cost, schema_problems, violations


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"$schema": DIALECT},
        {"$id": "http://example.com/x"},
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string"}}},
        {"properties": {"a": {"$ref": "#/$defs/b~1c~0d"}}, "$defs": {"b/c~d": {}}},
        {"properties": {"a": {"$ref": "#/allOf/1"}}, "allOf": [{}, {}]},
        {"properties": {"$ref": {"type": "string"}, "$id": {}, "pattern": {}}},
        {"properties": {"a": {"default": {"$ref": "http://x"}, "enum": [{"$ref": "http://x"}]}}},
        {"properties": {"a": {"format": "of-our-own", "x-order": 1}}},
        {"patternProperties": {"^[a-z]+$": {"pattern": "^\\d+$"}}},
    ],
)
def test_schemas_that_are_taken(schema: Any) -> None:
    """References within, words of one's own, and names or data that only look like keywords."""
    assert schema_problems(schema) == []


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (True, ((), "a schema is an object")),
        ([], ((), "a schema is an object")),
        ({"type": "string"}, (("type",), "parameters are an object")),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#"},
            (("$schema",), f"the dialect of parameters is {DIALECT}"),
        ),
        ({"$ref": "#/$defs/0", "$defs": []}, (("$defs",), 'this value is not of type "object"')),
        ({"required": ["a", "a"]}, (("required",), "this value has non-unique elements")),
        ({"properties": {"a": 5}}, (("properties", "a"), 'this value is not of types "boolean", "object"')),
        ({"properties": {"a": {"$anchor": "b"}}}, (("properties", "a", "$anchor"), "$anchor is not supported")),
        ({"properties": {"a": {"$ref": "#b"}}}, (("properties", "a", "$ref"), None)),
        ({"anyOf": [{}, {"$ref": "#/anyOf/2"}]}, (("anyOf", 1, "$ref"), "there is no #/anyOf/2 in the schema")),
        ({"anyOf": [{}, {"$ref": "#/anyOf/x"}]}, (("anyOf", 1, "$ref"), "there is no #/anyOf/x in the schema")),
        (
            {"$defs": {"a": {}}, "anyOf": [{"$ref": "#/$defs/0"}]},
            (("anyOf", 0, "$ref"), "there is no #/$defs/0 in the schema"),
        ),
        ({"items": {"minLength": -1}}, (("items", "minLength"), "this value is less than the minimum of 0")),
    ],
)
def test_schemas_that_are_refused(schema: Any, problem: tuple[tuple[str | int, ...], str | None]) -> None:
    """Each with its place in the schema."""
    path, message = problem
    problems = schema_problems(schema)
    assert path in [found for found, _ in problems]
    assert message is None or (path, message) in problems


@pytest.mark.parametrize("kind", ["strin", 5, ["string", "strin"], []])
def test_a_type_that_there_is_not(kind: Any) -> None:
    """Who misspells a type is told those that there are."""
    [(path, message)] = schema_problems({"properties": {"a": {"type": kind}}})
    assert path == ("properties", "a", "type")
    assert message.startswith("the type is one of array, boolean, integer")


def test_all_problems_of_a_schema() -> None:
    """Of its structure and of what is not supported, each once."""
    schema = {
        "properties": {"a": {"minimum": "x"}, "b": {"$ref": "http://x"}, "c": {"pattern": "("}, "d": 5},
        "required": "a",
    }
    problems = schema_problems(schema)
    assert len(problems) == len(set(problems))
    assert {path for path, _ in problems} == {
        ("properties", "a", "minimum"),
        ("properties", "b", "$ref"),
        ("properties", "c", "pattern"),
        ("properties", "d"),
        ("required",),
    }


@pytest.mark.parametrize(("count", "fits"), [(MAX_PATTERNS, True), (MAX_PATTERNS + 1, False)])
def test_the_number_of_patterns(count: int, fits: bool) -> None:
    """Each takes memory when it is compiled."""
    problems = schema_problems({"properties": {f"p{number}": {"pattern": "a"} for number in range(count)}})
    assert (problems == []) is fits


def test_the_size_of_a_schema_counts_references() -> None:
    """A part that is referred to twice counts twice, besides where it stands."""
    part = {"enum": [1, 2, 3]}
    once = schema_cost({"$defs": {"a": part}, "properties": {"p": {"$ref": "#/$defs/a"}}})
    twice = schema_cost({"$defs": {"a": part}, "properties": {"p": {"$ref": "#/$defs/a"}, "q": {"$ref": "#/$defs/a"}}})
    assert (schema_cost(part), twice - once) == (5, 5 + 2)


@pytest.mark.parametrize(("choices", "fits"), [(MAX_COST - 5, True), (MAX_COST - 4, False)])
def test_the_largest_schema(choices: int, fits: bool) -> None:
    """Keywords and choices count alike."""
    schema = {"properties": {"a": {"enum": list(range(choices)), "type": "integer"}}}
    assert schema_cost(schema) == choices + 5
    assert (schema_problems(schema) == []) is fits


@pytest.mark.parametrize(
    ("schema", "value", "problems"),
    [
        ({"required": ["a", "b"]}, {}, [(("a",), "this is required"), (("b",), "this is required")]),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"a": 1, "b": 1, "c": 1},
            [(("b",), "this name is unknown"), (("c",), "this name is unknown")],
        ),
        (
            {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
            {"a": 1, "b": 1},
            [(("b",), "this name is unknown")],
        ),
        ({"items": {"type": "integer"}}, [1, "x", 2, "y"], [((1,), None), ((3,), None)]),
        ({"properties": {"a": {"format": "email"}}}, {"a": "nobody"}, [(("a",), 'this value is not a "email"')]),
        ({"properties": {"a": {"format": "ipv4"}}}, {"a": "256.0.0.1"}, [(("a",), 'this value is not a "ipv4"')]),
        ({"multipleOf": 0.1}, 0.3, []),
        ({"type": "integer"}, 1.0, []),
        ({"type": "integer"}, True, [((), 'this value is not of type "integer"')]),
        ({"const": 1}, True, [((), None)]),
        ({"maxLength": 1}, "\U0001f600", []),
        ({"pattern": "^\\d$"}, "٣", [((), None)]),
        ({"pattern": "b"}, "abc", []),
    ],
)
def test_violations(schema: Any, value: Any, problems: list[tuple[tuple[str | int, ...], str | None]]) -> None:
    """Missing and unknown names are told at their own place; formats are checked; patterns are not anchored."""
    found = violations(schema, value)
    assert [path for path, _ in found] == [path for path, _ in problems]
    assert all(message in (None, said) for (_, said), (_, message) in zip(found, problems, strict=True))


def test_of_much_wrong_the_first_is_told() -> None:
    """A list of thousands of wrong values is not listed whole."""
    schema = {"items": {"type": "string"}}
    assert len(violations(schema, [1] * 100)) == 100
    assert violations(schema, [1] * 20_000) == [((0,), 'this value is not of type "string"')]


def test_what_is_too_much_to_check() -> None:
    """The work is known beforehand, and not begun."""
    schema = {"items": {"enum": list(range(10_000))}}
    assert violations(schema, [1] * 10_000) == [TOO_MUCH]
