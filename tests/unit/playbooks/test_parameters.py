"""What a run accepts: the two forms that a playbook may say it in, defaults, and all faults at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.faults import Fault
from playbooks.parameters import ParameterErrors, check_schema, secret_names, to_schema, validate_parameters

PATCH: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version"],
    "properties": {
        "version": {"type": "string", "pattern": r"^\d+\.\d+$"},
        "channel": {"type": "string", "default": "#ops"},
        "tries": {"type": "integer", "minimum": 1, "default": 3},
        "hosts": {"type": "array", "items": {"type": "string"}, "default": []},
        "window": {
            "type": "object",
            "properties": {"from": {"type": "integer"}, "hours": {"type": "integer", "default": 8}},
            "required": ["from"],
        },
    },
}


def schema_of(parameters: Any) -> dict[str, Any]:
    """The schema of parameters that have no fault."""
    schema, problems = to_schema(parameters)
    assert problems == []
    return schema


def faults_of(schema: Any, values: Any) -> list[tuple[str, str]]:
    """Pointers and messages of what is wrong with the values."""
    with pytest.raises(ParameterErrors) as caught:
        validate_parameters(schema, values)
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_no_parameters_accept_anything() -> None:
    """A playbook that says nothing takes what it is given."""
    assert validate_parameters(schema_of(None), {"any": [1, None]}) == {"any": [1, None]}


@pytest.mark.parametrize(
    ("entry", "schema"),
    [
        ({}, {"type": "string"}),
        ({"type": "string", "options": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": "integer", "default": 0}, {"type": "integer", "default": 0}),
        ({"type": "number"}, {"type": "number"}),
        ({"type": "boolean", "default": False}, {"type": "boolean", "default": False}),
        ({"type": "enum", "options": ["a", 1, None]}, {"enum": ["a", 1, None]}),
        ({"type": "list"}, {"type": "array"}),
        ({"type": "list", "options": ["a"]}, {"type": "array", "items": {"enum": ["a"]}}),
        ({"type": "secret"}, {"type": "string", "writeOnly": True, "format": "password"}),
        ({"description": "Why."}, {"type": "string", "description": "Why."}),
        ({"default": None}, {"type": "string"}),
    ],
)
def test_each_type_of_the_list(entry: dict[str, Any], schema: dict[str, Any]) -> None:
    """S4E's list becomes a JSON Schema of the same meaning."""
    assert schema_of([{"name": "p", **entry}])["properties"] == {"p": schema}


def test_the_list_names_all_that_is_accepted() -> None:
    """What the list requires is required, save where there is a default; what it does not name is refused."""
    entries = [{"name": "a", "required": True}, {"name": "b", "required": True, "default": "x"}, {"name": "c"}]
    schema = schema_of(entries)
    assert validate_parameters(schema, {"a": "1"}) == {"a": "1", "b": "x"}
    assert faults_of(schema, {"d": 1}) == [("/d", "this name is unknown"), ("/a", "this is required")]


def test_the_two_forms_mean_the_same() -> None:
    """S4E's list and the schema that an author would write for it are one and the same."""
    listed = [
        {"name": "patch_version", "type": "string", "required": True},
        {"name": "notify_channel", "default": "#ops"},
        {"name": "rollback_enabled", "type": "boolean", "default": True},
    ]
    assert schema_of(listed) == {
        "type": "object",
        "properties": {
            "patch_version": {"type": "string"},
            "notify_channel": {"type": "string", "default": "#ops"},
            "rollback_enabled": {"type": "boolean", "default": True},
        },
        "required": ["patch_version"],
        "additionalProperties": False,
    }


def test_all_faults_of_the_list_at_once() -> None:
    """One wrong entry does not hide the next."""
    entries = [
        {"name": "a", "required": "yes"},
        {"name": "b c"},
        "d",
        {"name": "e", "type": "enum", "options": []},
        {"name": "f", "type": "integer", "default": "1"},
        {"name": "f"},
        {"name": "g", "type": "enum", "options": ["x"], "default": "y"},
        {"type": "float", "nmae": "h"},
        {"name": "o", "type": "integer", "options": [1, "2"]},
    ]
    _, problems = to_schema(entries)
    assert [path for path, _ in problems] == [
        (0, "required"),
        (1, "name"),
        (2,),
        (3,),
        (4, "default"),
        (5, "name"),
        (6, "default"),
        (7, "name"),
        (7, "type"),
        (7, "nmae"),
        (8, "options", 1),
    ]
    assert problems[5][1] == "the parameter f stands twice"


def test_a_list_has_at_most_500_entries() -> None:
    """More are not looked at."""
    entries = [{"name": f"p{number}"} for number in range(501)]
    assert to_schema(entries)[1] == [((), "this must have at most 500 items")]
    assert to_schema(entries[:500])[1] == []


def test_defaults_are_put_in() -> None:
    """Where a value is missing its default stands, within objects that are given too."""
    assert validate_parameters(PATCH, {"version": "1.2", "window": {"from": 4}}) == {
        "version": "1.2",
        "channel": "#ops",
        "tries": 3,
        "hosts": [],
        "window": {"from": 4, "hours": 8},
    }


def test_values_stand_before_defaults() -> None:
    """A value that is given stays, even null: that is a fault where the schema does not allow it."""
    assert validate_parameters(PATCH, {"version": "1.2", "tries": 1})["tries"] == 1
    [(path, _)] = faults_of(PATCH, {"version": "1.2", "channel": None})
    assert path == "/channel"


