"""What the API answers, as types: each is the very document that came, a ``dict`` at run time.

A newer API may answer more fields than stand here.  Made from the OpenAPI document by ``scripts/client_models.py``, and
a test holds the two together.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Action(TypedDict):
    """One action, with the JSON Schema of what it takes and of what it gives."""

    name: str
    title: str
    description: str
    safe: bool
    """It only reads. An action for which that depends on its parameters says false."""
    idempotent: bool
    """It may be repeated, so a lost worker's work is taken up by another."""
    quick: bool
    """It takes well under a second."""
    dry_run: str
    """What its dry run does."""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


class Artifact(TypedDict):
    """A file that a step of an execution has made, such as a report."""

    name: str
    media_type: str
    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of the content, in hexadecimal."""
    step: str
    """Id of the step that made it; of one in a loop, with the number of its iteration."""
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    url: str
    """Path of the address from which it is downloaded."""


class Asset(TypedDict):
    """An asset."""

    id: str
    name: str
    type: str
    hostname: str | None
    ip: str | None
    url: str | None
    tags: dict[str, str]
    attributes: dict[str, Any]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    updated_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""


class Audit(TypedDict):
    """Who did what to which object, when, from where, with what outcome."""

    id: int
    at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    actor_id: str
    actor_name: str
    action: str
    object_type: str
    object_id: str | None
    outcome: str
    address: str | None
    details: Any
    hash: str
    """SHA-256 over this entry and the hash of the one before; see docs/security.md."""


class Cancelled(TypedDict):
    """Who cancelled an execution, why, and when."""

    by: str | None
    reason: str | None
    at: str | None


class ComparedSide(TypedDict):
    """A step of one of the two executions."""

    status: State
    input: Any
    output: Any
    error: Failure | None
    would: Any
    """Of a dry run: what the step would do."""
    effects: Any
    """Of a dry run: the changes it would make."""


class ComparedStep(TypedDict):
    """One step of two executions; null on the side where the playbook's revision has no such step."""

    action_id: str
    name: str | None
    left: ComparedSide | None
    right: ComparedSide | None
    same: bool
    differences: list[Difference]
    """Of status, input, output and error."""


class Comparison(TypedDict):
    """Two executions of one playbook, step by step."""

    left: ExecutionSummary
    right: ExecutionSummary
    same: bool
    steps: list[ComparedStep]


class DependencyState(TypedDict):
    """One dependency. `none` is a state of the workers only: runs are accepted and wait."""

    name: Literal["database", "temporal", "workers"]
    state: Literal["ok", "unavailable", "none"]
    detail: str


class Difference(TypedDict):
    """One place where two values differ."""

    path: str
    """JSON Pointer."""
    kind: Literal["added", "removed", "changed"]
    left: NotRequired[Any]
    right: NotRequired[Any]


class Due(TypedDict):
    """A time at which the playbook was due."""

    due_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    outcome: Literal["started", "conflict", "refused", "missed"]
    execution_id: str | None
    """The execution that was started, or that stood in the way."""
    message: str | None
    count: int
    """Of missed times: how many in a row, `due_at` being the last."""


class Execution(TypedDict):
    """An execution with every step of its playbook."""

    execution_id: str
    playbook_id: str
    revision: int
    target_asset_id: str
    status: State
    dry_run: bool
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    started_at: str | None
    finished_at: str | None
    source: str
    parent: NotRequired[Parent | None]
    """The execution that started this one as a sub-playbook."""
    rerun_of: NotRequired[str | None]
    """The execution that this one repeats."""
    parameters: dict[str, Any]
    outputs: Any
    error: Failure | None
    cancelled: Cancelled | None
    temporal: Temporal
    steps: list[Step]
    io_available: NotRequired[bool | None]
    """With `include=io`: false while inputs and outputs cannot be read, since no worker answers."""
    iterations_available: NotRequired[bool | None]
    """The same, with `include=iterations`."""
    artifacts: NotRequired[list[Artifact] | None]
    """With `include=artifacts`: the files that its steps have made, oldest first."""


