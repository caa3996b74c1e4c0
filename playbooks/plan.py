"""The plan: a definition, compiled.  It travels in the workflow's input, so a run never changes under an edit.

Expressions are syntax trees already (``playbooks.expressions``), so a worker needs no parser, and a later version of
the expression library cannot change a run that is under way.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from playbooks.record import Json

Tree = list[Json]
"""A compiled expression, see ``playbooks.expressions``."""

Template = list[Json]
"""A compiled JSON value with templates in it, see ``playbooks.templates``."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A plan of thousands of steps travels with every run: what says nothing new stays at home."""
        fields = type(self).model_fields
        told = handler(self)
        return {name: told[name] for name in told if name == "type" or getattr(self, name) != fields[name].default}


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


class Span(_Part):
    """Steps that follow one another: those from index ``start`` up to ``stop``, which is one past the last."""

    start: int
    stop: int


class Step(_Part):
    """What every step has.

    ``index`` is its place in the flat list that the status shows: depth first, a block before its steps.  ``parent``
    is the block it stands in, ``end`` one past the last step inside of it.
    """

    index: int
    parent: int | None = None
    end: int | None = None
    id: str
    name: str
    when: Tree | None = None
    on_success: Next = Next()
    on_failure: OnFailure = OnFailure()
    on_failure_only: bool = False

    @property
    def after(self) -> int:
        """The index of what follows the step and everything inside of it."""
        return self.index + 1 if self.end is None else self.end


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


class ParallelStep(Step):
    """Runs its branches at the same time."""

    type: Literal["parallel"] = "parallel"
    branches: list[Span]


class ForeachStep(Step):
    """Runs its body once for each item, ``concurrency`` of them at a time."""

    type: Literal["foreach"] = "foreach"
    items: Template
    concurrency: int = 1
    body: Span
    output: Template | None = None
    """What one iteration gives; None for the output of its last step."""


class WhileStep(Step):
    """Runs its body again as long as the expression holds, at most ``max_iterations`` times."""

    type: Literal["while"] = "while"
    expression: Tree
    max_iterations: int
    body: Span


class ApprovalStep(Step):
    """Waits until somebody approves or rejects, ``timeout`` seconds at most."""

    type: Literal["approval"] = "approval"
    message: Template
    approvers: list[str] = []
    timeout: float | None = None
    on_timeout: Literal["fail", "approve"] = "fail"
    timeout_way: OnFailure = OnFailure()


class PlaybookStep(Step):
    """Runs another playbook as a run of its own; ``playbook`` is its id among those pinned with the run."""

    type: Literal["playbook"] = "playbook"
    playbook: str
    parameters: Template
    on_conflict: Literal["fail", "wait"] = "fail"


AnyStep = Annotated[
    ActionStep | ConditionStep | DelayStep | ParallelStep | ForeachStep | WhileStep | ApprovalStep | PlaybookStep,
    Field(discriminator="type"),
]
LOOPS = (ForeachStep, WhileStep)


class Plan(_Part):
    """A compiled playbook: its steps, depth first, the limit of the whole run in seconds, and its result.

    The steps of ``always`` come last in the list.
    """

    format: Literal[1] = 1
    steps: list[AnyStep]
    timeout: float | None = None
    outputs: Template | None = None
    always: Span | None = None

    @property
    def main(self) -> Span:
        """The steps of the playbook itself, without those of ``always``."""
        return Span(start=0, stop=self.always.start if self.always else len(self.steps))

    def is_in_loop(self, step: Step) -> bool:
        """Whether ``step`` stands in a loop, at any depth, and may so run more than once."""
        parent = step.parent
        while parent is not None:
            if isinstance(self.steps[parent], LOOPS):
                return True
            parent = self.steps[parent].parent
        return False
