"""The definition of a playbook as its author writes it (FORMAT.md): everything around the steps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, WithJsonSchema

from playbooks.fields import Model, PlaybookId, Text, Title
from playbooks.layout import MAX_STEPS
from playbooks.messages import Problem, problems_of
from playbooks.record import Json
from playbooks.step_definitions import A_STEP, STEP_TYPES, Steps
from playbooks.triggers import Trigger


def _trigger(value: object) -> object:
    return {"event": value} if isinstance(value, str) else value


_PARAMETERS_SCHEMA = WithJsonSchema(
    {
        "type": ["object", "array"],
        "description": "What a run accepts: JSON Schema 2020-12 of an object, "
        "or a list of {name, type, required, default, options}.",
    }
)


class Head(Model):
    """A definition without its steps."""

    id: PlaybookId | None = None
    name: Title
    version: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "1.0.0"
    description: Text = ""
    tags: Annotated[list[Title], Field(max_length=100)] = Field(default_factory=list)
    trigger: Annotated[Trigger, BeforeValidator(_trigger)] = Trigger()
    parameters: Annotated[Any, _PARAMETERS_SCHEMA] = None
    on_failure: Literal["abort", "continue", "retry"] = "abort"
    max_retries: Annotated[int, Field(ge=0, le=100)] = 2
    timeout_minutes: Annotated[float | None, Field(gt=0, le=527_040, allow_inf_nan=False)] = None
    outputs: dict[str, Any] | None = None


class Definition(Head):
    """A whole definition."""

    steps: Annotated[Steps, Field(max_length=MAX_STEPS)]
    always: Annotated[
        Steps | None, Field(description="Steps that run at the end whatever happened, cancellation excepted.")
    ] = None


def playbook_schema(*, nested: bool = True) -> dict[str, Json]:
    """The JSON Schema of the format, for editors; without ``nested``, steps inside of blocks are any objects."""
    schema = Definition.model_json_schema()
    parts: dict[str, Json] = schema.setdefault("$defs", {})
    for name, model in STEP_TYPES.items():
        part = model.model_json_schema(ref_template="#/$defs/{model}")
        parts.update(part.pop("$defs", {}))
        parts[name] = part
    parts["Step"] = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in STEP_TYPES]}
    top = {"$ref": "#/$defs/Step"}
    for name in ("steps", "always"):
        _put_steps(schema["properties"][name], top)
    whole = _put_steps(schema, top if nested else {"type": "object"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "title": "Stanchion playbook"}


def _put_steps(schema: Json, step: Json) -> Json:
    """Puts ``step`` wherever the schema says that a step stands."""
    if isinstance(schema, dict):
        for name, part in schema.items():
            schema[name] = dict(step) if part == A_STEP else _put_steps(part, step)
    elif isinstance(schema, list):
        schema[:] = [dict(step) if part == A_STEP else _put_steps(part, step) for part in schema]
    return schema


def parse_head(value: dict[str, Json]) -> tuple[Head | None, list[Problem]]:
    """Everything but the steps, and what is wrong there."""
    rest = {key: item for key, item in value.items() if key not in ("steps", "always")}
    try:
        return Head.model_validate(rest), []
    except ValidationError as error:
        return None, problems_of(error)
