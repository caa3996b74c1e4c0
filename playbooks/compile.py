"""Compiles a definition to what is stored and run: checked whole, every fault at once."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from playbooks.actions import Catalogue
from playbooks.check import Checker, Faults, Path, declared_names
from playbooks.definition import (
    MAX_STEPS,
    ActionDefinition,
    ConditionDefinition,
    DelayDefinition,
    Head,
    StepDefinition,
    parse_head,
    parse_step,
)
from playbooks.document import Document
from playbooks.faults import DefinitionError, Fault
from playbooks.flow import Targets, check_reachable
from playbooks.load import Media, load, load_value
from playbooks.parameters import secret_names, to_schema
from playbooks.plan import ActionStep, AnyStep, ConditionStep, DelayStep, Plan, Retry
from playbooks.record import Json

MAX_PLAN = 1024 * 1024
"""Bytes of a plan as JSON: it travels in the workflow's input."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A checked definition, ready to be stored.  ``id`` is None where the author gave none."""

    id: str | None
    slug: str
    name: str
    version: str
    description: str
    tags: list[str]
    trigger: dict[str, Json]
    definition: dict[str, Json]
    parameters_schema: dict[str, Json]
    secret_parameters: list[str]
    plan: Plan


def compile_playbook(text: bytes, media: Media, catalogue: Catalogue) -> Compiled:
    """The compiled definition in ``text``.  Raises DefinitionError with every fault and its place."""
    return _compile(load(text, media), catalogue)


def compile_value(value: Json, catalogue: Catalogue) -> Compiled:
    """The compiled definition of a value that was parsed already.  Raises DefinitionError; places are paths only."""
    return _compile(load_value(value), catalogue)


