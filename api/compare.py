"""Two executions of one playbook side by side, for a rehearsal against the run that followed it."""

from __future__ import annotations

from collections.abc import Mapping

from api.differences import differences
from api.execution_json import error_json, mask, secrets_of, summary_json
from executions.truth import Truth
from playbooks.record import Json

Io = Mapping[str, Json]


def comparison(left: Truth, left_io: Io, right: Truth, right_io: Io) -> dict[str, Json]:
    """Per step: status, input and output of both, and where they differ."""
    sides = {"left": _Side(left, left_io), "right": _Side(right, right_io)}
    ids = [step.id for step in left.revision.steps]
    ids += [step.id for step in right.revision.steps if step.id not in ids]
    steps = [_step(step_id, sides["left"], sides["right"]) for step_id in ids]
    return {
        **{name: side.summary() for name, side in sides.items()},
        "same": all(step["same"] for step in steps),
        "steps": steps,
    }


class _Side:
    def __init__(self, truth: Truth, io: Io) -> None:
        self.truth = truth
        self.secrets = secrets_of(truth)
        self.io = io
        self.places = {step.id: index for index, step in enumerate(truth.revision.steps)}

    def summary(self) -> dict[str, Json]:
        record = self.truth.record
        return summary_json(self.truth.row, record.state, record.started_at, record.finished_at)

    def name(self, step_id: str) -> str | None:
        place = self.places.get(step_id)
        return None if place is None else self.truth.revision.steps[place].name

    def step(self, step_id: str) -> dict[str, Json] | None:
        place = self.places.get(step_id)
        if place is None:
            return None
        record, io = self.truth.record.steps[place], self.io.get(step_id) or {}
        shown: dict[str, Json] = {
            "status": record.state.value,
            "input": mask(io.get("input"), self.secrets),
            "output": mask(io.get("output"), self.secrets),
            "error": error_json(record.error, self.secrets),
            "would": mask(io.get("would"), self.secrets),
            "effects": mask(io.get("effects"), self.secrets),
        }
        return shown


def _step(step_id: str, left: _Side, right: _Side) -> dict[str, Json]:
    one, other = left.step(step_id), right.step(step_id)
    found = differences(_compared(one), _compared(other))
    return {
        "action_id": step_id,
        "name": left.name(step_id) or right.name(step_id),
        "left": one,
        "right": other,
        "same": not found,
        "differences": found,
    }


def _compared(side: dict[str, Json] | None) -> Json:
    """What is compared: what happened, not what only a rehearsal says of itself."""
    return None if side is None else {name: side[name] for name in ("status", "input", "output", "error")}
