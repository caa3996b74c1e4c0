"""The form of a JSON Schema: which field each part becomes, and what the person typed into it.

A part that no ordinary field can take (any type, several types, free names) is typed as JSON.  The interface judges
the values; what a form can tell beforehand (required, pattern, limits) is said to the browser too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

from api.query import pointer_part
from playbooks.record import Json

Schema = Mapping[str, Json]

ABSENT: Final = object()
"""Nothing was typed, and nothing is sent."""

MAX_DEPTH: Final = 6
LONG_TEXT: Final = 200
INPUT_TYPES: Final = {
    "date": "date",
    "email": "email",
    "uri": "url",
    "password": "password",
}
HINTS: Final = {
    "date-time": "2026-04-28T11:00:00Z",
    "time": "11:00:00Z",
    "duration": "PT1H30M",
    "ipv4": "192.0.2.10",
    "ipv6": "2001:db8::1",
    "hostname": "web-01.example.com",
    "uuid": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
}
SCALARS: Final = ("string", "integer", "number", "boolean")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form, or a group or list of them.  ``name`` is the JSON Pointer of its value."""

    name: str
    kind: str
    label: str
    description: str
    required: bool
    value: Json
    input_type: str = "text"
    attributes: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[tuple[str, str, bool]] = ()
    """Of a choice: the number of the option, its text, whether it is chosen."""
    children: Sequence[Field] = ()
    errors: Sequence[str] = ()
    can_grow: bool = False

    @property
    def id(self) -> str:
        """The field's id in the page."""
        return "field" + quote(self.name, safe="/").replace("/", "-")


def resolved(schema: Json, root: Schema) -> Schema:
    """``schema`` with its reference into ``$defs`` followed; an empty one where it says nothing that a form can use."""
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
            return schema
        found = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        schema = {**found, **{name: part for name, part in schema.items() if name != "$ref"}}
    return {}


def options_of(schema: Schema) -> list[tuple[Json, str]] | None:
    """The values that the schema lists, with their texts; None where it lists none."""
    if isinstance(schema.get("enum"), list):
        return [(value, _text(value)) for value in schema["enum"]]
    if "const" in schema:
        return [(schema["const"], _text(schema["const"]))]
    branches = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(branches, list) and branches and all(isinstance(one, dict) and "const" in one for one in branches):
        return [(one["const"], str(one.get("title") or _text(one["const"]))) for one in branches]
    return None


def type_of(schema: Schema) -> str | None:
    """The one type of the schema besides null; None where there are several, or none."""
    given = schema.get("type")
    types = [given] if isinstance(given, str) else [one for one in given or [] if one != "null"]
    if len(types) == 1:
        return str(types[0])
    return "object" if not types and isinstance(schema.get("properties"), dict) else None


def kind_of(schema: Schema, root: Schema, depth: int, *, required: bool) -> str:
    """Which kind of field the schema becomes."""
    if options_of(schema) is not None:
        return "select"
    match type_of(schema):
        case "boolean":
            return "switch" if required or isinstance(schema.get("default"), bool) else "maybe"
        case "integer" | "number":
            return "number"
        case "string":
            return _kind_of_text(schema)
        case "array" if depth < MAX_DEPTH:
            return _kind_of_list(schema, root)
        case "object" if depth < MAX_DEPTH and schema.get("properties"):
            return "group"
    return "json"


def _kind_of_text(schema: Schema) -> str:
    if schema.get("writeOnly") is True or schema.get("format") == "password":
        return "secret"
    return "long" if schema.get("format") in ("textarea", "multiline") or _limit(schema) > LONG_TEXT else "text"


def _limit(schema: Schema) -> int:
    limit = schema.get("maxLength")
    return limit if isinstance(limit, int) else 0


