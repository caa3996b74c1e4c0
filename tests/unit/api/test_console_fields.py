"""From a JSON Schema to a form, and from the submitted form back to values."""

from __future__ import annotations

from typing import Any

import pytest

from api.console.schema_fields import ABSENT, Builder, Field, starting_values
from api.console.schema_values import Reader, grown, shrunk
from api.console.sessions import Form


def schema_of(**properties: Any) -> dict[str, Any]:
    """The schema of an object with these properties."""
    return {"type": "object", "properties": properties}


def fields_of(schema: dict[str, Any], values: dict[str, Any] | None = None, **errors: list[str]) -> dict[str, Field]:
    """The fields of the form, by the pointer of their value."""
    found: dict[str, Field] = {}

    def note(fields: Any) -> None:
        for field in fields:
            found[field.name] = field
            note(field.children)

    given = starting_values(schema, schema) if values is None else values
    note(Builder(schema, {"/" + name: texts for name, texts in errors.items()}).fields(schema, given))
    return found


def submitted(schema: dict[str, Any], *fields: tuple[str, str]) -> dict[str, Any]:
    """The values of a form with these fields."""
    return Reader(schema, Form(fields)).values(schema)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "maxLength": 500}, "long"),
        ({"type": "string", "writeOnly": True}, "secret"),
        ({"type": "string", "format": "password"}, "secret"),
        ({"type": "integer"}, "number"),
        ({"type": ["number", "null"]}, "number"),
        ({"type": "boolean"}, "maybe"),
        ({"type": "boolean", "default": False}, "switch"),
        ({"enum": ["low", 7, None]}, "select"),
        ({"const": 3}, "select"),
        ({"oneOf": [{"const": "a", "title": "First"}, {"const": "b"}]}, "select"),
        ({"type": "array", "items": {"type": "string"}}, "list"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "choices"),
        ({"type": "array"}, "json"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "group"),
        ({"type": "object"}, "json"),
        ({"type": ["string", "integer"]}, "json"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "json"),
        ({}, "json"),
        (True, "json"),
        ({"$ref": "#/$defs/level"}, "select"),
        ({"$ref": "#/$defs/nothing"}, "json"),
    ],
)
def test_kind_of_field(part: Any, kind: str) -> None:
    """Each part of a schema becomes the field that fits it; JSON where none does."""
    schema = {**schema_of(x=part), "$defs": {"level": {"enum": ["low", "high"]}}}
    assert fields_of(schema)["/x"].kind == kind


def test_schema_that_refers_to_itself_ends_in_json() -> None:
    """A tree without an end is typed as JSON from some depth on."""
    tree = {"type": "object", "properties": {"child": {"$ref": "#/$defs/tree"}}}
    kinds = {field.kind for field in fields_of({**schema_of(tree=tree), "$defs": {"tree": tree}}).values()}
    assert kinds == {"group", "json"}


def test_defaults_and_limits_stand_in_the_field() -> None:
    """A fresh form shows defaults, and tells the browser what it can check."""
    schema = schema_of(
        port={"type": "integer", "minimum": 1, "maximum": 65535, "default": 443},
        when={"type": "string", "format": "date-time"},
        owner={"type": "object", "properties": {"notify": {"type": "boolean", "default": True}}},
    )
    found = fields_of({**schema, "required": ["port"]})
    assert (found["/port"].value, found["/port"].required) == (443, True)
    assert found["/port"].attributes == {"step": "1", "min": "1", "max": "65535"}
    assert found["/when"].attributes == {"placeholder": "2026-04-28T11:00:00Z"}
    assert found["/owner/notify"].value is True


def test_errors_stand_at_their_field() -> None:
    """A fault is shown at the field whose pointer it has, nested ones too."""
    schema = schema_of(hosts={"type": "array", "items": {"type": "string"}})
    found = Builder(schema, {"/hosts/1": ["no host name"]}).fields(schema, {"hosts": ["a", "b"]})
    assert [child.errors for child in found[0].children] == [(), ["no host name"]]


def test_secret_is_never_shown_again() -> None:
    """What was typed into a secret field does not come back in the page."""
    schema = schema_of(key={"type": "string", "writeOnly": True})
    assert fields_of(schema, {"key": "hunter2"})["/key"].value == ""


