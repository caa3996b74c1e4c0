"""How a run looks to Phantom's clients: the record of the run, its ``message``, and each step as an action run.

An action run is a step that ran; its one app run has the same number.  The number is that of the run and the place
of the step in it, so nothing has to be kept for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.execution_json import mask, masked_parameters, secrets_of
from api.phantom.wire import message_time, time_of
from executions.revisions import StepName
from executions.truth import Truth
from playbooks.record import Json, StepRecord
from playbooks.states import State
from storage.phantom.records import Record
from storage.phantom.runs import FAILED, RUNNING, SUCCESS, RunRow

STEPS: Final = 100_000
"""More than a playbook can have steps."""

REPOSITORY: Final = "local"
APP: Final = "Stanchion"
NODE: Final = "00000000-0000-4000-8000-000000000001"
ACTION_TYPES: Final = {"action": "generic", "playbook": "playbook", "approval": "prompt"}
ACTION_NAMES: Final = {"approval": "prompt"}
"""What Phantom calls steps that are no actions, where it has a word for them."""

RAN: Final = frozenset({State.RUNNING, State.COMPLETED, State.FAILED, State.CANCELLED})


@dataclass(frozen=True, slots=True)
class Run:
    """A run on a container, and the truth about it."""

    row: RunRow
    truth: Truth
    io: Mapping[str, Json]
    """Inputs and outputs by step id, as far as they are known."""

    def masked(self, value: Json) -> Json:
        """``value`` without the secret parameters of the run, as the native interface shows it."""
        return mask(value, secrets_of(self.truth))


def status_of(state: State) -> str:
    """``running`` from the first moment, then ``success`` or ``failed``."""
    if not state.is_final:
        return RUNNING
    return SUCCESS if state is State.COMPLETED else FAILED


def cancelled_of(run: Run) -> str | None:
    """Why the run was cancelled; None when it was not."""
    if run.truth.record.state is not State.CANCELLED:
        return None
    row, error = run.truth.row, run.truth.record.error
    by = row.cancelled_by or "temporal"
    return row.cancel_reason or (run.masked(error.message) if error else None) or f"cancelled by {by}"


def run_json(run: Run) -> Record:
    """The record of a run, as ``GET /rest/playbook_run/<id>`` answers it."""
    row, execution, record = run.row, run.truth.row, run.truth.record
    started = record.started_at or execution.created_at
    return {
        "action_exec": [],
        "cancelled": cancelled_of(run),
        "container": row.container,
        "effective_user": row.owner,
        "id": row.id,
        "inputs": masked_parameters(execution.parameters, run.truth.revision.secret_parameters),
        "ip_address": row.ip_address,
        "last_artifact": row.last_artifact,
        "log_level": 1,
        "message": message_of(run),
        "misc": {"scope": row.scope},
        "node_guid": NODE,
        "outputs": [run.masked(record.outputs)] if record.outputs is not None else [],
        "owner": row.owner,
        "parent_run": None,
        "playbook": row.playbook,
        "playbook_name": row.playbook_name,
        "playbook_run_batch": None,
        "run_data": {},
        "start_time": time_of(started),
        "status": status_of(record.state),
        "test_mode": execution.dry_run,
        "update_time": time_of(_updated(run)),
        "version": 1,
    }


def message_of(run: Run) -> str:
    """The ``message`` of a run: JSON in a string that ends in a newline."""
    record = run.truth.record
    told = run.masked(record.error.message) if record.error else ""
    message: dict[str, Json] = {
        "message": cancelled_of(run) or told,
        "playbook_run_id": run.row.id,
        "playbook": f"{REPOSITORY}/{run.row.playbook_name}",
        "name": run.row.playbook_name,
        "status": status_of(record.state),
        "result": [_result(run, index) for index in _ran(run)],
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")) + "\n"


def action_runs(run: Run) -> list[Record]:
    """Each step that ran, in the order of the playbook."""
    return [_action_run(run, index) for index in _ran(run)]


def app_runs(run: Run) -> list[Record]:
    """The app run of each action run."""
    return [_app_run(run, index) for index in _ran(run)]


def log_of(run: Run) -> list[Record]:
    """What happened in a run, line by line; ``message_type`` 0 is an error, 1 what a playbook did."""
    record, execution = run.truth.record, run.truth.row
    lines: list[tuple[int, int, str]] = [
        (execution.created_at, 1, f"Playbook '{REPOSITORY}/{run.row.playbook_name}' (playbook id: {run.row.playbook}) "
         f"executing on container {run.row.container} as playbook run {run.row.id}")
    ]  # fmt: skip
    for index in _ran(run):
        step, name = record.steps[index], run.truth.revision.steps[index].name
        if step.started_at is not None:
            lines.append((step.started_at, 1, f"{name}: started"))
        if step.finished_at is not None:
            failed = step.state is State.FAILED
            lines.append((step.finished_at, 0 if failed else 1, f"{name}: {_told(run, step)}"))
    if record.state.is_final and record.finished_at is not None:
        failed = record.state is State.FAILED
        lines.append((record.finished_at, 0 if failed else 1, f"playbook run ended: {status_of(record.state)}"))
    ordered = sorted(enumerate(lines), key=lambda one: (one[1][0], one[0]))
    return [
        {
            "id": run.row.id * STEPS + number + 1,
            "playbook_run": run.row.id,
            "time": time_of(at),
            "message_type": kind,
            "message": text,
            "container": run.row.container,
        }
        for number, (_, (at, kind, text)) in enumerate(ordered)
    ]


def action_run_id(run: int, index: int) -> int:
    """The number of the action run of the step at ``index``."""
    return run * STEPS + index + 1


def place_of(number: int) -> tuple[int, int]:
    """The run and the index of the step of an action run."""
    run, place = divmod(number, STEPS)
    return run, place - 1


def _ran(run: Run) -> Iterator[int]:
    for index, step in enumerate(run.truth.record.steps):
        if step.state in RAN and step.started_at is not None:
            yield index


def _updated(run: Run) -> int:
    record = run.truth.record
    times = [time for step in record.steps for time in (step.started_at, step.finished_at) if time is not None]
    return max([*times, record.finished_at or 0, record.started_at or 0, run.truth.row.created_at])


def _told(run: Run, step: StepRecord) -> str:
    if step.error is not None:
        return f"{step.error.code}: {run.masked(step.error.message)}"
    return "1 actions succeeded" if step.state is State.COMPLETED else step.state.value


def _status(step: StepRecord) -> str:
    return status_of(step.state)


def _action_name(step: StepName) -> str:
    return step.action or ACTION_NAMES.get(step.type, step.type)


def _io(run: Run, index: int) -> Mapping[str, Any]:
    io = run.io.get(run.truth.revision.steps[index].id)
    return run.masked(io) if isinstance(io, dict) else {}


def _result(run: Run, index: int) -> Record:
    step, name = run.truth.record.steps[index], run.truth.revision.steps[index]
    number = action_run_id(run.row.id, index)
    action = _action_name(name)
    return {
        "action": action,
        "action_run_id": number,
        "app_runs": [
            {
                "action": action,
                "action_run_id": number,
                "app_message": _told(run, step),
                "app_name": APP,
                "app_run_id": number,
                "asset_name": run.row.container_name or "",
                "parameter": json.dumps(_io(run, index).get("input") or {}),
                "per_parameter_status": _status(step),
            }
        ],
        "close_time": message_time(step.finished_at),
        "create_time": message_time(step.started_at),
        "id": number,
        "message": _told(run, step),
        "name": name.id,
        "status": _status(step),
        "type": ACTION_TYPES.get(name.type, "generic"),
    }


def _action_run(run: Run, index: int) -> Record:
    step, name = run.truth.record.steps[index], run.truth.revision.steps[index]
    return {
        "action": _action_name(name),
        "assign_time": None,
        "cancelled": None if step.state is not State.CANCELLED else cancelled_of(run) or "cancelled",
        "cb_fn": "",
        "close_time": time_of(step.finished_at),
        "comment": "",
        "container": run.row.container,
        "create_time": time_of(step.started_at),
        "creator": run.row.owner,
        "due_time": None,
        "effective_user": run.row.owner,
        "exec_delay_secs": 0,
        "handle": "",
        "id": action_run_id(run.row.id, index),
        "ip_address": run.row.ip_address,
        "message": _told(run, step),
        "name": name.id,
        "node_guid": NODE,
        "owner": run.row.owner,
        "parent_action_run": [],
        "playbook": run.row.playbook,
        "playbook_run": run.row.id,
        "playbook_run_effective_user": run.row.owner,
        "status": _status(step),
        "targets": [],
        "type": ACTION_TYPES.get(name.type, "generic"),
        "update_time": time_of(step.finished_at or step.started_at),
        "version": 1,
    }


def _app_run(run: Run, index: int) -> Record:
    step, name = run.truth.record.steps[index], run.truth.revision.steps[index]
    io = _io(run, index)
    number = action_run_id(run.row.id, index)
    parameter, output = io.get("input"), io.get("output")
    return {
        "action": _action_name(name),
        "action_run": number,
        "app": 1,
        "app_name": APP,
        "app_version": "1.0.0",
        "asset": None,
        "asset_name": run.row.container_name or "",
        "container": run.row.container,
        "end_time": time_of(step.finished_at),
        "exception_occured": False,
        "exception_occurred": False,
        "extra_data": [],
        "id": number,
        "message": _told(run, step),
        "parameter": json.dumps(parameter or {}),
        "playbook_run": run.row.id,
        "result_data": [
            {"data": [output] if output is not None else [], "message": _told(run, step), "parameter": parameter or {},
             "status": _status(step), "summary": {}}
        ],
        "result_summary": {"total_objects": 1, "total_objects_successful": int(step.state is State.COMPLETED)},
        "start_time": time_of(step.started_at),
        "status": _status(step),
        "version": 1,
    }  # fmt: skip
