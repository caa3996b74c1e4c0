"""The plan: a definition, compiled.  It travels in the workflow's input, so a run never changes under an edit.

Expressions are syntax trees already (``playbooks.expressions``), so a worker needs no parser, and a later version of
the expression library cannot change a run that is under way.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from playbooks.record import Json

Tree = list[Json]
"""A compiled expression, see ``playbooks.expressions``."""

Template = list[Json]
"""A compiled JSON value with templates in it, see ``playbooks.templates``."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Retry(_Part):
    """How often and how fast a failed step is tried again; intervals in seconds."""

    max_attempts: int = 1
    initial_interval: float = 1.0
    backoff: float = 2.0
    max_interval: float = 60.0


class Next(_Part):
    """Where the run goes from a step: to the next one, to the end, or to the step at index ``to``."""

    kind: Literal["next", "end", "jump"] = "next"
    to: int | None = None


class OnFailure(_Part):
    """What a failure of the step means for the run: ``handler`` jumps to the step at index ``to``."""

    kind: Literal["abort", "continue", "handler"] = "abort"
    to: int | None = None


class Step(_Part):
    """What every step has.  ``index`` is its place in the flat list that the status shows."""

    index: int
    id: str
    name: str
    when: Tree | None = None
    on_success: Next = Next()
    on_failure: OnFailure = OnFailure()
    on_failure_only: bool = False


class ActionStep(Step):
    """Runs an action as an activity."""

    type: Literal["action"] = "action"
    action: str
    parameters: Template
    timeout: float | None = None
    retry: Retry = Retry()
    safe: bool = False
    idempotent: bool = False
    quick: bool = False


class ConditionStep(Step):
    """Chooses the way by an expression."""

    type: Literal["condition"] = "condition"
    expression: Tree
    on_true: Next = Next()
    on_false: Next = Next()


class DelayStep(Step):
    """Waits ``duration`` seconds, durably."""

    type: Literal["delay"] = "delay"
    duration: float


AnyStep = Annotated[ActionStep | ConditionStep | DelayStep, Field(discriminator="type")]


class Plan(_Part):
    """A compiled playbook: its steps in order, the limit of the whole run in seconds, and its result."""

    format: Literal[1] = 1
    steps: list[AnyStep]
    timeout: float | None = None
    outputs: Template | None = None