def _kind_of_list(schema: Schema, root: Schema) -> str:
    items = resolved(schema.get("items"), root)
    if options_of(items) is not None:
        return "choices"
    return "list" if type_of(items) in SCALARS or items.get("properties") else "json"


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes the fields of one form: ``errors`` are the faults that were found, by the pointer of their value."""

    root: Schema
    errors: Mapping[str, Sequence[str]]

    def fields(self, schema: Schema, values: Mapping[str, Json], path: str = "", depth: int = 0) -> list[Field]:
        """The fields of the properties of an object."""
        required = schema.get("required") or []
        return [
            self.field(part, f"{path}/{pointer_part(name)}", name, values.get(name, ABSENT), depth, name in required)
            for name, part in (schema.get("properties") or {}).items()
        ]

    def field(self, part: Json, path: str, name: str, value: Json, depth: int, required: bool) -> Field:
        """The field of one value; ``value`` is ABSENT where there is none yet."""
        schema = resolved(part, self.root)
        kind = kind_of(schema, self.root, depth, required=required)
        label = str(schema.get("title") or name.replace("_", " ").capitalize())
        return Field(
            name=path,
            kind=kind,
            label=label,
            description=str(schema.get("description") or ""),
            required=required,
            value="" if value is ABSENT or kind == "secret" else value,
            input_type=_input_type(schema, kind),
            attributes=_attributes(schema, kind),
            options=self._options(schema, kind, value),
            children=self._children(schema, kind, path, label, value, depth),
            errors=self.errors.get(path, ()),
            can_grow=kind == "list" and _length(value) < schema.get("maxItems", 1000),
        )

    def _options(self, schema: Schema, kind: str, value: Json) -> list[tuple[str, str, bool]]:
        if kind == "select":
            listed = options_of(schema) or []
            return [(str(number), text, _same(value, one)) for number, (one, text) in enumerate(listed)]
        if kind == "choices":
            listed = options_of(resolved(schema.get("items"), self.root)) or []
            chosen = value if isinstance(value, list) else []
            return [
                (str(number), text, any(_same(one, other) for other in chosen))
                for number, (one, text) in enumerate(listed)
            ]
        return []

    def _children(self, schema: Schema, kind: str, path: str, label: str, value: Json, depth: int) -> list[Field]:
        if kind == "group":
            return self.fields(schema, value if isinstance(value, dict) else {}, path, depth + 1)
        if kind == "list":
            items = value if isinstance(value, list) else []
            return [
                replace(
                    self.field(schema["items"], f"{path}/{index}", f"{label} {index + 1}", item, depth + 1, True),
                    required=False,
                )
                for index, item in enumerate(items)
            ]
        return []


def starting_values(schema: Schema, root: Schema, depth: int = 0) -> dict[str, Json]:
    """What a fresh form holds: the defaults, those of nested objects too."""
    values: dict[str, Json] = {}
    for name, part in (schema.get("properties") or {}).items():
        found = resolved(part, root)
        if "default" in found:
            values[name] = found["default"]
        elif depth < MAX_DEPTH and found.get("properties") and (inner := starting_values(found, root, depth + 1)):
            values[name] = inner
    return values


def _input_type(schema: Schema, kind: str) -> str:
    if kind == "number":
        return "number"
    return INPUT_TYPES.get(str(schema.get("format")), "text")


def _attributes(schema: Schema, kind: str) -> dict[str, str]:
    """What the browser can check, and a hint of what is expected."""
    found: dict[str, Any] = {}
    if kind == "number":
        found["step"] = schema.get("multipleOf", 1 if type_of(schema) == "integer" else "any")
        found |= {"min": schema.get("minimum"), "max": schema.get("maximum")}
    if kind in ("text", "long", "secret"):
        found |= {"minlength": schema.get("minLength"), "maxlength": schema.get("maxLength")}
        examples = schema.get("examples")
        hint = examples[0] if isinstance(examples, list) and examples else HINTS.get(str(schema.get("format")))
        found["placeholder"] = hint
    return {name: str(value) for name, value in found.items() if value is not None}


def _length(value: Json) -> int:
    return len(value) if isinstance(value, list) else 0


def _same(one: Json, other: Json) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