class ExecutionSummary(TypedDict):
    """An execution as lists show it."""

    execution_id: str
    playbook_id: str
    revision: int
    target_asset_id: str
    status: State
    dry_run: bool
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    started_at: str | None
    finished_at: str | None


class Failure(TypedDict):
    """Why a step or an execution failed: a stable code and a sentence."""

    code: str
    message: str


class Hook(TypedDict):
    """A hook, without its token and its secret."""

    id: str
    playbook_id: str
    name: str
    signature: Literal["standard", "github", "none"]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    created_by: str


class HookCreated(TypedDict):
    """A hook that was just made; `token`, `url` and `secret` are shown this once."""

    id: str
    playbook_id: str
    name: str
    signature: Literal["standard", "github", "none"]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    created_by: str
    token: str
    url: str
    """Path of the address to which deliveries are posted."""
    secret: str | None


class HostKey(TypedDict):
    """A key that counts."""

    id: str
    host: str
    port: int
    algorithm: str
    fingerprint: str
    """SHA256:…, as ssh-keygen -l shows it."""
    key: str
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    created_by: str


class Iteration(TypedDict):
    """One iteration of a loop, with the steps that ran in it."""

    iteration: str
    """Its number from 0, after those of the loops around its own: `3`, `3.1`."""
    status: State
    started_at: str | None
    finished_at: str | None
    error: Failure | None
    steps: list[Step]


class LeftOut(TypedDict):
    """A plug-in whose action is not offered."""

    plug_in: str
    """Name of its entry point in the group `stanchion.actions`."""
    reason: str
    """Why: what it raised, or the rule that it breaks."""


class LoopFailure(TypedDict):
    """An iteration that failed."""

    iteration: str
    error: Failure


class Meta(TypedDict):
    """Where a page stands in its list."""

    total: int
    """Entries in the whole list."""
    page: int
    per_page: int


class Parent(TypedDict):
    """The step of another execution that started this one."""

    execution_id: str
    action_id: str


class Playbook(TypedDict):
    """The definition as it was stored, with every field that it had, and what the service knows of it besides."""

    id: str
    slug: str
    name: str
    revision: int
    version: NotRequired[str]
    description: NotRequired[str]
    tags: NotRequired[list[str]]
    trigger: NotRequired[dict[str, Any]]
    parameters: dict[str, Any]
    """JSON Schema of what a run accepts."""
    steps: list[dict[str, Any]]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    updated_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""


class PlaybookSummary(TypedDict):
    """A playbook, as it stands in the list."""

    id: str
    slug: str
    name: str
    version: str
    revision: int
    description: str
    trigger: dict[str, Any]
    step_count: int
    tags: list[str]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    updated_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""


class Readiness(TypedDict):
    """Runs can be accepted; each dependency with its state."""

    status: Literal["ready"]
    dependencies: list[DependencyState]


class Revision(TypedDict):
    """One revision of a playbook: what it said at some time."""

    revision: int
    version: str
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    created_by: str


class Schedule(TypedDict):
    """A schedule."""

    cron: str
    timezone: str
    asset: str
    paused: bool
    """Whether somebody has paused it in Temporal."""
    next: list[str]
    """The next times within a year, at most five."""
    recent: list[Due]
    """What came of the last times, newest first."""


class Secret(TypedDict):
    """A secret without its value."""

    name: str
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    updated_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    updated_by: str


class Skipped(TypedDict):
    """A delivery that the conditions of the playbook's trigger do not fit; nothing was started."""

    status: Literal["skipped"]
    message: str


State = Literal["pending", "running", "completed", "failed", "skipped", "cancelled"]
"""State of an execution or of one of its steps."""


