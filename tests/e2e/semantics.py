"""A plain model of what a playbook means, and random playbooks to hold the engine to it.

The model walks the definition itself, knows nothing of plans, frames or Temporal, and answers with the states that
each step may end in.  Where branches race (one of them fails and stops the others) there is more than one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Step = dict[str, Any]
LOOPS = ("foreach", "while")
ANY = frozenset({"completed", "failed", "skipped", "cancelled"})


@dataclass
class Expected:
    """What a run of a playbook must read at its end."""

    status: str = "completed"
    states: dict[str, frozenset[str]] = field(default_factory=dict)
    runs: dict[str, Counter[str]] = field(default_factory=dict)
    """Of steps inside of loops: how often they end in each state; only where that is certain."""


class Model:
    """Walks one definition."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.definition = definition
        self.ends: dict[str, Counter[str]] = {}
        self.racing: set[str] = set()
        self.loop_bodies = {step["id"] for step in inside(definition["steps"]) if step["type"] in LOOPS}
        self.in_loop = {
            inner["id"]
            for step in inside(definition["steps"])
            if step["type"] in LOOPS
            for inner in inside(step["steps"])
        }

    def expect(self) -> Expected:
        """The end of a run that nobody cancels."""
        failed = self.walk(self.definition["steps"])
        self.walk(self.definition.get("always", []))
        expected = Expected("failed" if failed else "completed")
        for step in inside([*self.definition["steps"], *self.definition.get("always", [])]):
            name = step["id"]
            ends = self.ends.get(name, Counter())
            if name in self.racing:
                expected.states[name] = ANY
                continue
            expected.states[name] = frozenset({together(ends)})
            if name in self.in_loop:
                expected.runs[name] = ends
        return expected

    def walk(self, steps: list[Step]) -> bool:
        """Runs a list of steps; True when it fails."""
        index, jumped = 0, False
        while index < len(steps):
            step = steps[index]
            if step.get("run") == "on_failure_only" and not jumped:
                self.end(step, "skipped")
                index += 1
                continue
            state = "skipped" if step.get("when") == "false" else self.run(step)
            self.end(step, state)
            index, jumped, failed = self.onward(steps, index, state)
            if failed:
                return True
        return False

    def onward(self, steps: list[Step], index: int, state: str) -> tuple[int, bool, bool]:
        """The next step, whether it was jumped to, and whether the list has failed."""
        step = steps[index]
        to = index + 1
        if state == "failed":
            way = step.get("on_failure", "abort")
            if way == "abort":
                self.pass_over(steps[index + 1 :])
                return len(steps), False, True
            to = index + 1 if way == "continue" else position(steps, way)
        elif state == "completed" and step["type"] == "condition":
            way = step["on_true"] if step["expression"] == "true" else step["on_false"]
            to = {"next": index + 1, "end": len(steps)}.get(way, -1)
            to = position(steps, way) if to < 0 else to
        self.pass_over(steps[index + 1 : to])
        return to, to > index + 1, False

    def run(self, step: Step) -> str:
        """How one step ends by itself."""
        if step["type"] == "parallel":
            return self.parallel(step)
        if step["type"] in LOOPS:
            return self.loop(step)
        return "failed" if step.get("action_ref") == "core.fail" else "completed"

    def parallel(self, step: Step) -> str:
        """Branches side by side: when one fails and stops the others, nobody knows how far those come."""
        failed = [self.walk(branch) for branch in step["branches"]]
        if any(failed) and step.get("on_failure") != "continue":
            self.race(step)
        return "failed" if any(failed) else "completed"

    def loop(self, step: Step) -> str:
        """Iterations: when one fails the loop ends, or goes on where failures are data."""
        lets = step.get("on_failure") == "continue"
        count = len(step["items"]) if step["type"] == "foreach" else step["times"]
        failed = 0
        for _ in range(count):
            failed += self.walk(step["steps"])
            if failed and (step["type"] == "while" or not lets):
                if step.get("concurrency", 1) > 1:
                    self.race(step)
                break
        return "failed" if failed else "completed"

    def race(self, block: Step) -> None:
        """From here on nothing is certain about the steps inside of ``block``."""
        self.racing |= {step["id"] for step in children(block)}

    def end(self, step: Step, state: str) -> None:
        """Notes how a step ended; one that is skipped takes what is inside of it along."""
        self.ends.setdefault(step["id"], Counter())[state] += 1
        if state == "skipped":
            self.pass_over(_directly(step))

    def pass_over(self, steps: list[Step]) -> None:
        """Steps that are not reached."""
        for step in steps:
            self.end(step, "skipped")


