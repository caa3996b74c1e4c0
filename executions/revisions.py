"""Revisions of playbooks, kept in memory: a stored revision never changes."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field

from playbooks.parameters import ParameterSchema
from playbooks.plan import Plan
from storage import playbooks
from storage.database import Database
from storage.errors import NotFound

SIZE = 500
"""Revisions kept; a large plan is about a megabyte."""


@dataclass(frozen=True, slots=True)
class StepName:
    """What the status says of a step besides its record."""

    id: str
    name: str
    type: str
    action: str | None
    parent: str | None = None
    """The id of the block that the step stands in."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One stored revision, compiled."""

    playbook_id: str
    number: int
    plan: Plan
    plan_json: bytes
    """The plan as it travels with every run."""
    steps: tuple[StepName, ...]
    step_ids: tuple[str, ...]
    parameters: ParameterSchema
    secret_parameters: tuple[str, ...]


@dataclass(slots=True)
class Revisions:
    """Reads revisions from the database, each once."""

    database: Database
    _kept: OrderedDict[tuple[str, int], Revision] = field(default_factory=OrderedDict)

    async def get(self, playbook_id: str, number: int) -> Revision:
        """The revision ``number`` of a playbook, deleted ones included; raises storage's NotFound."""
        key = (playbook_id, number)
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known
        row = await self.database.read(playbooks.get_revision, playbook_id, number)
        if row is None:
            raise NotFound("revision", f"{playbook_id}/{number}")
        revision = _compiled(row)
        self._kept[key] = revision
        if len(self._kept) > SIZE:
            self._kept.popitem(last=False)
        return revision


def _compiled(row: playbooks.RevisionRow) -> Revision:
    parents = [step.get("parent") for step in row.steps]
    steps = tuple(
        StepName(
            step["id"],
            step["name"],
            step["type"],
            step.get("action"),
            None if parent is None else row.steps[parent]["id"],
        )
        for step, parent in zip(row.steps, parents, strict=True)
    )
    return Revision(
        playbook_id=row.playbook_id,
        number=row.revision,
        plan=Plan.model_validate(row.plan),
        plan_json=json.dumps(row.plan, separators=(",", ":"), ensure_ascii=False).encode(),
        steps=steps,
        step_ids=tuple(step.id for step in steps),
        parameters=ParameterSchema(row.parameters_schema),
        secret_parameters=tuple(row.secret_parameters),
    )
