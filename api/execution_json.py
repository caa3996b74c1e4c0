"""An execution as the interface shows it (seeds: *Response Format*, *Status Response Example*; API.md §1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from api.times import iso
from executions.truth import Truth
from playbooks.progress import decode_step
from playbooks.record import ErrorInfo, Json, StepRecord, Tally
from playbooks.states import State
from storage.executions import ExecutionRow, ExecutionSummary

MASK = "***"


def execution_json(
    truth: Truth,
    ui_url: str | None,
    io: Mapping[str, Json] | None = None,
    iterations: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """The whole execution.

    With ``io``, the input and output of each step (``include=io``); with ``iterations``, those of each loop.
    """
    row, record, revision = truth.row, truth.record, truth.revision
    secrets = secrets_of(truth)
    steps = [step_json(truth, index) for index in range(len(record.steps))]
    if io is not None:
        for step in steps:
            step.update(_step_io(io.get(step["action_id"]) or {}, secrets))
    if iterations is not None:
        for step in steps:
            if step["type"] in ("foreach", "while"):
                step["iteration_records"] = iterations_json(truth, iterations.get(step["action_id"]) or [])
    return {
        **summary_json(row, record.state, record.started_at, record.finished_at),
        "source": row.source,
        "parent": {"execution_id": row.parent_id, "action_id": row.parent_step} if row.parent_id else None,
        "rerun_of": row.rerun_of,
        "parameters": masked_parameters(row.parameters, revision.secret_parameters),
        "outputs": mask(record.outputs, secrets),
        "error": error_json(record.error, secrets),
        "cancelled": cancelled_json(row) if record.state is State.CANCELLED else None,
        "temporal": {
            "workflow_id": row.workflow_id,
            "run_id": truth.run_id,
            "ui_url": workflow_url(ui_url, row.workflow_id, truth.run_id),
            "stalled": truth.stalled,
        },
        "steps": steps,
    }


def summary_json(
    row: ExecutionSummary, state: State, started_at: int | None, finished_at: int | None
) -> dict[str, Json]:
    """The execution without its steps, as lists show it."""
    return {
        "execution_id": row.id,
        "playbook_id": row.playbook_id,
        "revision": row.revision,
        "target_asset_id": row.asset_id,
        "status": state.value,
        "dry_run": row.dry_run,
        "created_at": iso(row.created_at),
        "started_at": iso(started_at),
        "finished_at": iso(finished_at),
    }


def step_json(truth: Truth, index: int, record: StepRecord | None = None) -> dict[str, Json]:
    """One step of the status, or its ``record`` in one iteration of a loop."""
    step, name = record or truth.record.steps[index], truth.revision.steps[index]
    secrets = secrets_of(truth)
    return {
        "index": index,
        "action_id": name.id,
        "name": name.name,
        "type": name.type,
        "action": name.action,
        "parent": name.parent,
        "status": step.state.value,
        "started_at": iso(step.started_at),
        "finished_at": iso(step.finished_at),
        "duration_ms": duration_ms(step),
        "attempt": step.attempt,
        "error": error_json(step.error, secrets),
        "reason": mask(step.reason, secrets),
        "waiting_for": (
            {"kind": step.waiting_for.kind, "until": iso(step.waiting_for.until)} if step.waiting_for else None
        ),
        **_of_blocks(step, secrets),
    }


def error_json(error: ErrorInfo | None, secrets: Sequence[str]) -> Json:
    """Why something failed; secret parameters masked, which a message may quote."""
    return {"code": error.code, "message": mask(error.message, secrets)} if error else None


def _of_blocks(step: StepRecord, secrets: Sequence[str]) -> dict[str, Json]:
    """What is said only of loops, of steps inside of them, of sub-playbooks and of kept results."""
    told: dict[str, Json] = {}
    if step.iterations is not None:
        told["iterations"] = tally_json(step.iterations)
    if step.failures:
        told["failures"] = [
            {"iteration": iteration_name(failure.iteration), "error": error_json(failure.error, secrets)}
            for failure in step.failures
        ]
    if step.runs is not None:
        told["runs"] = tally_json(step.runs)
    if step.child is not None:
        told["execution_id"] = step.child
    if step.kept:
        told["kept"] = True
    return told


def tally_json(tally: Tally) -> dict[str, Json]:
    """How many there are, and how they ended."""
    counts = asdict(tally)
    return counts if tally.total is not None else {name: count for name, count in counts.items() if name != "total"}


def iteration_name(path: Sequence[int]) -> str:
    """The number of an iteration, after those of the loops around its own."""
    return ".".join(map(str, path))


def iterations_json(truth: Truth, rows: Sequence[Json]) -> list[Json]:
    """The iterations of one loop, with a record of each step in them."""
    found, secrets = [], secrets_of(truth)
    for path, state, started_at, finished_at, error, steps in rows:
        records = {int(index): decode_step(row) for index, row in steps.items()}
        found.append(
            {
                "iteration": iteration_name(path),
                "status": state,
                "started_at": iso(started_at),
                "finished_at": iso(finished_at),
                "error": error_json(ErrorInfo(*error) if error else None, secrets),
                "steps": [step_json(truth, index, record) for index, record in sorted(records.items())],
            }
        )
    return found


def duration_ms(step: StepRecord) -> int | None:
    """Milliseconds that a finished step took; None for one that has not begun or not ended."""
    if step.started_at is None or step.finished_at is None:
        return None
    return max(0, step.finished_at - step.started_at)


def cancelled_json(row: ExecutionRow) -> dict[str, Json]:
    """Who cancelled the execution, why, and when."""
    return {
        "by": row.cancelled_by or "temporal",
        "reason": row.cancel_reason,
        "at": iso(row.cancelled_at or row.finished_at),
    }


def workflow_url(ui_url: str | None, workflow_id: str, run_id: str | None) -> str | None:
    """The page of the run in the Temporal Web UI; ``ui_url`` ends with the namespace's path."""
    if ui_url is None or run_id is None:
        return None
    return f"{ui_url.rstrip('/')}/workflows/{workflow_id}/{run_id}/history"


