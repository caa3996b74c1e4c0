"""Decisions on steps that wait for approval: they go to the run itself, which alone knows whether it waits."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import DecisionRefused, NoAnswer
from engine.runs import Runs
from executions.errors import NotApprover, NotFound, NotWaiting, Unavailable
from executions.truth import Reader, Truth
from playbooks.contract import Decide
from storage.executions import ExecutionRow
from workflows.approvals import FORBIDDEN

MOVED_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Decider:
    """Brings decisions to runs."""

    runs: Runs
    reader: Reader

    async def decide(self, row: ExecutionRow, decision: Decide) -> Truth:
        """Approves or rejects the step, and returns the run as it stands then.

        Its ``step`` is the id of a step, or for one inside of a loop ``<id>.<iteration>``.  Raises NotFound for a step
        that the playbook does not have, NotWaiting for one that waits for nothing, NotApprover for somebody who may not
        decide, Unavailable when no worker takes the decision.
        """
        for attempt in range(MOVED_ATTEMPTS):
            truth = await self.reader.read(row)
            try:
                await self._decide(row, truth, decision)
                break
            except NotWaiting:
                # A run that continues as new in this very moment waits again as soon as it has.
                if attempt + 1 == MOVED_ATTEMPTS or not await self._has_moved(row, truth):
                    raise
        return await self.reader.reread(row)

    async def _has_moved(self, row: ExecutionRow, truth: Truth) -> bool:
        latest = await self.reader.reread(row)
        return not latest.is_final and latest.run_id != truth.run_id

    async def _decide(self, row: ExecutionRow, truth: Truth, decision: Decide) -> None:
        if (decision.step or "").split(".")[0] not in truth.revision.step_ids:
            raise NotFound(f"There is no step {decision.step!r} in this execution.")
        if truth.is_final or truth.first_run_id is None:
            raise NotWaiting(f"The execution is {truth.record.state.value}.", execution_id=row.id)
        try:
            await self.runs.decide(row.workflow_id, truth.first_run_id, decision)
        except DecisionRefused as refusal:
            if refusal.kind == FORBIDDEN:
                raise NotApprover(_sentence(refusal)) from refusal
            raise NotWaiting(_sentence(refusal), execution_id=row.id) from refusal
        except NoAnswer as error:
            raise Unavailable("worker", str(error), so_far="the decision may still be taken: ask again") from error


def _sentence(refusal: DecisionRefused) -> str:
    text = str(refusal)
    return f"{text[:1].upper()}{text[1:]}."
