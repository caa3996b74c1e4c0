"""The steps of a playbook as its author writes them (FORMAT.md), in the spelling that S4E publishes.

Each type of step is one model in ``STEP_TYPES``; a new type is a model and an entry there.  The steps inside of a
block are not checked here: ``playbooks.layout`` finds them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, ValidationError, WithJsonSchema, field_validator

from playbooks.fields import Cel, Duration, Model, PositiveDuration, StepId, Text, Title
from playbooks.messages import Problem, problems_of
from playbooks.record import Json

MAX_BRANCHES = 500
MAX_CONCURRENCY = 500
MAX_ITERATIONS = 10_000

WORDS = frozenset({"next", "end", "abort", "continue", "retry", "approve"})
"""What a way may be called besides the id of a step."""

A_STEP = {"description": "a step"}
"""Stands in the JSON Schema of a block for any step; ``playbooks.definition`` puts the reference in its place."""

_STEPS_SCHEMA: dict[str, Any] = {"type": "array", "minItems": 1, "items": A_STEP}

Target = Annotated[str, Field(description="next, end, or the id of a later step of the same list.")]
FailureTarget = Annotated[str, Field(description="abort, continue, retry, or the id of a later step.")]
Steps = Annotated[list[Any], Field(min_length=1), WithJsonSchema(_STEPS_SCHEMA)]
Branches = Annotated[
    list[Any],
    Field(min_length=1, max_length=MAX_BRANCHES),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_BRANCHES,
            "items": {
                "anyOf": [
                    _STEPS_SCHEMA,
                    {
                        "type": "object",
                        "properties": {"name": {"type": "string"}, "steps": _STEPS_SCHEMA},
                        "required": ["steps"],
                        "additionalProperties": False,
                    },
                    A_STEP,
                ]
            },
        }
    ),
]


class RetryDefinition(Model):
    """How often and how fast a failed action is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=100, description="Attempts in all, the first one included.")] = 3
    initial_interval: PositiveDuration = 1.0
    backoff: Annotated[float, Field(ge=1, le=100, description="Factor from one interval to the next.")] = 2.0
    max_interval: PositiveDuration = 60.0


class StepDefinition(Model):
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
    parameters: dict[str, Any] = Field(default_factory=dict)
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


class ParallelDefinition(StepDefinition):
    """Branches of steps that run at the same time.

    With ``on_failure: abort`` a branch that fails stops the others; with ``continue`` they run to their end.
    """

    type: Literal["parallel"]
    branches: Branches

    @field_validator("branches")
    @classmethod
    def _are_steps(cls, branches: list[Any]) -> list[Any]:
        for branch in branches:
            steps = branch.get("steps") if isinstance(branch, dict) and "steps" in branch else branch
            if isinstance(branch, dict) and "steps" in branch and branch.keys() - {"steps", "name"}:
                raise ValueError("a branch has steps and, if it likes, a name")
            if not isinstance(steps, list | dict) or not steps:
                raise ValueError("each branch must be a list of at least one step")
        return branches


class ForeachDefinition(StepDefinition):
    """Steps that run once for each item of a list, which they see as ``item``, with its number as ``index``."""

    type: Literal["foreach"]
    items: Annotated[list[Any] | str, Field(description="A list, or CEL that gives one.")]
    concurrency: Annotated[int, Field(ge=1, le=MAX_CONCURRENCY, description="Items worked on at the same time.")] = 1
    output: Annotated[Any, Field(description="What each iteration gives; by default the output of its last step.")] = (
        None
    )
    steps: Steps


class WhileDefinition(StepDefinition):
    """Steps that run again as long as the expression holds; it sees them as the last iteration left them."""

    type: Literal["while"]
    expression: Cel
    max_iterations: Annotated[
        int, Field(ge=1, le=MAX_ITERATIONS, description="When the expression still holds after them, the step fails.")
    ] = 100
    steps: Steps


class ApprovalDefinition(StepDefinition):
    """A step that waits until somebody decides."""

    type: Literal["approval"]
    message: Text = "Approve?"
    approvers: Annotated[
        list[Title],
        Field(
            max_length=100,
            description="Who may decide: names of tokens, or permissions such as `playbook:write`. "
            "When empty, everybody who may run playbooks.",
        ),
    ] = Field(default_factory=list)
    timeout: PositiveDuration | None = None
    on_timeout: Annotated[
        str, Field(description="abort, continue, approve, or the id of a later step of the same list.")
    ] = "abort"


class PlaybookDefinition(StepDefinition):
    """A step that runs another playbook, as a run of its own, on the same asset."""

    type: Literal["playbook"]
    playbook: Annotated[str, StringConstraints(min_length=1, max_length=80), Field(description="Its id or slug.")]
    parameters: dict[str, Any] = Field(default_factory=dict)
    on_conflict: Annotated[
        Literal["fail", "wait"],
        Field(description="What to do while that playbook runs on the asset already."),
    ] = "fail"


class SetDefinition(StepDefinition):
    """A step that sets variables of the run, which later steps read as ``vars.<name>``."""

    type: Literal["set"]
    vars: Annotated[dict[str, Any], Field(min_length=1)]


STEP_TYPES: dict[str, type[StepDefinition]] = {
    "action": ActionDefinition,
    "condition": ConditionDefinition,
    "delay": DelayDefinition,
    "parallel": ParallelDefinition,
    "foreach": ForeachDefinition,
    "while": WhileDefinition,
    "approval": ApprovalDefinition,
    "playbook": PlaybookDefinition,
    "set": SetDefinition,
}


def parse_step(value: Json) -> tuple[StepDefinition | None, list[Problem]]:
    """One step, and what is wrong in it; paths are relative to the step.

    A wrong field is left out of the step, so that the rest of it can be checked too; None where that cannot be.
    """
    if not isinstance(value, dict):
        return None, [((), "a step is an object")]
    kind = value.get("type", "action")
    model = STEP_TYPES.get(kind) if isinstance(kind, str) else None
    if model is None:
        return None, [(("type",), f"there is no such type of step; there are {', '.join(STEP_TYPES)}")]
    try:
        step = model.model_validate(value)
    except ValidationError as error:
        problems = problems_of(error)
        return _rest_of(model, value, {path[0] for path, _ in problems if path}), problems
    if step.id in WORDS:
        return None, [(("id",), f"`{step.id}` has a meaning of its own and cannot be the id of a step")]
    return step, []


def _rest_of(model: type[StepDefinition], value: dict[str, Json], wrong: set[str | int]) -> StepDefinition | None:
    try:
        return model.model_validate({name: part for name, part in value.items() if name not in wrong})
    except ValidationError:
        return None
