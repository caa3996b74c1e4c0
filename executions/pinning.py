"""Sub-playbooks: which ones a playbook names, and the revisions that a run of it is pinned to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from executions.errors import BadRequest, Conflict, Detail
from executions.revisions import Revision, Revisions
from playbooks.contract import PinnedPlaybook
from playbooks.plan import Plan, PlaybookStep
from storage import playbooks
from storage.database import Database
from storage.playbooks import PlaybookRow

MAX_PINNED = 100
"""Playbooks that one run may need, itself not counted."""


@dataclass(frozen=True, slots=True)
class Pinner:
    """Follows the steps of type ``playbook``.  Raises DatabaseUnavailable."""

    database: Database
    revisions: Revisions

    async def resolved(self, plan: Plan, paths: Mapping[int, str], own: frozenset[str]) -> Plan:
        """``plan`` with the ids of the playbooks that it names, for one that is about to be stored.

        ``paths`` are the JSON Pointers of its steps by index, ``own`` its id and slug.  Raises BadRequest for a
        playbook that does not exist, and for one that leads back to this one.
        """
        faults: list[Detail] = []
        steps = list(plan.steps)
        for index, step in enumerate(steps):
            if isinstance(step, PlaybookStep):
                fault, found = await self._look(step.playbook, own)
                if fault is not None:
                    faults.append(Detail(f"{paths[index]}/playbook", fault))
                elif found is not None:
                    steps[index] = step.model_copy(update={"playbook": found.id})
        if faults:
            raise BadRequest("The definition has faults.", faults)
        return plan.model_copy(update={"steps": steps})

    async def pinned(
        self, plan: Plan, own: str, revisions: Mapping[str, int] | None = None
    ) -> dict[str, PinnedPlaybook]:
        """Every playbook that a run of ``plan``, of the playbook ``own``, may start, at any depth.

        Each is taken at its revision in ``revisions``, by its id, and where that names none as it is now.
        Raises Conflict where one of them was deleted, and where they lead in a circle: two that were stored at the
        same time may name each other, and would wait for each other for ever.
        """
        found: dict[str, PinnedPlaybook] = {}
        wanted = named(plan)
        while wanted:
            playbook_id = wanted.pop(0)
            if playbook_id in found:
                continue
            row = await self.database.read(playbooks.get, playbook_id)
            if row is None:
                raise Conflict(f"The sub-playbook {playbook_id} was deleted.")
            if len(found) == MAX_PINNED:
                raise Conflict(f"The playbook needs more than {MAX_PINNED} others.")
            number = (revisions or {}).get(row.id, row.revision)
            revision = await self.revisions.get(row.id, number)
            found[playbook_id] = _pinned(row, number, revision)
            wanted += named(revision.plan)
        circle = _in_a_circle({own: named(plan)} | {key: named(one.plan) for key, one in found.items() if key != own})
        if circle is not None:
            raise Conflict(f"The sub-playbook {circle} leads back to itself.")
        return found

    async def _look(self, name: str, own: frozenset[str]) -> tuple[str | None, PlaybookRow | None]:
        """What is wrong with a step that names the playbook ``name``, or that playbook."""
        if name in own:
            return "a playbook cannot run itself", None
        row = await self.database.read(playbooks.get, name)
        if row is None:
            return f"there is no playbook `{name}`", None
        if own & await self._reached(row):
            return f"the playbook `{name}` leads back to this one", None
        return None, row

    async def _reached(self, row: PlaybookRow) -> frozenset[str]:
        """The ids of ``row`` and of all that it leads to."""
        seen: dict[str, None] = {}
        wanted = [row.id]
        while wanted:
            playbook_id = wanted.pop()
            current = await self.database.read(playbooks.get, playbook_id)
            if playbook_id in seen or current is None:
                continue
            seen[playbook_id] = None
            wanted += named((await self.revisions.get(current.id, current.revision)).plan)
        return frozenset(seen)


def named(plan: Plan) -> list[str]:
    """The playbooks that the steps of ``plan`` name, each once."""
    return list(dict.fromkeys(step.playbook for step in plan.steps if isinstance(step, PlaybookStep)))


def _in_a_circle(leads: Mapping[str, Sequence[str]]) -> str | None:
    """A playbook that leads back to itself, over others or not; None where none does."""
    left = {name: set(targets) for name, targets in leads.items()}
    while ends := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in ends:
            del left[name]
    return next(iter(left), None)


def _pinned(row: PlaybookRow, number: int, revision: Revision) -> PinnedPlaybook:
    return PinnedPlaybook(
        id=row.id,
        slug=row.slug,
        name=row.name,
        revision=number,
        plan=revision.plan,
        parameters_schema=dict(revision.parameters.schema),
    )
