"""An execution as its page shows it: one row a step, and the parts that a live page replaces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from api.console.names import Names
from api.console.pages import rendered
from api.console.sessions import Visitor
from playbooks.record import Json

LOOPS = ("foreach", "while")


@dataclass(frozen=True, slots=True)
class View:
    """An execution (``include=io`` where it was rehearsed, or waits for somebody) and who looks at it."""

    execution: Json
    visitor: Visitor
    names: Names

    @property
    def is_open(self) -> bool:
        """Whether anything of it can still change."""
        return self.execution["status"] in ("pending", "running")

    def values(self) -> dict[str, Any]:
        """What the templates are filled with."""
        depths = _depths(self.execution["steps"])
        return {
            "execution": self.execution,
            "steps": [{**step, "depth": depths[step["action_id"]]} for step in self.execution["steps"]],
            "names": self.names,
            "is_open": self.is_open,
            "may_act": self.visitor.may("playbook:execute"),
            "done": sum(step["status"] in ("completed", "skipped") for step in self.execution["steps"]),
        }

    def parts(self, changed: Iterable[int], told: str = "", *, with_acts: bool = True) -> str:
        """What a live page replaces: the head of the page, the steps ``changed`` by index, and what is announced.

        Without ``with_acts`` the buttons stay as they are, and with them what somebody is typing there.
        """
        wanted = set(changed)
        values = self.values()
        steps = [step for step in values["steps"] if step["index"] in wanted]
        values |= {"csrf": self.visitor.csrf, "changed": steps, "told": told, "with_acts": with_acts}
        return rendered("parts/live.html", **values)

    def acts(self) -> tuple[str, str | None]:
        """What the buttons of the page depend on."""
        return self.execution["status"], self.execution["temporal"]["ui_url"]


def needs_io(execution: Json) -> bool:
    """Whether the rows say more than the record holds: what a rehearsal would do, what an approval asks."""
    return bool(execution["dry_run"]) or any(
        step["waiting_for"] and step["waiting_for"]["kind"] == "approval" for step in execution["steps"]
    )


def announcement(execution: Json, changed: Iterable[int]) -> str:
    """The change in words, for those who listen to the page."""
    steps = [execution["steps"][index] for index in changed]
    said = []
    for step in steps[:3]:
        waits = step["waiting_for"]
        said.append(f"{step['name']}: {'waits for ' + waits['kind'] if waits else step['status']}.")
    if len(steps) > 3:
        said.append(f"{len(steps) - 3} more steps have changed.")
    if execution["status"] not in ("pending", "running"):
        said.append(f"The execution is {execution['status']}.")
    return " ".join(said)


def _depths(steps: list[Json]) -> dict[str, int]:
    """How deep each step stands in blocks; a block comes before its steps."""
    depths: dict[str, int] = {}
    for step in steps:
        depths[step["action_id"]] = depths.get(step["parent"], -1) + 1 if step["parent"] else 0
    return depths
