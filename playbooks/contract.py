"""What crosses the border between the API, the workflow and its activities: names and messages.

Everything here stands in Temporal's history; a field is only ever added, with a default.
"""

from __future__ import annotations

from pydantic import BaseModel

from playbooks.plan import Plan
from playbooks.record import Json

SETTLE_ACTIVITY = "stanchion.settle"
OPEN_CHILD_ACTIVITY = "stanchion.open_child"
DISCARD_CHILD_ACTIVITY = "stanchion.discard_child"
NOTE_DECISION_ACTIVITY = "stanchion.note_decision"
FIRE_ACTIVITY = "stanchion.fire"
SCHEDULE_WORKFLOW = "stanchion.schedule"
"""Type of the workflow that a schedule starts; no slug has a full stop in it."""

IO_QUERY = "io"
ITERATIONS_QUERY = "iterations"
DECIDE_UPDATE = "decide"
APPROVE_SIGNAL = "approve"
REJECT_SIGNAL = "reject"
SET_ACTION = "core.set"
"""The action whose output the interpreter puts into ``vars``."""

ATTRIBUTE_PLAYBOOK = "PlaybookId"
ATTRIBUTE_ASSET = "AssetId"
ATTRIBUTE_EXECUTION = "ExecutionId"
ATTRIBUTE_DRY_RUN = "DryRun"
ATTRIBUTE_OUTCOME = "Outcome"

MEMO_EXECUTION = "execution_id"

OF_ITEMS = "#items"
"""After the id of a loop: where the settled iterations keep number and digest of the items with a result."""


def workflow_id(playbook_id: str, asset_id: str) -> str:
    """The id of the workflow that runs a playbook on an asset: Temporal lets one of that id run at a time."""
    return f"{playbook_id}:{asset_id}"


def ids_of(workflow_id: str) -> tuple[str, str]:
    """The ids of playbook and asset in a workflow id; what may follow them tells runs of one asset apart."""
    playbook_id, asset_id, *_ = [*workflow_id.split(":"), ""]
    return playbook_id, asset_id


class PinnedPlaybook(BaseModel):
    """A playbook that a run may start as a sub-playbook, as it was when the run began."""

    id: str
    slug: str
    name: str
    revision: int
    plan: Plan
    parameters_schema: dict[str, Json]


class ParentRun(BaseModel):
    """The run, and the step in it, that has started a run as its sub-playbook."""

    execution_id: str
    step_id: str


class FrameSnapshot(BaseModel):
    """One pass through steps, see ``workflows.frame``; by index, except ``values``, which are by step id."""

    path: list[int] = []
    item: Json = None
    started_at: int | None = None
    records: dict[int, list[Json]] = {}
    values: dict[str, Json] = {}
    loops: dict[int, LoopSnapshot] = {}


class LoopSnapshot(BaseModel):
    """A loop under way, see ``workflows.frame``."""

    items: list[Json] | None = None
    next: int = 0
    open: list[FrameSnapshot] = []
    results: dict[int, Json] = {}
    failures: dict[int, tuple[str, str]] = {}
    last: dict[str, Json] = {}


class MainEnd(BaseModel):
    """How the steps of the playbook itself ended, before those of ``always``: code and message, or the outputs."""

    error: tuple[str, str] | None = None
    outputs: Json = None


class Snapshot(BaseModel):
    """What a run continues from: as new, or as a rerun that keeps what an earlier run has done.

    Times in ms since the epoch; ``limit_at`` is when the run reaches its time limit.  ``main_end`` is there once only
    ``always`` is left; ``decisions`` were taken on steps that wait, and not acted on yet, by the labels of these.
    """

    started_at: int | None = None
    execution_started_at: str | None = None
    limit_at: int | None = None
    timed_out: bool = False
    root: FrameSnapshot = FrameSnapshot()
    rows: dict[int, list[Json]] = {}
    io: dict[str, dict[str, Json]] = {}
    vars: dict[str, Json] = {}
    iterations: dict[str, list[Json]] = {}
    digests: dict[str, dict[int, str]] = {}
    main_end: MainEnd | None = None
    decisions: dict[str, Decide] = {}


