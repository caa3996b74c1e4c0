"""From the fields of a submitted form back to the values of its JSON Schema.

What was typed and is no number stays a text, so that the interface says what is wrong with it, at its place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from api.console.schema_fields import ABSENT, Schema, kind_of, options_of, resolved, starting_values, type_of
from api.console.sessions import Form
from api.query import pointer_part
from playbooks.faults import DefinitionError
from playbooks.load import load
from playbooks.record import Json

COUNT: Final = "count:"
"""Before the pointer of a list: the field that says how many items the form shows."""

MAX_ITEMS: Final = 1_000
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")


@dataclass(slots=True)
class Reader:
    """Reads the values of one form; ``faults`` are texts that are not JSON where JSON was asked for."""

    root: Schema
    form: Form
    faults: dict[str, list[str]] = field(default_factory=dict)

    def values(self, schema: Schema, path: str = "", depth: int = 0) -> dict[str, Json]:
        """The values of an object's properties; those that were left empty are absent."""
        required = schema.get("required") or []
        found: dict[str, Json] = {}
        for name, part in (schema.get("properties") or {}).items():
            value = self._value(part, f"{path}/{pointer_part(name)}", depth, name in required)
            if value is not ABSENT:
                found[name] = value
        return found

    def _value(self, part: Json, path: str, depth: int, required: bool) -> Json:
        schema = resolved(part, self.root)
        match kind_of(schema, self.root, depth, required=required):
            case "select":
                return _chosen(schema, self.form.get(path))
            case "choices":
                return self._choices(schema, path, required)
            case "switch":
                return self.form.get(path) == "true"
            case "maybe":
                return {"true": True, "false": False}.get(self.form.get(path), ABSENT)
            case "number":
                return _number(schema, self.form.get(path).strip())
            case "group":
                return self._group(schema, path, depth, required)
            case "list":
                return self._list(schema, path, depth, required)
            case "json":
                return self._json(path)
        return _text(schema, self.form.get(path), required)

    def _group(self, schema: Schema, path: str, depth: int, required: bool) -> Json:
        values = self.values(schema, path, depth + 1)
        untouched = starting_values(schema, self.root, depth)
        typed = [name for name, value in values.items() if value not in ("", False) and untouched.get(name) != value]
        return values if required or typed or "default" in schema else ABSENT

    def _list(self, schema: Schema, path: str, depth: int, required: bool) -> Json:
        given = self.form.get(COUNT + path)
        count = min(int(given), MAX_ITEMS) if given.isdecimal() and len(given) < 6 else 0
        items = [self._value(schema["items"], f"{path}/{index}", depth + 1, True) for index in range(count)]
        shown = ["" if item is ABSENT else item for item in items]
        return shown if shown or required or "default" in schema else ABSENT

    def _choices(self, schema: Schema, path: str, required: bool) -> Json:
        items = resolved(schema.get("items"), self.root)
        found = [_chosen(items, number) for number in self.form.all(path)]
        chosen = [one for one in found if one is not ABSENT]
        return chosen if chosen or required or "default" in schema else ABSENT

    def _json(self, path: str) -> Json:
        text = self.form.get(path).strip()
        if not text:
            return ABSENT
        try:
            return load(text.encode(), "json").value
        except DefinitionError as error:
            fault = error.faults[0]
            place = f" (line {fault.line}, column {fault.column})" if fault.line else ""
            self.faults.setdefault(path, []).append(f"this is not valid JSON: {fault.message}{place}")
            return Typed(text)


class Typed(str):
    """A text that was typed where JSON was asked for, to be shown again as it is."""


def grown(values: Json, path: str) -> None:
    """Add an empty item to the list at ``path``; nothing happens where there can be none."""
    parent, key = _at(values, path)
    if isinstance(parent, dict):
        items = parent.setdefault(key, [])
    else:
        items = parent[key] if isinstance(parent, list) and isinstance(key, int) and key < len(parent) else None
    if isinstance(items, list) and len(items) < MAX_ITEMS:
        items.append(ABSENT)


def shrunk(values: Json, path: str) -> None:
    """Take the item at ``path`` out of its list."""
    parent, key = _at(values, path)
    if isinstance(parent, list) and isinstance(key, int) and key < len(parent):
        del parent[key]


def _at(values: Json, path: str) -> tuple[Json, str | int | None]:
    """The object or list that holds the value at ``path``, and the value's name or number in it."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    parent = values
    for part in parts[:-1]:
        if isinstance(parent, dict):
            parent = parent.setdefault(part, {})
        elif isinstance(parent, list) and part.isdecimal() and int(part) < len(parent):
            index = int(part)
            if parent[index] is ABSENT or parent[index] == "":
                parent[index] = {}
            parent = parent[index]
        else:
            return None, None
    if not parts:
        return None, None
    if isinstance(parent, list):
        return parent, int(parts[-1]) if parts[-1].isdecimal() and len(parts[-1]) < 6 else None
    return parent, parts[-1]


def _chosen(schema: Schema, number: str) -> Json:
    options = options_of(schema) or []
    return options[int(number)][0] if number.isdecimal() and int(number) < len(options) else ABSENT


def _number(schema: Schema, text: str) -> Json:
    if not text:
        return ABSENT
    if _INTEGER.fullmatch(text):
        return int(text)
    if type_of(schema) == "number" and _NUMBER.fullmatch(text):
        return json.loads(repr(float(text))) if float(text) not in (float("inf"), float("-inf")) else text
    return text


def _text(schema: Schema, text: str, required: bool) -> Json:
    text = text.replace("\r\n", "\n")
    if text:
        return text
    may_be_empty = not any(schema.get(name) for name in ("minLength", "pattern", "format"))
    return text if schema.get("default", "") != "" or (required and may_be_empty) else ABSENT
