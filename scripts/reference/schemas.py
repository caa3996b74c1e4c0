"""JSON Schemas as tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scripts.reference import cell

Schema = Mapping[str, Any]
Link = Callable[[str], str]

WORDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "object": "object"}
LIMITS = {
    "minimum": "At least {}.",
    "exclusiveMinimum": "More than {}.",
    "maximum": "At most {}.",
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "minItems": "At least {} items.",
    "maxItems": "At most {} items.",
    "pattern": "Pattern `{}`.",
}
SHOWN_DEFAULT = 40
"""Characters of the longest default that is shown."""


def choices(field: Schema) -> list[Schema]:
    """What a field may be, null left out."""
    found = [one for key in ("anyOf", "oneOf") for one in field.get(key, ()) if one.get("type") != "null"]
    return [inner for one in found for inner in choices(one)] or [field]


def type_of(field: Schema, link: Link) -> str:
    """The type in words; what is referred to by ``link``."""
    return " or ".join(dict.fromkeys(_one_type(one, link) for one in choices(field)))


def _one_type(field: Schema, link: Link) -> str:
    if "$ref" in field:
        return link(str(field["$ref"]).rpartition("/")[2])
    if "enum" in field:
        return ", ".join(f"`{json.dumps(one) if not isinstance(one, str) else one}`" for one in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {type_of(field.get('items', {}), link)}"
    if isinstance(field.get("type"), list):
        return " or ".join(WORDS.get(one, "list") for one in field["type"] if one != "null")
    if field.get("format") == "date-time":
        return "time"
    return WORDS.get(str(field.get("type")), "anything")


def meaning(field: Schema) -> str:
    """What a field is, with its limits."""
    words = [str(field["description"])] if field.get("description") else []
    for one in choices(field):
        if one is not field and one.get("description") and str(one["description"]) not in words:
            words.append(str(one["description"]))
    limits = [limit for one in (field, *choices(field)) for limit in _limits(one)]
    return cell(" ".join(dict.fromkeys([*words, *limits])))


def _limits(field: Schema) -> Iterator[str]:
    for key, words in LIMITS.items():
        if key in field:
            yield "Not empty." if field[key] == 1 and key in ("minLength", "minItems") else words.format(field[key])


def table(schema: Schema, link: Link, *, defaults: bool = True) -> str:
    """The fields of an object."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    if not properties:
        return "Any names and values.\n" if schema.get("type", "object") == "object" else ""
    required = schema.get("required", ())
    head = "| field | type | default | what it is |\n| --- | --- | --- | --- |\n"
    rows = [head if defaults else "| field | type | what it is |\n| --- | --- | --- |\n"]
    for name, field in properties.items():
        default = f"| {_default(field, name in required)} " if defaults else ""
        rows.append(f"| `{name}` | {cell(type_of(field, link))} {default}| {meaning(field)} |\n")
    return "".join(rows)


def _default(field: Schema, required: bool) -> str:
    if required:
        return "**required**"
    shown = json.dumps(field.get("default"), ensure_ascii=False)
    return "" if field.get("default") in (None, "") or len(shown) > SHOWN_DEFAULT else f"`{cell(shown)}`"