TURNS = 2
"""How a run that begins now takes turns with Temporal, see ``workflows.machine``.  1: as before quick actions counted
for a turn, and before what had waited for a breath looked whether it must wait for another."""


class RunInput(BaseModel):
    """The input of a playbook's workflow: everything that pins the run (DESIGN.md §2, *A run is pinned*)."""

    execution_id: str
    playbook_id: str
    revision: int
    plan: Plan
    parameters: dict[str, Json]
    asset: dict[str, Json]
    dry_run: bool = False
    dry_run_reads: bool = True
    playbooks: dict[str, PinnedPlaybook] = {}
    parent: ParentRun | None = None
    resume: Snapshot | None = None
    context: dict[str, Json] = {}
    """What expressions see besides: ``container`` and ``artifacts`` of a run by the Phantom interface."""
    turns: int = 1
    """``TURNS`` as it was when the run began: a change would not replay what is under way."""


class SecretPart(BaseModel):
    """A piece of a string: literal ``text`` or a ``secret`` by name."""

    text: str | None = None
    secret: str | None = None


class SecretSlot(BaseModel):
    """Where a secret goes into an action's parameters, on the worker only.

    ``pointer`` is the JSON Pointer of a string; ``parts`` are its pieces: text, or the name of a secret.
    """

    pointer: str
    parts: list[SecretPart]


class ActionCall(BaseModel):
    """The input of every action's activity.  In ``parameters`` a secret stands as ``***``."""

    execution_id: str
    playbook_id: str
    asset_id: str
    step_id: str
    attempt: int
    parameters: Json
    secrets: list[SecretSlot] = []
    timeout: float | None = None
    dry_run: bool = False
    dry_run_reads: bool = True


class ActionResult(BaseModel):
    """The result of every action's activity; ``would`` and ``effects`` are there when it was rehearsed."""

    output: Json = None
    would: str | None = None
    effects: list[dict[str, Json]] | None = None


class Settlement(BaseModel):
    """The settled record, as the workflow's last act hands it to the database."""

    execution_id: str
    workflow_run_id: str
    state: str
    started_at: int | None
    finished_at: int
    error: tuple[str, str] | None = None
    cancel_reason: str | None = None
    outputs: Json = None
    steps: list[Json]
    io: dict[str, Json] = {}
    iterations: dict[str, list[Json]] = {}
    vars: dict[str, Json] = {}


class Decide(BaseModel):
    """Somebody's decision on a step that waits for approval.

    ``step`` may be left out where only one waits.  ``by`` is who decides, ``permissions`` what they may do besides;
    both are None where Temporal itself has let them in, as in its Web UI.
    """

    approve: bool = True
    step: str | None = None
    comment: str | None = None
    by: str | None = None
    by_id: str | None = None
    permissions: list[str] | None = None
    address: str | None = None


class Decided(BaseModel):
    """The step that was decided on."""

    step: str


class DecisionNote(BaseModel):
    """A decision, for the audit trail."""

    execution_id: str
    step: str
    approved: bool
    by: str | None = None
    by_id: str | None = None
    comment: str | None = None
    address: str | None = None
    at: int


class OpenChild(BaseModel):
    """A sub-playbook that is about to be started: what its row in the database says."""

    execution_id: str
    parent: ParentRun
    playbook_id: str
    revision: int
    asset: dict[str, Json]
    parameters: dict[str, Json]
    parameters_schema: dict[str, Json]
    dry_run: bool
    dry_run_reads: bool
    workflow_id: str
    at: int


class Opened(BaseModel):
    """The parameters of a sub-playbook with their defaults, or what is wrong with them."""

    parameters: dict[str, Json] = {}
    faults: list[str] = []


class Settled(BaseModel):
    """The state that the database holds after a settlement; it may be an earlier, final one."""

    state: str


class Scheduled(BaseModel):
    """The schedule of a playbook; ``key`` tells one of its schedules from another."""

    playbook_id: str
    key: str


class Fire(Scheduled):
    """A playbook that is due by its schedule, since ``due_at`` (ms since the epoch)."""

    due_at: int


class Fired(BaseModel):
    """What came of it: ``started``, ``conflict``, ``refused``, or ``superseded`` by another schedule."""

    outcome: str
    execution_id: str | None = None
    message: str | None = None