def together(ends: Counter[str]) -> str:
    """What the status shows of a step that may have run many times."""
    return next((state for state in ("failed", "completed", "cancelled") if ends[state]), "skipped")


def position(steps: list[Step], step_id: str) -> int:
    """Where the step stands in its list."""
    return next(index for index, step in enumerate(steps) if step["id"] == step_id)


def children(block: Step) -> list[Step]:
    """All steps inside of a block."""
    return list(inside([step for branch in block.get("branches", []) for step in branch] + block.get("steps", [])))


def _directly(block: Step) -> list[Step]:
    """The steps of a block that are skipped with it: those of branches; a loop that does not run counts none."""
    return [step for branch in block.get("branches", []) for step in branch]


def inside(steps: list[Step]) -> list[Step]:
    """All steps, those inside of blocks too."""
    return [found for step in steps for found in (step, *children(step))]


class Builder:
    """Draws a random playbook; every step has a number in its id, so that all differ."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.count = 0

    def steps(self, depth: int, most: int = 4) -> list[Step]:
        """A list of steps with jumps that lead forward."""
        made = [self.step(depth) for _ in range(self.draw(st.integers(1, most)))]
        for index, step in enumerate(made):
            later = [other["id"] for other in made[index + 1 :]]
            self.ways(step, later)
        return made

    def ways(self, step: Step, later: list[str]) -> None:
        """Where a step leads when it fails, or as its condition says."""
        if step["type"] == "condition":
            step["on_true"] = self.draw(st.sampled_from(["next", "end", *later]))
            step["on_false"] = self.draw(st.sampled_from(["next", *later]))
            return
        choices = ["abort", "continue", "continue", *later]
        step["on_failure"] = self.draw(st.sampled_from(choices))

    def step(self, depth: int) -> Step:
        """One step; blocks only as deep as ``depth`` allows."""
        self.count += 1
        kinds = ["echo", "echo", "fail", "nap", "condition", "delay"]
        kind = self.draw(st.sampled_from([*kinds, *(["parallel", "foreach", "while"] * 2 if depth else [])]))
        step: Step = {"id": f"s{self.count}", **getattr(self, kind)(depth)}
        if self.draw(st.integers(0, 9)) == 0:
            step["when"] = "false"
        return step

    def echo(self, depth: int) -> Step:
        """Answers with its parameters."""
        return {"type": "action", "action_ref": "core.echo", "parameters": {"x": "{{ asset.name }}"}}

    def fail(self, depth: int) -> Step:
        """Fails."""
        return {"type": "action", "action_ref": "core.fail", "parameters": {"message": "no"}}

    def nap(self, depth: int) -> Step:
        """An ordinary activity."""
        return {
            "type": "action",
            "action_ref": "core.sleep",
            "parameters": {"seconds": self.draw(st.sampled_from([0, 0.1]))},
        }

    def delay(self, depth: int) -> Step:
        """A timer."""
        return {"type": "delay", "duration": 0.05}

    def condition(self, depth: int) -> Step:
        """A condition whose value is known beforehand."""
        return {"type": "condition", "expression": self.draw(st.sampled_from(["true", "false"]))}

    def parallel(self, depth: int) -> Step:
        """Branches."""
        branches = [self.steps(depth - 1, 3) for _ in range(self.draw(st.integers(1, 3)))]
        return {"type": "parallel", "branches": branches}

    def foreach(self, depth: int) -> Step:
        """A loop over some numbers."""
        items = list(range(self.draw(st.integers(0, 4))))
        return {
            "type": "foreach",
            "items": items,
            "concurrency": self.draw(st.integers(1, 3)),
            "steps": self.steps(depth - 1, 3),
        }

    def __getattr__(self, name: str) -> Any:
        if name == "while":
            return self.repeat
        raise AttributeError(name)

    def repeat(self, depth: int) -> Step:
        """A loop that ends by counting."""
        times = self.draw(st.integers(0, 3))
        return {"type": "while", "expression": f"index < {times}", "times": times, "steps": self.steps(depth - 1, 3)}


@st.composite
def definitions(draw: Any) -> dict[str, Any]:
    """A random playbook, some of its steps nested up to two blocks deep."""
    builder = Builder(draw)
    definition: dict[str, Any] = {"steps": builder.steps(2)}
    if draw(st.booleans()):
        definition["always"] = [{"id": "tidy", **builder.echo(0)}]
    return definition


def sent(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition without what only the model needs."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: clean(part) for name, part in value.items() if name != "times"}
        return [clean(part) for part in value] if isinstance(value, list) else value

    cleaned: dict[str, Any] = clean(definition)
    return cleaned