class Step(TypedDict):
    """One step of an execution. Steps of a block follow it, and name it as their `parent`."""

    index: int
    action_id: str
    """Id of the step."""
    name: str
    type: Literal["action", "condition", "delay", "parallel", "foreach", "while", "approval", "playbook", "set"]
    """Type of the step."""
    action: str | None
    """Name of the action that the step runs."""
    status: State
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    attempt: int
    """Tries so far, counted from 1; 0 for a step that has not tried anything."""
    error: Failure | None
    reason: str | None
    """Why the step was skipped, or what else there is to say of its state."""
    waiting_for: Wait | None
    parent: NotRequired[str | None]
    """Id of the block that the step stands in."""
    iterations: NotRequired[Tally | None]
    """Of a loop: its iterations."""
    failures: NotRequired[list[LoopFailure] | None]
    """Of a loop: the first iterations that failed."""
    runs: NotRequired[Tally | None]
    """Of a step in a loop: how it ended in each iteration."""
    execution_id: NotRequired[str | None]
    """Of a sub-playbook: its own execution."""
    kept: NotRequired[bool | None]
    """True for a result that a rerun has kept of the earlier execution."""
    iteration_records: NotRequired[list[Iteration] | None]
    """Of a loop, with `include=iterations`: each iteration that has begun."""
    input: NotRequired[Any]
    """With `include=io`: what the step was given, secrets masked."""
    output: NotRequired[Any]
    """With `include=io`: what the step answered; a prediction in a dry run."""
    would: NotRequired[str | None]
    """With `include=io`, in a dry run: what the step would do."""
    effects: NotRequired[list[dict[str, Any]] | None]
    """Beside `would`: the changes it would make."""


class StepEvent(TypedDict):
    """What `event: step` tells: a step that has changed, and the state of its execution then."""

    execution_id: str
    status: State
    step: Step


class Tally(TypedDict):
    """How many there are, and how they ended."""

    total: NotRequired[int | None]
    """How many there will be, where that is known."""
    running: int
    completed: int
    failed: int
    skipped: int
    cancelled: int


class Temporal(TypedDict):
    """Where the run is found in Temporal."""

    workflow_id: str
    run_id: str | None
    ui_url: str | None
    """Its page in the Temporal Web UI, where one is set up."""
    stalled: bool
    """True while no worker gets the run any further: see the worker's log."""


class Token(TypedDict):
    """A token, without its secret."""

    limits: TokenLimitsAnswer | None
    id: str
    name: str
    permissions: list[
        Literal[
            "playbook:read",
            "playbook:write",
            "playbook:execute",
            "asset:read",
            "asset:write",
            "host:read",
            "host:write",
            "secret:write",
            "token:admin",
            "audit:read",
            "payload:decode",
        ]
    ]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    created_by: str
    expires_at: str | None
    revoked_at: str | None


class TokenCreated(TypedDict):
    """A token that was just made; `token` is shown this once."""

    limits: TokenLimitsAnswer | None
    id: str
    name: str
    permissions: list[
        Literal[
            "playbook:read",
            "playbook:write",
            "playbook:execute",
            "asset:read",
            "asset:write",
            "host:read",
            "host:write",
            "secret:write",
            "token:admin",
            "audit:read",
            "payload:decode",
        ]
    ]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    token: str


class TokenLimitsAnswer(TypedDict):
    """What a token is limited to."""

    playbooks: list[str]
    playbook_tags: list[str]
    asset_tags: list[str]


class User(TypedDict):
    """A user, without the password."""

    id: int
    username: str
    permissions: list[
        Literal[
            "playbook:read",
            "playbook:write",
            "playbook:execute",
            "asset:read",
            "asset:write",
            "host:read",
            "host:write",
            "secret:write",
            "token:admin",
            "audit:read",
            "payload:decode",
        ]
    ]
    created_at: str
    """RFC 3339, UTC, trailing Z; milliseconds where the second is not whole."""


class Valid(TypedDict):
    """The definition has no fault."""

    valid: bool


class Wait(TypedDict):
    """What a running step waits for."""

    kind: Literal["approval", "delay", "retry"]
    until: str | None
