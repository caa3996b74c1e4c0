"""Decisions on steps that wait for approval: who asks, who may decide, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from playbooks.contract import Decide
from playbooks.plan import ApprovalStep
from workflows.clock import now_ms
from workflows.state import RunState

NOT_WAITING = "not_waiting"
AMBIGUOUS = "ambiguous"
FORBIDDEN = "forbidden"
DECIDED = "decided"


@dataclass(slots=True)
class Request:
    """A step that waits: who may answer, until when (ms), and the answer once it is there."""

    approvers: Sequence[str]
    until: int | None = None
    decision: Decide | None = None
    parked: bool = False

    def is_late(self, now: int) -> bool:
        """Whether the time is over, and the run, about to continue as new, has not taken note of that yet."""
        return self.parked and self.until is not None and now >= self.until


class Approvals:
    """The steps of a run that wait for approval, by their labels."""

    def __init__(self) -> None:
        self._waiting: dict[str, Request] = {}
        self._decided: dict[str, Decide] = {}

    def resume(self, state: RunState, decisions: Mapping[str, Decide]) -> None:
        """Steps that waited before the run continued as new: they can be decided on before they wait again.

        ``decisions`` were taken there already.
        """
        for frame in state.frames():
            for index, record in frame.records.items():
                step = state.plan.steps[index]
                if isinstance(step, ApprovalStep) and record.waiting_for is not None:
                    label = frame.label(step)
                    until, decision = record.waiting_for.until, decisions.get(label)
                    self._waiting[label] = Request(step.approvers, until, decision, parked=True)

    def taken(self) -> dict[str, Decide]:
        """Decisions on steps that wait, which nothing has come of yet."""
        return {label: request.decision for label, request in self._waiting.items() if request.decision}

    def open(self, label: str, request: Request) -> Request:
        """A step begins to wait; what was decided on it before the run continued as new counts."""
        before = self._waiting.get(label)
        request.decision = before.decision if before is not None else None
        self._waiting[label] = request
        return request

    def park(self, label: str) -> None:
        """A step goes on waiting in the next part of the run; until that begins it can still be decided on."""
        self._waiting[label].parked = True

    def close(self, label: str) -> None:
        """A step waits no longer."""
        request = self._waiting.pop(label)
        if request.decision is not None:
            self._decided[label] = request.decision

    def find(self, decide: Decide) -> str:
        """The label of the step that ``decide`` is about.

        Raises ApplicationError of type ``not_waiting``, ``ambiguous``, ``decided`` or ``forbidden``.
        """
        label = self._named(decide.step)
        request = self._waiting.get(label)
        earlier = request.decision if request else self._decided.get(label)
        if earlier is not None:
            word = "approved" if earlier.approve else "rejected"
            raise _refusal(DECIDED, f"the step {label} was {word} by {earlier.by or 'temporal'} already")
        if request is None or request.is_late(now_ms()):
            raise _refusal(NOT_WAITING, f"the step {label} does not wait for approval")
        if decide.permissions is not None and request.approvers:
            allowed = {decide.by, *decide.permissions}
            if not any(approver in allowed for approver in request.approvers):
                raise _refusal(FORBIDDEN, f"the step {label} is decided by {', '.join(request.approvers)}")
        return label

    def decide(self, decide: Decide) -> str:
        """Takes the decision; the label of the step.  Raises as ``find`` does."""
        label = self.find(decide)
        self._waiting[label].decision = decide
        return label

    def hear(self, decide: Decide) -> None:
        """Takes a decision that nobody waits to hear about; one that cannot be taken is dropped."""
        try:
            self.decide(decide)
        except ApplicationError as refusal:
            workflow.logger.warning("a decision was dropped: %s", refusal)

    def _named(self, step: str | None) -> str:
        if step is not None and (step in self._waiting or step in self._decided):
            return step
        candidates = [label for label in self._waiting if step is None or label.split(".")[0] == step]
        if len(candidates) > 1:
            raise _refusal(AMBIGUOUS, f"several wait for approval: {', '.join(candidates[:20])}; name one of them")
        if candidates:
            return candidates[0]
        if step is None:
            raise _refusal(NOT_WAITING, "no step waits for approval")
        return step


def _refusal(kind: str, message: str) -> ApplicationError:
    return ApplicationError(message, type=kind, non_retryable=True)
