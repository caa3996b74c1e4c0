"""Hostile schemas of parameters are refused, or answer in little time whatever the values are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.playbooks.bounded import Bounds, started

Schema = dict[str, Any]
TOO_LARGE = "the schema is too large with its references written out"


@pytest.fixture(scope="module")
def bounds() -> Iterator[Bounds]:
    """Processes with little memory and little time."""
    with started() as running:
        yield running


def told(bounds: Bounds, parameters: object) -> tuple[str, str]:
    """Pointer and message of the first fault of a definition that takes those parameters; its line is told too."""
    text = json.dumps({"name": "x", "parameters": parameters, "steps": [{"action_ref": "core.echo"}]})
    fault = bounds.compile(text, "json")[0]
    assert fault.line == 1
    return fault.path, fault.message


def chain(length: int, link: Callable[[Schema], Schema]) -> Schema:
    """A schema that refers to a second one by ``link``, that to a third one, and so on."""
    names = [f"d{number}" for number in range(length + 1)]
    links = {name: link({"$ref": f"#/$defs/{after}"}) for name, after in pairwise(names)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, names[-1]: {"properties": {"a": {}}}}}


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"$ref": "http://127.0.0.1:9/x"}, "/$ref", "only references within the schema are allowed"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "/$ref", "only references within the schema"),
        ({"$ref": "file:///etc/passwd"}, "/$ref", "only references within the schema are allowed"),
        ({"$ref": "other.json"}, "/$ref", "only references within the schema are allowed"),
        ({"$id": "http://127.0.0.1:9/x"}, "/$id", "$id is not supported"),
        ({"$dynamicRef": "#a"}, "/$dynamicRef", "$dynamicRef is not supported"),
        ({"$ref": "#/$defs/none"}, "/$ref", "there is no #/$defs/none in the schema"),
        ({"pattern": "("}, "/pattern", "this pattern is wrong or too large"),
        ({"pattern": "(?=a)b"}, "/pattern", "this pattern uses look-around, which is not supported"),
        ({"pattern": "(a)\\1"}, "/pattern", "this pattern is wrong or too large"),
        ({"pattern": "((((a{99}){99}){99}){99})"}, "/pattern", "this pattern is wrong or too large"),
    ],
)
def test_schemas_that_reach_out_or_swell(bounds: Bounds, schema: object, path: str, message: str) -> None:
    """A schema refers within itself only, and its patterns run in linear time."""
    found, said = told(bounds, {"properties": {"a": schema}})
    assert found == "/parameters/properties/a" + path
    assert said.startswith(message)


LINKS: dict[str, Callable[[Schema], Schema]] = {
    "allOf": lambda after: {"allOf": [after, after]},
    "dependentSchemas": lambda after: {"dependentSchemas": {"a": after, "b": after}},
    "dependencies": lambda after: {"dependencies": {"a": after, "b": after}},
    "unevaluated after allOf": lambda after: {"allOf": [after], "unevaluatedProperties": False},
    "unevaluated after anyOf": lambda after: {"anyOf": [after], "unevaluatedProperties": {"type": "integer"}},
    "unevaluated after oneOf": lambda after: {"oneOf": [after], "unevaluatedItems": False},
    "unevaluated after if": lambda after: {"if": after, "then": {}, "unevaluatedProperties": False},
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_schemas_that_double(bounds: Bounds, link: Callable[[Schema], Schema]) -> None:
    """Forty schemas of which each is tried twice would be held against a value a trillion times."""
    assert told(bounds, chain(40, link)) == ("/parameters", TOO_LARGE)


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_schemas_that_double_a_few_times(bounds: Bounds, link: Callable[[Schema], Schema]) -> None:
    """Three of them are no harm, and are taken."""
    assert bounds.faults("check_values", chain(3, link), {"a": 1}) == []


@pytest.mark.parametrize("link", [lambda after: {"anyOf": [False, after]}, lambda after: {"not": {"not": after}}])
def test_long_chains(bounds: Bounds, link: Callable[[Schema], Schema]) -> None:
    """What is tried once at each level is taken, and answers at once."""
    schema = chain(40, link)
    schema["$defs"]["d40"] = {"required": ["z"]}
    assert bounds.faults("check_values", schema, {"a": 1}) != []


def test_references_in_disguise(bounds: Bounds) -> None:
    """A reference means what it spells: with percent signs it could lead to another schema than is looked at."""
    schema = {"properties": {"a": {"$ref": "#/$defs/%62"}}, "$defs": {"%62": {}, "b": {"type": "integer"}}}
    assert told(bounds, schema) == ("/parameters/properties/a/$ref", "a reference is written without percent signs")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"items": {"$ref": "#/$defs/b"}}}},
    ],
)
def test_references_in_a_circle(bounds: Bounds, schema: dict[str, object]) -> None:
    """A schema that refers to itself is refused."""
    path, message = told(bounds, schema)
    assert path.endswith("/$ref")
    assert message == "a schema that refers to itself is not supported"


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("^(a+)+$", "a" * 50 + "!"),
        ("^(a+)+$", "a" * 1_000_000 + "!"),
        ("^(a|a)*$", "a" * 1_000_000 + "!"),
        ("^(a?){50}a{50}$", "a" * 49),
    ],
)
def test_catastrophic_patterns_of_parameters(bounds: Bounds, pattern: str, value: str) -> None:
    """Patterns that take an engine with backtracking for ever are answered at once."""
    schema = {"properties": {"a": {"type": "string", "pattern": pattern}}}
    [fault] = bounds.faults("check_values", schema, {"a": value})
    assert fault.path == "/a"
    assert "does not match" in fault.message


def test_defaults_too_large_for_their_schema(bounds: Bounds) -> None:
    """Defaults that no run could be checked with are refused when the playbook is stored."""
    properties = {f"p{number}": {"type": "string", "default": 1} for number in range(3_000)}
    message = "the defaults are too much to be checked against the schema"
    assert told(bounds, {"properties": properties}) == ("/parameters/properties", message)


def test_values_too_large_for_their_schema(bounds: Bounds) -> None:
    """A schema of many choices against a list of many values is given up before it takes minutes."""
    schema = {"properties": {"a": {"items": {"anyOf": [{"const": number} for number in range(5_000)]}}}}
    [fault] = bounds.faults("check_values", schema, {"a": [-1] * 50_000})
    assert (fault.path, fault.message) == ("", "this is too much to be checked against the schema")