def slug_of(name: str) -> str:
    """The slug of a name: lower-case ASCII letters and digits in words joined by ``-``, at most 64 characters."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:64].rstrip("-")


def _compile(document: Document, catalogue: Catalogue) -> Compiled:
    value = document.value
    if not isinstance(value, dict):
        raise DefinitionError([document.fault((), "a definition is an object")])
    faults = Faults(document)
    head, problems = parse_head(value)
    for path, message in problems:
        faults.add(path, message)
    schema, problems = to_schema(value.get("parameters"))
    for path, message in problems:
        faults.add(("parameters", *path), message)
    names = None if problems else declared_names(schema)
    plan = _Planner(value, head, faults, catalogue, names).plan()
    name = value.get("name")
    slug = slug_of(name) if isinstance(name, str) else ""
    if name and isinstance(name, str) and not slug:
        faults.add(("name",), "the name needs at least one letter or digit of ASCII, for its slug")
    if faults or head is None:
        raise DefinitionError(faults.listed())
    _check_size(plan)
    return Compiled(
        id=head.id,
        slug=slug,
        name=head.name,
        version=head.version,
        description=head.description,
        tags=head.tags,
        trigger=head.trigger.model_dump(exclude_none=True),
        definition=value,
        parameters_schema=schema,
        secret_parameters=secret_names(schema),
        plan=plan,
    )


def _check_size(plan: Plan) -> None:
    size = len(plan.model_dump_json().encode())
    if size > MAX_PLAN:
        raise DefinitionError([Fault("", f"the playbook compiles to {size} bytes; {MAX_PLAN} is the most")])


class _Planner:
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
        raw = value.get("steps")
        self.raw: list[Json] = raw if isinstance(raw, list) else []
        self.ids = self._ids()
        self.checker = Checker(faults, catalogue, self.ids, parameter_names)

    def plan(self) -> Plan:
        """The plan, to be used only where no fault was noted."""
        self._check_list()
        steps: list[AnyStep] = []
        for index, raw in enumerate(self.raw[:MAX_STEPS]):
            if self.faults.full:
                break
            definition, problems = parse_step(raw)
            for path, message in problems:
                self.faults.add(("steps", index, *path), message)
            if definition is not None and (step := self._step(index, definition)) is not None:
                steps.append(step)
        if not self.faults:
            check_reachable(self.checker, steps)
        outputs = None
        if isinstance(self.value.get("outputs"), dict):
            outputs = self.checker.template(self.value["outputs"], ("outputs",), len(self.raw)).template
        minutes = self.head.timeout_minutes
        return Plan(steps=steps, timeout=minutes * 60 if minutes else None, outputs=outputs)

    def _check_list(self) -> None:
        if not isinstance(self.value.get("steps"), list):
            missing = "steps" not in self.value
            self.faults.add(("steps",), "this is required" if missing else "this must be a list")
        elif not self.raw:
            self.faults.add(("steps",), "a playbook has at least one step")
        elif len(self.raw) > MAX_STEPS:
            self.faults.add(("steps",), f"a playbook has at most {MAX_STEPS} steps")

    def _ids(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for index, raw in enumerate(self.raw):
            step_id = _id_of(raw, index)
            if step_id in ids:
                self.faults.add(
                    ("steps", index, *(("id",) if isinstance(raw, dict) and "id" in raw else ())),
                    f"the id `{step_id}` is taken by the step at position {ids[step_id] + 1}",
                )
            else:
                ids[step_id] = index
        return ids

    def _step(self, index: int, definition: StepDefinition) -> AnyStep | None:
        path: Path = ("steps", index)
        targets = Targets(self.checker, self.ids, index)
        on_failure = definition.on_failure or self.head.on_failure
        common: dict[str, Any] = {
            "index": index,
            "id": _id_of(self.raw[index], index),
            "name": definition.name or _id_of(self.raw[index], index),
            "on_success": targets.next(definition.on_success, (*path, "on_success")),
            "on_failure": targets.failure(on_failure, (*path, "on_failure")),
            "on_failure_only": definition.run is not None,
        }
        if definition.when is not None:
            common["when"] = self.checker.expression(definition.when, (*path, "when"), index)
        if isinstance(definition, ActionDefinition):
            return self._action(definition, path, on_failure, common)
        if definition.on_failure == "retry":
            self.faults.add((*path, "on_failure"), "only an action can be tried again")
        if isinstance(definition, ConditionDefinition):
            return self._condition(definition, path, targets, common)
        if isinstance(definition, DelayDefinition):
            return DelayStep(**common, duration=definition.duration)
        return None

    def _action(
        self, definition: ActionDefinition, path: Path, on_failure: str, common: dict[str, Any]
    ) -> ActionStep | None:
        spec = self.checker.action(definition.action_ref, (*path, "action_ref"))
        if spec is None:
            self.checker.template(definition.parameters, (*path, "parameters"), common["index"], secrets=True)
            return None
        if definition.name is None and definition.id is None:
            common["name"] = spec.title
        traits = spec.traits_for(definition.parameters)
        return ActionStep(
            **common,
            action=spec.name,
            parameters=self.checker.action_parameters(
                spec, definition.parameters, (*path, "parameters"), common["index"]
            ),
            timeout=definition.timeout,
            retry=self._retry(definition, on_failure),
            safe=traits.safe,
            idempotent=traits.idempotent,
            quick=traits.quick,
        )

    def _retry(self, definition: ActionDefinition, on_failure: str) -> Retry:
        if definition.retry is not None:
            return Retry(**definition.retry.model_dump())
        return Retry(max_attempts=self.head.max_retries + 1) if on_failure == "retry" else Retry()

    def _condition(
        self, definition: ConditionDefinition, path: Path, targets: Targets, common: dict[str, Any]
    ) -> ConditionStep:
        otherwise = common["on_success"]
        ways = {
            field: otherwise if target is None else targets.next(target, (*path, field))
            for field, target in (("on_true", definition.on_true), ("on_false", definition.on_false))
        }
        tree = self.checker.expression(definition.expression, (*path, "expression"), common["index"])
        return ConditionStep(**common, expression=tree, **ways)


def _id_of(raw: Json, index: int) -> str:
    """The id of a step: its own, or ``act-001`` by position (seeds)."""
    own = raw.get("id") if isinstance(raw, dict) else None
    return own if isinstance(own, str) else f"act-{index + 1:03d}"
