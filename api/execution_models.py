"""What executions look like, for the OpenAPI document, and the bodies of their requests."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import Field

from api.body import Body
from api.models import Answer, AnyValue, JsonObject, Timestamp
from playbooks.states import State
from playbooks.step_definitions import STEP_TYPES

ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
ExecutionId = Annotated[str, Path(pattern=ID, description="Id of the execution.")]
PlaybookId = Annotated[str, Path(pattern=ID, description="Id or slug of the playbook.")]


class RunBody(Body):
    """A run of a playbook against an asset."""

    target_asset_id: str = Field(
        min_length=1,
        max_length=200,
        description="Id of the asset that the playbook works on.",
        examples=["a1b2c3d4-e5f6-7890-abcd-ef1234567890"],
    )
    parameters: JsonObject = Field(
        default_factory=dict,
        description="Values for the playbook's parameters; see `parameters` of the playbook for what it accepts.",
        examples=[{"notify_channel": "#incident-response", "patch_version": "2.4.1", "rollback_enabled": True}],
    )
    dry_run: bool = Field(False, description="Rehearse: every step says what it would do, and nothing is changed.")
    dry_run_reads: bool = Field(
        True, description="With `dry_run`: steps that only read run for real; false rehearses them too."
    )


class CancelBody(Body):
    """Why an execution is cancelled."""

    reason: str | None = Field(None, max_length=1000, description="Shown with the execution, and in Temporal.")


class DecisionBody(Body):
    """What somebody says to their decision."""

    comment: str | None = Field(None, max_length=1000, description="Shown with the step, and in the audit trail.")


class RerunBody(Body):
    """From where an execution is run again."""

    from_: Literal["start", "failed"] = Field(
        "start",
        alias="from",
        description="`failed` keeps the results of steps that completed, and of completed iterations of a `foreach` "
        "whose items are the same again, at the same places.",
    )


class FailureAnswer(Answer):
    """Why a step or an execution failed: a stable code and a sentence."""

    code: str
    message: str


class WaitAnswer(Answer):
    """What a running step waits for."""

    kind: Literal["approval", "delay", "retry"]
    until: Timestamp | None


class TallyAnswer(Answer):
    """How many there are, and how they ended."""

    total: int | None = Field(None, description="How many there will be, where that is known.")
    running: int
    completed: int
    failed: int
    skipped: int
    cancelled: int


class LoopFailureAnswer(Answer):
    """An iteration that failed."""

    iteration: str
    error: FailureAnswer


class IterationAnswer(Answer):
    """One iteration of a loop, with the steps that ran in it."""

    iteration: str = Field(description="Its number from 0, after those of the loops around its own: `3`, `3.1`.")
    status: State
    started_at: Timestamp | None
    finished_at: Timestamp | None
    error: FailureAnswer | None
    steps: list[StepAnswer]


class StepAnswer(Answer):
    """One step of an execution. Steps of a block follow it, and name it as their `parent`."""

    index: int
    action_id: str = Field(description="Id of the step.")
    name: str
    type: str = Field(description="Type of the step.", json_schema_extra={"enum": list(STEP_TYPES)})
    action: str | None = Field(description="Name of the action that the step runs.")
    status: State
    started_at: Timestamp | None
    finished_at: Timestamp | None
    duration_ms: int | None
    attempt: int = Field(description="Tries so far, counted from 1; 0 for a step that has not tried anything.")
    error: FailureAnswer | None
    reason: str | None = Field(description="Why the step was skipped, or what else there is to say of its state.")
    waiting_for: WaitAnswer | None
    parent: str | None = Field(None, description="Id of the block that the step stands in.")
    iterations: TallyAnswer | None = Field(None, description="Of a loop: its iterations.")
    failures: list[LoopFailureAnswer] | None = Field(None, description="Of a loop: the first iterations that failed.")
    runs: TallyAnswer | None = Field(None, description="Of a step in a loop: how it ended in each iteration.")
    execution_id: str | None = Field(None, description="Of a sub-playbook: its own execution.")
    kept: bool | None = Field(None, description="True for a result that a rerun has kept of the earlier execution.")
    iteration_records: list[IterationAnswer] | None = Field(
        None, description="Of a loop, with `include=iterations`: each iteration that has begun."
    )
    input: AnyValue = Field(None, description="With `include=io`: what the step was given, secrets masked.")
    output: AnyValue = Field(None, description="With `include=io`: what the step answered; a prediction in a dry run.")
    would: str | None = Field(None, description="With `include=io`, in a dry run: what the step would do.")
    effects: list[dict[str, AnyValue]] | None = Field(None, description="Beside `would`: the changes it would make.")


class ExecutionSummaryAnswer(Answer):
    """An execution as lists show it."""

    execution_id: str = Field(examples=["exec-aabb1122-3344-5566-7788-99aabbccddee"])
    playbook_id: str = Field(examples=["pb-11223344-5566-7788-99aa-bbccddeeff00"])
    revision: int
    target_asset_id: str
    status: State
    dry_run: bool
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


class CancelledAnswer(Answer):
    """Who cancelled an execution, why, and when."""

    by: str | None
    reason: str | None
    at: Timestamp | None


class TemporalAnswer(Answer):
    """Where the run is found in Temporal."""

    workflow_id: str
    run_id: str | None
    ui_url: str | None = Field(description="Its page in the Temporal Web UI, where one is set up.")
    stalled: bool = Field(description="True while no worker gets the run any further: see the worker's log.")


class ParentAnswer(Answer):
    """The step of another execution that started this one."""

    execution_id: str
    action_id: str


class ArtifactAnswer(Answer):
    """A file that a step of an execution has made, such as a report."""

    name: str = Field(examples=["compliance-report.html"])
    media_type: str = Field(examples=["text/html"])
    size: int = Field(description="Bytes.")
    sha256: str = Field(description="SHA-256 of the content, in hexadecimal.")
    step: str = Field(description="Id of the step that made it; of one in a loop, with the number of its iteration.")
    created_at: Timestamp
    url: str = Field(description="Path of the address from which it is downloaded.")


class ExecutionAnswer(ExecutionSummaryAnswer):
    """An execution with every step of its playbook."""

    source: str
    parent: ParentAnswer | None = Field(None, description="The execution that started this one as a sub-playbook.")
    rerun_of: str | None = Field(None, description="The execution that this one repeats.")
    parameters: dict[str, AnyValue]
    outputs: AnyValue
    error: FailureAnswer | None
    cancelled: CancelledAnswer | None
    temporal: TemporalAnswer
    steps: list[StepAnswer]
    io_available: bool | None = Field(
        None,
        description="With `include=io`: false while inputs and outputs cannot be read, since no worker answers.",
    )
    iterations_available: bool | None = Field(None, description="The same, with `include=iterations`.")
    artifacts: list[ArtifactAnswer] | None = Field(
        None, description="With `include=artifacts`: the files that its steps have made, oldest first."
    )


class StepEvent(Answer):
    """What `event: step` tells: a step that has changed, and the state of its execution then."""

    execution_id: str
    status: State
    step: StepAnswer


class DifferenceAnswer(Answer):
    """One place where two values differ."""

    path: str = Field(description="JSON Pointer.")
    kind: Literal["added", "removed", "changed"]
    left: AnyValue = None
    right: AnyValue = None


class ComparedSideAnswer(Answer):
    """A step of one of the two executions."""

    status: State
    input: AnyValue
    output: AnyValue
    error: FailureAnswer | None
    would: AnyValue = Field(description="Of a dry run: what the step would do.")
    effects: AnyValue = Field(description="Of a dry run: the changes it would make.")


class ComparedStepAnswer(Answer):
    """One step of two executions; null on the side where the playbook's revision has no such step."""

    action_id: str
    name: str | None
    left: ComparedSideAnswer | None
    right: ComparedSideAnswer | None
    same: bool
    differences: list[DifferenceAnswer] = Field(description="Of status, input, output and error.")


class ComparisonAnswer(Answer):
    """Two executions of one playbook, step by step."""

    left: ExecutionSummaryAnswer
    right: ExecutionSummaryAnswer
    same: bool
    steps: list[ComparedStepAnswer]