def secrets_of(truth: Truth) -> tuple[str, ...]:
    """The texts of the execution's secret parameters; see ``secret_values``."""
    return secret_values(truth.row.parameters, truth.revision.secret_parameters)


def secret_values(parameters: Mapping[str, Json], names: Sequence[str]) -> tuple[str, ...]:
    """The texts that must not be shown, longest first, so that one inside another is masked whole."""
    found = [text for name in names for text in _texts(parameters.get(name))]
    return tuple(sorted(found, key=len, reverse=True))


def _texts(value: Json) -> Iterator[str]:
    """Every text and number in a value: of an object or a list, each part is as secret as the whole."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
    elif value not in (None, "", True, False):
        yield str(value)


def masked_parameters(parameters: Mapping[str, Json], names: Sequence[str]) -> dict[str, Json]:
    """The parameters of a run, secret ones masked."""
    return {name: MASK if name in names and value is not None else value for name, value in parameters.items()}


def mask(value: Json, secrets: Sequence[str]) -> Json:
    """``value`` with each of ``secrets`` masked wherever it stands in a string."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {name: mask(part, secrets) for name, part in value.items()}
    if isinstance(value, list):
        return [mask(part, secrets) for part in value]
    return MASK if str(value) in secrets and not isinstance(value, bool) and value is not None else value


def _step_io(io: Mapping[str, Json], secrets: Sequence[str]) -> dict[str, Json]:
    shown = {
        "input": mask(io.get("input"), secrets),
        "output": mask(io.get("output"), secrets),
    }
    if "would" in io or "effects" in io:
        shown["would"] = mask(io.get("would"), secrets)
        shown["effects"] = mask(io.get("effects") or [], secrets)
    return shown
