"""The parameters of a playbook: what a run accepts.

A playbook says it in JSON Schema 2020-12, or in S4E's list of ``{name, type, required, default, options}``, which
becomes such a schema.  S4E's list names all that is accepted; a schema is taken at its word.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playbooks.document import MAX_DEPTH, pointer
from playbooks.faults import Fault
from playbooks.load import scalar_fault
from playbooks.messages import problems_of
from playbooks.record import Json
from playbooks.schemas import TOO_MUCH, Problem, ReadySchema, schema_problems, violations

_LISTED_TYPES: dict[str, Json] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "enum": {},
    "list": {"type": "array"},
    "secret": {"type": "string", "writeOnly": True, "format": "password"},
}


class ParameterErrors(Exception):
    """Values that violate the schema; every violation with a JSON Pointer into the values."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults[:5]))
        self.faults = faults


class ListedParameter(BaseModel):
    """One entry of S4E's list."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
    type: Literal["string", "integer", "number", "boolean", "enum", "list", "secret"] = "string"
    required: bool = False
    default: Json = None
    options: list[Json] | None = None
    description: str | None = None


MAX_LISTED = 500


def to_schema(parameters: Json) -> tuple[dict[str, Json], list[Problem]]:
    """The JSON Schema that ``parameters`` of a definition stands for, and everything that is wrong with it."""
    if parameters is None:
        return {"type": "object"}, []
    if isinstance(parameters, list):
        return _from_list(parameters)
    problems = schema_problems(parameters)
    if problems:
        return {"type": "object"}, problems
    schema = {"type": "object", **parameters}
    return schema, _default_problems(schema)


def check_schema(schema: Json) -> list[Fault]:
    """Everything that is wrong with a JSON Schema of parameters; paths are JSON Pointers into it."""
    problems = schema_problems(schema) or _default_problems(schema)
    return [Fault(pointer(path), message) for path, message in problems]


def secret_names(schema: Mapping[str, Json]) -> list[str]:
    """The parameters whose values are secret: ``writeOnly``, or of the format ``password``."""
    properties = schema.get("properties") or {}
    return [
        name
        for name, part in properties.items()
        if isinstance(part, dict) and (part.get("writeOnly") is True or part.get("format") == "password")
    ]


@dataclass(frozen=True)
class ParameterSchema:
    """A schema that parameters are held against, made ready once; it must have passed ``check_schema``."""

    schema: Mapping[str, Json]

    @cached_property
    def _ready(self) -> ReadySchema:
        return ReadySchema(dict(self.schema))

    def validate(self, values: Json) -> dict[str, Json]:
        """``values`` with the schema's defaults put in.  Raises ParameterErrors with every violation."""
        problems = _value_problems(values)
        if not problems:
            filled = _with_defaults(self.schema, values)
            problems = self._ready.violations(filled)
            if not problems:
                return filled
        unique = dict.fromkeys(problems)
        raise ParameterErrors([Fault(pointer(path), message) for path, message in unique][:100])


def validate_parameters(schema: Mapping[str, Json], values: Json) -> dict[str, Json]:
    """``ParameterSchema.validate`` for a schema that is used once."""
    return ParameterSchema(schema).validate(values)


def _value_problems(values: Json) -> list[Problem]:
    if not isinstance(values, dict):
        return [((), "parameters are an object")]
    problems: list[Problem] = []
    pending: list[tuple[tuple[str | int, ...], Json]] = [((), values)]
    while pending:
        path, item = pending.pop()
        if len(path) > MAX_DEPTH:
            return [(path, f"nested deeper than {MAX_DEPTH} levels")]
        if isinstance(item, dict):
            problems += [(path, reason) for key in item if (reason := scalar_fault(key))]
            pending.extend(((*path, key), part) for key, part in item.items())
        elif isinstance(item, list):
            pending.extend(((*path, index), part) for index, part in enumerate(item))
        elif reason := scalar_fault(item):
            problems.append((path, reason))
    return problems


def _with_defaults(schema: Mapping[str, Json], values: dict[str, Json]) -> dict[str, Json]:
    result = dict(values)
    properties = schema.get("properties")
    for name, part in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(part, dict):
            continue
        if name not in result and "default" in part:
            result[name] = copy.deepcopy(part["default"])
        if isinstance(result.get(name), dict):
            result[name] = _with_defaults(part, result[name])
    return result


def _default_problems(schema: Mapping[str, Json]) -> list[Problem]:
    """Defaults that the schema itself would refuse: every run that relies on one would fail."""
    defaults = _with_defaults(schema, {})
    problems = violations({**schema, "required": []}, defaults)
    if TOO_MUCH in problems:
        return [(("properties",), "the defaults are too much to be checked against the schema")]
    wrong = {path[0] for path, _ in problems if path}
    message = "the default does not match its own schema"
    return [(("properties", name, "default"), message) for name in defaults if name in wrong]


def _from_list(parameters: Sequence[Json]) -> tuple[dict[str, Json], list[Problem]]:
    schema: dict[str, Json] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    if len(parameters) > MAX_LISTED:
        return schema, [((), f"this must have at most {MAX_LISTED} items")]
    problems: list[Problem] = []
    for index, listed in enumerate(parameters):
        try:
            entry = ListedParameter.model_validate(listed)
        except ValidationError as error:
            problems += [((index, *path), message) for path, message in problems_of(error)]
            continue
        if entry.name in schema["properties"]:
            problems.append(((index, "name"), f"the parameter {entry.name} stands twice"))
        if entry.type == "enum" and not entry.options:
            problems.append(((index,), "an enum needs options"))
            continue
        if entry.type != "list":
            kind = _LISTED_TYPES[entry.type]
            message = f"this option is not of the type {entry.type}"
            wrong = [number for number, option in enumerate(entry.options or []) if violations(kind, option)]
            problems += [((index, "options", number), message) for number in wrong]
        part = _listed_schema(entry)
        schema["properties"][entry.name] = part
        if entry.required and "default" not in part:
            schema["required"].append(entry.name)
        if "default" in part and violations(part, part["default"]):
            problems.append(((index, "default"), "the default does not match its own type"))
    return schema, problems


def _listed_schema(entry: ListedParameter) -> dict[str, Json]:
    part = dict(_LISTED_TYPES[entry.type])
    if entry.description:
        part["description"] = entry.description
    if entry.options:
        options = {"enum": entry.options}
        part |= {"items": options} if entry.type == "list" else options
    if "default" in entry.model_fields_set and (entry.default is not None):
        part["default"] = entry.default
    return part