def test_defaults_belong_to_the_run() -> None:
    """Neither what was given nor the schema changes, now or with the result."""
    schema, given_values = copy.deepcopy(PATCH), {"version": "1.2", "window": {"from": 1}}
    result = validate_parameters(schema, given_values)
    result["hosts"].append("web-07")
    result["window"]["hours"] = 1
    assert schema == PATCH
    assert given_values == {"version": "1.2", "window": {"from": 1}}


def test_all_violations_at_once() -> None:
    """Each with its JSON Pointer into the values; a name that is missing or unknown is told at its own place."""
    values = {"versoin": "1.2", "tries": 0, "hosts": ["a", 5, None], "window": {"hours": "x"}}
    assert sorted(path for path, _ in faults_of(PATCH, values)) == [
        "/hosts/1",
        "/hosts/2",
        "/tries",
        "/version",
        "/versoin",
        "/window/from",
        "/window/hours",
    ]


def test_pointers_are_escaped() -> None:
    """`~` and `/` in a name are written as RFC 6901 says."""
    schema = {"properties": {"a/b~c": {"type": "integer"}}}
    [(path, _)] = faults_of(schema, {"a/b~c": "x"})
    assert path == "/a~1b~0c"


def test_messages_do_not_repeat_values() -> None:
    """A value may be a secret: no message shows it."""
    errors = faults_of(PATCH, {"version": "hunter2", "tries": "hunter2", "hosts": "hunter2"})
    assert len(errors) == 3
    assert "hunter2" not in repr(errors)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "a number must be finite"),
        (float("-inf"), "a number must be finite"),
        (2**63, "an integer must fit in 64 bits"),
        (-(2**63) - 1, "an integer must fit in 64 bits"),
        ("a\x00", "text may not hold NUL or half a surrogate pair"),
        ("\ud800", "text may not hold NUL or half a surrogate pair"),
    ],
)
def test_values_that_json_does_not_hold(value: Any, message: str) -> None:
    """They are refused whatever the schema says, with their place."""
    assert faults_of({}, {"a": {"b": [0, value]}}) == [("/a/b/1", message)]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0.0, True, None, "\U0001f600", ""])
def test_values_that_json_holds(value: Any) -> None:
    """The outermost values that fit come through as they are."""
    assert validate_parameters({}, {"a": [value]}) == {"a": [value]}


def test_names_of_values_are_text_too() -> None:
    """A name with half a surrogate pair is refused, at the object that it stands in."""
    assert faults_of({}, {"a": {"\udc00": 1}}) == [("/a", "text may not hold NUL or half a surrogate pair")]


@pytest.mark.parametrize("values", [None, [], "a", 1])
def test_parameters_are_an_object(values: Any) -> None:
    """Nothing else is taken."""
    assert faults_of({}, values) == [("", "parameters are an object")]


def test_depth_of_values() -> None:
    """Values are nested 64 levels deep at most."""
    deep: Any = 1
    for _ in range(63):
        deep = [deep]
    assert validate_parameters({}, {"a": deep}) == {"a": deep}
    [(path, message)] = faults_of({}, {"a": [deep]})
    assert (path.count("/"), message) == (65, "nested deeper than 64 levels")


@pytest.mark.parametrize(
    ("part", "secret"),
    [
        ({"type": "string", "writeOnly": True}, True),
        ({"type": "string", "format": "password"}, True),
        ({"type": "string", "writeOnly": False}, False),
        ({"type": "string", "format": "email"}, False),
        (True, False),
    ],
)
def test_secret_parameters(part: Any, secret: bool) -> None:
    """They are `writeOnly`, or of the format `password`."""
    assert secret_names({"properties": {"p": part}}) == (["p"] if secret else [])


def test_no_secret_without_properties() -> None:
    """A schema need not name any."""
    assert secret_names({}) == []


@pytest.mark.parametrize(
    ("part", "faults"),
    [
        ({"type": "integer", "default": "3"}, ["/properties/p/default"]),
        ({"type": "object", "default": {}, "required": ["a"]}, ["/properties/p/default"]),
        ({"type": "integer", "default": 3}, []),
    ],
)
def test_defaults_fit_their_schema(part: Any, faults: list[str]) -> None:
    """A default that every run would fail with is refused beforehand, while other parameters may be required."""
    schema = {"type": "object", "required": ["q"], "properties": {"p": part, "q": {}}}
    assert [fault.path for fault in check_schema(schema)] == faults


def test_checking_a_schema_gives_faults() -> None:
    """Each with a pointer into the schema."""
    assert check_schema({"properties": {"p": {"$ref": "http://x/y"}}}) == [
        Fault("/properties/p/$ref", "only references within the schema are allowed, such as #/$defs/name")
    ]


@pytest.mark.parametrize("parameters", [5, "text", True, {"type": "array"}, {"type": ["object", "null"]}])
def test_parameters_of_another_shape(parameters: Any) -> None:
    """A schema is one of an object, whatever else it says."""
    assert len(to_schema(parameters)[1]) == 1


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text("ab/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("ab/~", max_size=3), _values), _values)
def test_filling_in_is_done_once(values: dict[str, Any], default: Any) -> None:
    """Whatever is given comes back as it was, the default beside it, and a second time changes nothing."""
    schema = {"properties": {"d": {"default": default}}}
    result = validate_parameters(schema, values)
    assert result == {"d": default, **values}
    assert validate_parameters(schema, result) == result
