"""What one ``DescribeWorkflowExecution`` says of a run, in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import PendingActivityState, WorkflowExecutionStatus
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client

from engine.codec import ENCODING, EncryptionKeyError
from playbooks.contract import MEMO_EXECUTION
from playbooks.progress import HEAD_FIELD, read_chunks
from playbooks.record import Json, RunRecord
from playbooks.states import State

STALLED_ATTEMPTS = 3
"""Failed workflow tasks in a row after which a run counts as stalled: it waits for a mended worker."""


class Closed(StrEnum):
    """How Temporal closed a run."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"


_CLOSED = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: Closed.COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: Closed.FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: Closed.CANCELLED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: Closed.TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: Closed.TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class PendingActivity:
    """An ordinary activity that has not ended; ``retry_at`` in ms since the epoch while it waits for its next try."""

    activity_id: str
    attempt: int
    running: bool
    told_to_stop: bool
    retry_at: int | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Description:
    """One run in Temporal.  Times in milliseconds since the epoch.

    A long run continues as new, under the same workflow id: ``first_run_id`` names all its parts together, and a part
    that was ``continued`` is not where it stands now.
    """

    execution_id: str | None
    workflow_id: str
    run_id: str
    first_run_id: str
    continued: bool
    closed: Closed | None
    closed_at: int | None
    cancel_requested: bool
    stalled: bool
    record: RunRecord
    pending: Mapping[str, PendingActivity]


async def read_description(client: Client, answer: DescribeWorkflowExecutionResponse) -> Description:
    """Reads the parts of the answer that say where a run stands; the memo is decrypted where that is needed.

    Raises ``engine.codec.EncryptionKeyError`` for one that cannot be.
    """
    info = answer.workflow_execution_info
    memo = await _decode(client, info.memo.fields)
    closed = _CLOSED.get(info.status)
    return Description(
        execution_id=memo.get(MEMO_EXECUTION),
        workflow_id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        first_run_id=info.first_run_id or info.execution.run_id,
        continued=info.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
        closed=closed,
        closed_at=info.close_time.ToMilliseconds() if closed else None,
        cancel_requested=answer.workflow_extended_info.cancel_requested,
        stalled=answer.pending_workflow_task.attempt > STALLED_ATTEMPTS,
        record=_record(memo),
        pending={pending.activity_id: _pending(pending) for pending in answer.pending_activities},
    )


def _record(memo: Mapping[str, Json]) -> RunRecord:
    head = memo.get(HEAD_FIELD) or {}
    return RunRecord(
        steps=read_chunks(memo),
        state=State(head.get("state", State.PENDING)),
        started_at=head.get("started_at"),
    )


def _pending(info: Any) -> PendingActivity:
    state = info.state
    waits = state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and info.attempt > 1
    return PendingActivity(
        activity_id=info.activity_id,
        attempt=info.attempt,
        running=state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
        told_to_stop=state == PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED,
        retry_at=info.next_attempt_schedule_time.ToMilliseconds() if waits else None,
        failure=info.last_failure.message if info.HasField("last_failure") else None,
    )


async def _decode(client: Client, fields: Mapping[str, Payload]) -> dict[str, Json]:
    if client.data_converter.payload_codec is None:
        if any(payload.metadata.get("encoding") == ENCODING for payload in fields.values()):
            raise EncryptionKeyError("this run is encrypted, and STANCHION_ENCRYPTION_KEY is not set")
        return {name: json.loads(payload.data) for name, payload in fields.items()}
    names = list(fields)
    values = await client.data_converter.decode([fields[name] for name in names])
    return dict(zip(names, values, strict=True))
