"""Builds the plan of a definition, step by step; every fault on the way is noted with its place."""

from __future__ import annotations

from collections.abc import Mapping

from playbooks.actions import Catalogue
from playbooks.build import BUILDERS, Build
from playbooks.check import Checker, Faults
from playbooks.definition import Head
from playbooks.flow import check_reachable
from playbooks.layout import MAX_STEPS, Layout, Place, Reader
from playbooks.plan import AnyStep, Plan, Span
from playbooks.record import Json
from playbooks.step_definitions import parse_step


class Planner:
    """Builds the plan; faults on the way are noted, and a step with faults is left out."""

    def __init__(
        self,
        value: dict[str, Json],
        head: Head | None,
        faults: Faults,
        catalogue: Catalogue,
        parameter_names: frozenset[str] | None,
    ) -> None:
        self.value = value
        self.head = head or Head(name="unnamed")
        self.faults = faults
        self.layout = Layout.of(value)
        self.checker = Checker(faults, catalogue, self.layout, parameter_names)

    def plan(self) -> Plan:
        """The plan, to be used only where no fault was noted."""
        self._check_lists()
        built: dict[int, AnyStep] = {}
        for place in self.layout.places[:MAX_STEPS]:
            if self.faults.full:
                break
            step = self._step(place)
            if step is not None:
                built[place.index] = step
        self._check_ways(built)
        outputs = None
        if isinstance(self.value.get("outputs"), dict):
            after = Reader(self.layout.always)
            outputs = self.checker.template(self.value["outputs"], ("outputs",), after).template
        minutes = self.head.timeout_minutes
        return Plan(
            steps=list(built.values()),
            timeout=minutes * 60 if minutes else None,
            outputs=outputs,
            always=self._always(),
        )

    def _check_ways(self, built: Mapping[int, AnyStep]) -> None:
        """Looks for steps that no way leads to, in the lists of which every way is known."""
        if self.layout.repeated or self.faults.full:
            return
        for places in self.layout.sequences():
            if all(place.index in built and place.index not in self.checker.lost for place in places):
                check_reachable(self.checker, places, [built[place.index] for place in places])

    def _always(self) -> Span | None:
        start, stop = self.layout.always, len(self.layout.places)
        return Span(start=start, stop=stop) if stop > start else None

    def _check_lists(self) -> None:
        for name in ("steps", "always"):
            value = self.value.get(name)
            if isinstance(value, list):
                if not value:
                    empty = "a playbook has at least one step" if name == "steps" else "there must be at least one step"
                    self.faults.add((name,), empty)
            elif name == "steps" or value is not None:
                self.faults.add((name,), "this must be a list" if name in self.value else "this is required")
        if self.layout.is_full:
            self.faults.add(("steps",), f"a playbook has at most {MAX_STEPS} steps")
        for place, first in self.layout.repeated:
            own = ("id",) if isinstance(place.raw, dict) and "id" in place.raw else ()
            message = f"the id `{place.id}` is taken by the step at position {first.index + 1}"
            self.faults.add((*place.path, *own), message)

    def _step(self, place: Place) -> AnyStep | None:
        definition, problems = parse_step(place.raw)
        for path, message in problems:
            self.faults.add((*place.path, *path), message)
        if definition is None:
            return None
        return BUILDERS[type(definition)](Build(self.checker, self.head, place), definition)
