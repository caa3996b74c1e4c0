"""The ways through a playbook: jumps lead forward only, every step can be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbooks.check import Checker, Path
from playbooks.plan import ConditionStep, Next, OnFailure, Step

MARKS = {"next": Next(), "end": Next(kind="end")}


@dataclass(frozen=True, slots=True)
class Targets:
    """Resolves the targets that step ``index`` names."""

    checker: Checker
    ids: Mapping[str, int]
    index: int

    def next(self, target: str | None, path: Path) -> Next:
        """Where ``on_success``, ``on_true`` or ``on_false`` leads."""
        if target is None or target in MARKS:
            return MARKS[target or "next"]
        to = self._jump(target, path, "next, end")
        return Next() if to is None else Next(kind="jump", to=to)

    def failure(self, target: str, path: Path) -> OnFailure:
        """What ``on_failure`` means; the attempts of ``retry`` stand elsewhere."""
        if target in ("abort", "retry"):
            return OnFailure()
        if target == "continue":
            return OnFailure(kind="continue")
        to = self._jump(target, path, "abort, continue, retry")
        return OnFailure() if to is None else OnFailure(kind="handler", to=to)

    def _jump(self, target: str, path: Path, words: str) -> int | None:
        to = self.ids.get(target)
        if to is None:
            hint = self.checker.suggest(target, self.ids)
            self.checker.faults.add(path, f"there is no step `{target[:100]}`; this is {words} or a later step{hint}")
        elif to == self.index:
            self.checker.faults.add(path, "a step cannot jump to itself")
        elif to < self.index:
            self.checker.faults.add(path, f"the step `{target}` comes earlier: jumps lead forward only")
        else:
            return to
        return None


def check_reachable(checker: Checker, steps: Sequence[Step]) -> None:
    """Notes a fault at every step that no way leads to.

    Steps with ``run: on_failure_only`` are passed over by the ordinary way and need a jump.
    """
    following = _following(steps)
    reached = {following[0]}
    jumped: set[int] = set()
    for step in steps:
        if step.index not in reached:
            continue
        for way in _ways(step):
            if way.kind == "jump" and way.to is not None:
                jumped.add(way.to)
                reached.add(way.to)
            elif way.kind == "next":
                reached.add(following[step.index + 1])
    for step in steps:
        if step.index in reached:
            continue
        path: Path = ("steps", step.index)
        if step.on_failure_only:
            checker.faults.add(
                (*path, "run"), f"the step `{step.id}` runs only after a failure, and nothing jumps to it"
            )
        else:
            checker.faults.add(path, f"the step `{step.id}` can never be reached")


def _ways(step: Step) -> list[Next]:
    ways = [step.on_true, step.on_false] if isinstance(step, ConditionStep) else [step.on_success]
    if step.on_failure.kind == "handler":
        ways.append(Next(kind="jump", to=step.on_failure.to))
    if step.when is not None or step.on_failure.kind == "continue":
        ways.append(Next())
    return ways


def _following(steps: Sequence[Step]) -> list[int]:
    """For each index, and one past the last, the first step from there that the ordinary way enters."""
    result = [len(steps)] * (len(steps) + 1)
    for index in range(len(steps) - 1, -1, -1):
        result[index] = result[index + 1] if steps[index].on_failure_only else index
    return result
