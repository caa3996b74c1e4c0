"""The definition of a playbook as its author writes it (FORMAT.md), in the spelling that S4E publishes.

Each type of step is one model in ``STEP_TYPES``; a new type is a model and an entry there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    WithJsonSchema,
)

from playbooks.messages import Problem, problems_of
from playbooks.record import Json

MAX_STEPS = 10_000
MAX_DURATION = 366 * 86_400.0
LATER_TYPES = ("parallel", "foreach", "while", "approval", "playbook", "set")
"""Types of step that the format has and this version does not run yet."""

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_WORDS = frozenset({"next", "end", "abort", "continue", "retry"})


def parse_duration(value: object) -> float:
    """Seconds from ``30s``, ``1h30m``, ``500ms`` or a number of seconds.  Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("this must be a duration such as 30s, 4h or 1h30m, or a number of seconds")
    if isinstance(value, str):
        if len(value) > 40 or not _DURATION.fullmatch(value):
            raise ValueError("this must be a duration such as 30s, 4h or 1h30m, or a number of seconds")
        value = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(value))
    if not 0 <= value <= MAX_DURATION:
        raise ValueError("a duration is between 0 and 366 days")
    return float(value)


def _positive(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError("this duration must be more than 0")
    return seconds


def _condition(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _trigger(value: object) -> object:
    return {"event": value} if isinstance(value, str) else value


_PARAMETERS_SCHEMA = WithJsonSchema(
    {
        "type": ["object", "array"],
        "description": "What a run accepts: JSON Schema 2020-12 of an object, "
        "or a list of {name, type, required, default, options}.",
    }
)
_DURATION_SCHEMA = WithJsonSchema(
    {
        "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}],
        "description": "A duration such as 30s, 4h, 1h30m or 500ms, or a number of seconds.",
    }
)
Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_SCHEMA]
PositiveDuration = Annotated[float, BeforeValidator(_positive), _DURATION_SCHEMA]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200)]
StepId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
PlaybookId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Cel = Annotated[str, BeforeValidator(_condition), StringConstraints(min_length=1)]
Target = Annotated[str, Field(description="next, end, or the id of a later step.")]
FailureTarget = Annotated[str, Field(description="abort, continue, retry, or the id of a later step.")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RetryDefinition(_Model):
    """How often and how fast a failed action is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=100, description="Attempts in all, the first one included.")] = 3
    initial_interval: PositiveDuration = 1.0
    backoff: Annotated[float, Field(ge=1, le=100, description="Factor from one interval to the next.")] = 2.0
    max_interval: PositiveDuration = 60.0


class StepDefinition(_Model):
    """What every type of step may say."""

    id: StepId | None = None
    name: Title | None = None
    description: Text | None = None
    when: Annotated[Cel | None, Field(description="CEL; when false the step is skipped and the run goes on.")] = None
    on_success: Target | None = None
    on_failure: FailureTarget | None = None
    run: Literal["on_failure_only"] | None = None

    label: ClassVar[str] = "step"


class ActionDefinition(StepDefinition):
    """A step that runs an action."""

    type: Literal["action"] = "action"
    action_ref: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    parameters: dict[str, Any] = {}
    timeout: PositiveDuration | None = None
    retry: RetryDefinition | None = None


class ConditionDefinition(StepDefinition):
    """A step that chooses the way by an expression."""

    type: Literal["condition"]
    expression: Cel
    on_true: Target | None = None
    on_false: Target | None = None


class DelayDefinition(StepDefinition):
    """A step that waits."""

    type: Literal["delay"]
    duration: Duration


STEP_TYPES: dict[str, type[StepDefinition]] = {
    "action": ActionDefinition,
    "condition": ConditionDefinition,
    "delay": DelayDefinition,
}


class Trigger(_Model):
    """What starts the playbook."""

    event: Annotated[str, StringConstraints(pattern=r"^(manual|schedule|webhook|finding\.[a-z_.]{1,64})$")] = "manual"
    cron: Text | None = None
    asset: Text | None = None
    parameters: dict[str, Any] | None = None
    conditions: Any = None


class Head(_Model):
    """A definition without its steps."""

    id: PlaybookId | None = None
    name: Title
    version: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "1.0.0"
    description: Text = ""
    tags: Annotated[list[Title], Field(max_length=100)] = []
    trigger: Annotated[Trigger, BeforeValidator(_trigger)] = Trigger()
    parameters: Annotated[Any, _PARAMETERS_SCHEMA] = None
    on_failure: Literal["abort", "continue", "retry"] = "abort"
    max_retries: Annotated[int, Field(ge=0, le=100)] = 2
    timeout_minutes: Annotated[float | None, Field(gt=0, le=527_040, allow_inf_nan=False)] = None
    outputs: dict[str, Any] | None = None


def _tag(value: Any) -> str:
    return str(value.get("type", "action")) if isinstance(value, dict) else str(getattr(value, "type", "action"))


_AnyStep = Annotated[
    Annotated[ActionDefinition, Tag("action")]
    | Annotated[ConditionDefinition, Tag("condition")]
    | Annotated[DelayDefinition, Tag("delay")],
    Discriminator(_tag),
]


class Definition(Head):
    """A whole definition."""

    steps: Annotated[list[_AnyStep], Field(min_length=1, max_length=MAX_STEPS)]


def playbook_schema() -> dict[str, Json]:
    """The JSON Schema of the format, for editors."""
    schema = Definition.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Stanchion playbook"}


def parse_head(value: dict[str, Json]) -> tuple[Head | None, list[Problem]]:
    """Everything but the steps, and what is wrong there."""
    rest = {key: item for key, item in value.items() if key != "steps"}
    try:
        return Head.model_validate(rest), []
    except ValidationError as error:
        return None, problems_of(error)


def parse_step(value: Json) -> tuple[StepDefinition | None, list[Problem]]:
    """One step, and what is wrong in it; paths are relative to the step."""
    if not isinstance(value, dict):
        return None, [((), "a step is an object")]
    kind = value.get("type", "action")
    model = STEP_TYPES.get(kind) if isinstance(kind, str) else None
    if model is None:
        if kind in LATER_TYPES:
            return None, [(("type",), f"step type `{kind}` is not supported yet")]
        return None, [(("type",), f"there is no such type of step; there are {', '.join(STEP_TYPES)}")]
    try:
        step = model.model_validate(value)
    except ValidationError as error:
        return None, problems_of(error)
    if step.id in _WORDS:
        return None, [(("id",), f"`{step.id}` has a meaning of its own and cannot be the id of a step")]
    return step, []
