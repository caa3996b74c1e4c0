"""What crosses the border between the API, the workflow and its activities: names and messages.

Everything here stands in Temporal's history; a field is only ever added, with a default.
"""

from __future__ import annotations

from pydantic import BaseModel

from playbooks.plan import Plan
from playbooks.record import Json

SETTLE_ACTIVITY = "stanchion.settle"
IO_QUERY = "io"
SET_ACTION = "core.set"
"""The action whose output the interpreter puts into ``vars``."""

ATTRIBUTE_PLAYBOOK = "PlaybookId"
ATTRIBUTE_ASSET = "AssetId"
ATTRIBUTE_EXECUTION = "ExecutionId"
ATTRIBUTE_DRY_RUN = "DryRun"
ATTRIBUTE_OUTCOME = "Outcome"

MEMO_EXECUTION = "execution_id"


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


class Settled(BaseModel):
    """The state that the database holds after a settlement; it may be an earlier, final one."""

    state: str