@pytest.mark.parametrize(
    ("part", "fields", "value"),
    [
        ({"type": "integer"}, [("/x", " 42 ")], 42),
        ({"type": "integer"}, [("/x", "4.5")], "4.5"),
        ({"type": "number"}, [("/x", "4.5e1")], 45.0),
        ({"type": "number"}, [("/x", "9e999")], "9e999"),
        ({"type": "integer"}, [("/x", "9" * 30)], "9" * 30),
        ({"type": "integer"}, [("/x", "forty")], "forty"),
        ({"type": "integer"}, [("/x", "")], ABSENT),
        ({"type": "string"}, [("/x", "")], ABSENT),
        ({"type": "string", "default": "#ops"}, [("/x", "")], ""),
        ({"type": "string"}, [("/x", "a\r\nb")], "a\nb"),
        ({"type": "boolean", "default": True}, [], False),
        ({"type": "boolean", "default": True}, [("/x", "true")], True),
        ({"type": "boolean"}, [("/x", "")], ABSENT),
        ({"type": "boolean"}, [("/x", "false")], False),
        ({"enum": ["low", 7, None]}, [("/x", "1")], 7),
        ({"enum": ["low", 7, None]}, [("/x", "2")], None),
        ({"enum": ["low", 7]}, [("/x", "9")], ABSENT),
        ({"enum": ["low", 7]}, [("/x", "")], ABSENT),
        ({"type": "array", "items": {"enum": ["a", "b", "c"]}}, [("/x", "0"), ("/x", "2")], ["a", "c"]),
        ({"type": "array", "items": {"enum": ["a"]}}, [], ABSENT),
        ({"type": "array", "items": {"enum": ["a"]}, "default": ["a"]}, [], []),
        ({"type": "array", "items": {"type": "integer"}}, [("count:/x", "2"), ("/x/0", "1"), ("/x/1", "b")], [1, "b"]),
        ({"type": "array", "items": {"type": "integer"}}, [("count:/x", "0")], ABSENT),
        ({"type": "array", "items": {"type": "integer"}}, [("count:/x", "99999999999")], ABSENT),
        ({"type": "object"}, [("/x", '{"a": [1, true]}')], {"a": [1, True]}),
        ({"type": "object"}, [("/x", "  ")], ABSENT),
    ],
)
def test_value_of_field(part: dict[str, Any], fields: list[tuple[str, str]], value: Any) -> None:
    """What was typed becomes the value of its type; what is no such value stays as it was typed."""
    assert submitted(schema_of(x=part), *fields).get("x", ABSENT) == value


def test_names_with_slashes_and_tildes() -> None:
    """A property may have any name."""
    schema = schema_of(**{"a/b~c": {"type": "integer"}})
    assert list(fields_of(schema)) == ["/a~1b~0c"]
    assert submitted(schema, ("/a~1b~0c", "1")) == {"a/b~c": 1}


def test_group_that_was_left_alone_is_not_sent() -> None:
    """An optional object whose fields were not touched is absent, though one of them is required in it."""
    owner = {
        "type": "object",
        "required": ["email"],
        "properties": {"email": {"type": "string"}, "notify": {"type": "boolean", "default": True}},
    }
    untouched = [("/owner/email", ""), ("/owner/notify", "true")]
    assert submitted(schema_of(owner=owner), *untouched) == {}
    required = {**schema_of(owner=owner), "required": ["owner"]}
    assert submitted(required, *untouched) == {"owner": {"email": "", "notify": True}}
    assert submitted(schema_of(owner=owner), ("/owner/email", "a@b.c")) == {
        "owner": {"email": "a@b.c", "notify": False}
    }


def test_broken_json_is_told_with_its_place() -> None:
    """A text that is no JSON is a fault of its field, and is shown again as it was typed."""
    schema = schema_of(labels={"type": "object"})
    reader = Reader(schema, Form([("/labels", '{"a": }')]))
    assert reader.values(schema) == {"labels": '{"a": }'}
    assert "line 1, column 7" in reader.faults["/labels"][0]


def test_lists_grow_and_shrink() -> None:
    """An item is added at the end of a list, also of one inside of another, and taken out at its place."""
    values: dict[str, Any] = {"rules": [{"ports": [1, 2]}]}
    grown(values, "/rules")
    grown(values, "/rules/0/ports")
    grown(values, "/fresh")
    shrunk(values, "/rules/0/ports/0")
    assert values == {"rules": [{"ports": [2, ABSENT]}, ABSENT], "fresh": [ABSENT]}
    for path in ("", "/", "/rules/7/ports", "/rules/x", "/rules/0/ports/9", "/rules/0/ports/0/0"):
        before = repr(values)
        shrunk(values, path)
        assert repr(values) == before
