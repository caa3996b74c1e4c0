"""The ways through a list of steps: jumps lead forward only and stay in the list, every step can be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from playbooks.check import Checker, Path
from playbooks.layout import Place
from playbooks.plan import ApprovalStep, ConditionStep, Next, OnFailure, Step

MARKS = {"next": Next(), "end": Next(kind="end")}


@dataclass(frozen=True, slots=True)
class Targets:
    """Resolves the targets that the step at ``place`` names."""

    checker: Checker
    place: Place

    def next(self, target: str | None, path: Path) -> Next:
        """Where ``on_success``, ``on_true`` or ``on_false`` leads."""
        if target is None or target in MARKS:
            return MARKS[target or "next"]
        to = self._jump(target, path, "next, end")
        return Next() if to is None else Next(kind="jump", to=to)

    def failure(self, target: str, path: Path, words: str = "abort, continue, retry") -> OnFailure:
        """What ``on_failure`` means; the attempts of ``retry`` stand elsewhere."""
        if target in ("abort", "retry"):
            return OnFailure()
        if target == "continue":
            return OnFailure(kind="continue")
        to = self._jump(target, path, words)
        return OnFailure() if to is None else OnFailure(kind="handler", to=to)

    def _jump(self, target: str, path: Path, words: str) -> int | None:
        to = self.checker.layout.by_id.get(target)
        if to is None:
            hint = self.checker.suggest(target, self.checker.layout.by_id)
            message = f"there is no step `{target[:100]}`; this is {words} or a later step{hint}"
        elif to is self.place:
            message = "a step cannot jump to itself"
        elif to.index < self.place.index:
            message = f"the step `{target}` comes earlier: jumps lead forward only"
        elif to.sequence != self.place.sequence:
            message = f"the step `{target}` stands in another list of steps: a jump stays in its own"
        else:
            return to.index
        self.checker.faults.add(path, message)
        self.checker.lost.add(self.place.index)
        return None


def check_reachable(checker: Checker, places: Sequence[Place], steps: Sequence[Step]) -> None:
    """Notes a fault at every step of one list that no way leads to.

    Steps with ``run: on_failure_only`` are passed over by the ordinary way and need a jump.
    """
    following = _following(steps)
    position = {step.index: number for number, step in enumerate(steps)}
    reached = {following[0]}
    for number, step in enumerate(steps):
        if number not in reached:
            continue
        for way in _ways(step):
            if way.kind == "jump" and way.to is not None:
                reached.add(position[way.to])
            elif way.kind == "next":
                reached.add(following[number + 1])
    for number, (place, step) in enumerate(zip(places, steps, strict=True)):
        if number in reached:
            continue
        if step.on_failure_only:
            message = f"the step `{step.id}` runs only after a failure, and nothing jumps to it"
            checker.faults.add((*place.path, "run"), message)
        else:
            checker.faults.add(place.path, f"the step `{step.id}` can never be reached")


def _ways(step: Step) -> list[Next]:
    ways = [step.on_true, step.on_false] if isinstance(step, ConditionStep) else [step.on_success]
    failures = [step.on_failure, step.timeout_way] if isinstance(step, ApprovalStep) else [step.on_failure]
    for failure in failures:
        if failure.kind == "handler":
            ways.append(Next(kind="jump", to=failure.to))
    if step.when is not None or any(failure.kind == "continue" for failure in failures):
        ways.append(Next())
    return ways


def _following(steps: Sequence[Step]) -> list[int]:
    """For each position, and one past the last, the first step from there that the ordinary way enters."""
    result = [len(steps)] * (len(steps) + 1)
    for number in range(len(steps) - 1, -1, -1):
        result[number] = result[number + 1] if steps[number].on_failure_only else number
    return result
