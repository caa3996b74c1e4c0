"""One function for each type of step: from its definition to its node in the plan.

To add a type: a model in ``playbooks.step_definitions``, a node in ``playbooks.plan``, a function here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playbooks.check import Checker, Path
from playbooks.contract import SET_ACTION
from playbooks.definition import Head
from playbooks.flow import Targets
from playbooks.layout import Place, Reader
from playbooks.plan import (
    ActionStep,
    AnyStep,
    ApprovalStep,
    ConditionStep,
    DelayStep,
    ForeachStep,
    OnFailure,
    ParallelStep,
    PlaybookStep,
    Retry,
    Template,
    WhileStep,
)
from playbooks.step_definitions import (
    ActionDefinition,
    ApprovalDefinition,
    ConditionDefinition,
    DelayDefinition,
    ForeachDefinition,
    ParallelDefinition,
    PlaybookDefinition,
    SetDefinition,
    StepDefinition,
    WhileDefinition,
)
from playbooks.templates import constant


@dataclass(frozen=True, slots=True)
class Build:
    """What the functions here have at hand for one step."""

    checker: Checker
    head: Head
    place: Place

    @property
    def reader(self) -> Reader:
        """Where the expressions of the step stand."""
        return Reader.at(self.place)

    @property
    def targets(self) -> Targets:
        """Resolves the jumps of the step."""
        return Targets(self.checker, self.place)

    def path(self, *names: str) -> Path:
        """The path of a field of the step."""
        return (*self.place.path, *names)

    def common(self, definition: StepDefinition) -> dict[str, Any]:
        """The fields that every node of the plan has."""
        place, named = self.place, definition.name or self.place.id
        fields: dict[str, Any] = {"index": place.index, "id": place.id, "name": named}
        if place.parent is not None:
            fields["parent"] = place.parent.index
        if place.bodies:
            fields["end"] = place.end
        fields["on_success"] = self.targets.next(definition.on_success, self.path("on_success"))
        fields["on_failure"] = self._on_failure(definition)
        fields["on_failure_only"] = definition.run is not None
        if definition.when is not None:
            fields["when"] = self.checker.expression(definition.when, self.path("when"), self.reader)
        return fields

    def _on_failure(self, definition: StepDefinition) -> OnFailure:
        if definition.on_failure == "retry" and not isinstance(definition, ActionDefinition):
            self.checker.faults.add(self.path("on_failure"), "only an action can be tried again")
        return self.targets.failure(definition.on_failure or self.head.on_failure, self.path("on_failure"))


def _action(build: Build, definition: ActionDefinition) -> ActionStep | None:
    return _run(build, definition, definition.action_ref, definition.parameters, "action_ref", "parameters")


def _set(build: Build, definition: SetDefinition) -> ActionStep | None:
    return _run(build, definition, SET_ACTION, definition.vars, "type", "vars")


def _run(
    build: Build,
    definition: ActionDefinition | SetDefinition,
    action: str,
    parameters: dict[str, Any],
    action_field: str,
    field: str,
) -> ActionStep | None:
    common = build.common(definition)
    spec = build.checker.action(action, build.path(action_field))
    if spec is None:
        build.checker.template(parameters, build.path(field), build.reader, secrets=True)
        return None
    if definition.name is None and definition.id is None:
        common["name"] = spec.title
    traits = spec.traits_for(parameters)
    return ActionStep(
        **common,
        action=spec.name,
        parameters=build.checker.action_parameters(spec, parameters, build.path(field), build.reader),
        timeout=definition.timeout if isinstance(definition, ActionDefinition) else None,
        retry=_retry(build.head, definition),
        safe=traits.safe,
        idempotent=traits.idempotent,
        quick=traits.quick,
    )


def _retry(head: Head, definition: StepDefinition) -> Retry:
    if isinstance(definition, ActionDefinition) and definition.retry is not None:
        return Retry(**definition.retry.model_dump())
    on_failure = definition.on_failure or head.on_failure
    return Retry(max_attempts=head.max_retries + 1) if on_failure == "retry" else Retry()


def _condition(build: Build, definition: ConditionDefinition) -> ConditionStep:
    common = build.common(definition)
    otherwise = common["on_success"]
    ways = {
        field: otherwise if target is None else build.targets.next(target, build.path(field))
        for field, target in (("on_true", definition.on_true), ("on_false", definition.on_false))
    }
    tree = build.checker.expression(definition.expression, build.path("expression"), build.reader)
    return ConditionStep(**common, expression=tree, **ways)


def _delay(build: Build, definition: DelayDefinition) -> DelayStep:
    return DelayStep(**build.common(definition), duration=definition.duration)


def _parallel(build: Build, definition: ParallelDefinition) -> ParallelStep:
    return ParallelStep(**build.common(definition), branches=build.place.bodies)


def _foreach(build: Build, definition: ForeachDefinition) -> ForeachStep:
    output = None
    if definition.output is not None:
        inside = Reader.after_body(build.place)
        output = build.checker.template(definition.output, build.path("output"), inside).template
    return ForeachStep(
        **build.common(definition),
        items=_items(build, definition.items),
        concurrency=definition.concurrency,
        body=build.place.bodies[0],
        output=output,
    )


def _items(build: Build, items: list[Any] | str) -> Template:
    if isinstance(items, list):
        return build.checker.template(items, build.path("items"), build.reader).template
    tree = build.checker.expression(items, build.path("items"), build.reader)
    return [None, [[[], "value", tree]]]


def _while(build: Build, definition: WhileDefinition) -> WhileStep:
    tree = build.checker.expression(definition.expression, build.path("expression"), Reader.after_body(build.place))
    return WhileStep(
        **build.common(definition),
        expression=tree,
        max_iterations=definition.max_iterations,
        body=build.place.bodies[0],
    )


def _approval(build: Build, definition: ApprovalDefinition) -> ApprovalStep:
    approves = definition.on_timeout == "approve"
    way = OnFailure()
    if not approves:
        words = "abort, continue, approve"
        if definition.on_timeout == "retry":
            build.checker.faults.add(build.path("on_timeout"), f"this is {words} or a later step")
        way = build.targets.failure(definition.on_timeout, build.path("on_timeout"), words)
    return ApprovalStep(
        **build.common(definition),
        message=build.checker.template(definition.message, build.path("message"), build.reader).template,
        approvers=definition.approvers,
        timeout=definition.timeout,
        on_timeout="approve" if approves else "fail",
        timeout_way=way,
    )


def _playbook(build: Build, definition: PlaybookDefinition) -> PlaybookStep:
    parsed = build.checker.template(definition.parameters, build.path("parameters"), build.reader)
    return PlaybookStep(
        **build.common(definition),
        playbook=definition.playbook,
        parameters=parsed.template if definition.parameters else constant({}),
        on_conflict=definition.on_conflict,
    )


BUILDERS: dict[type[StepDefinition], Callable[[Build, Any], AnyStep | None]] = {
    ActionDefinition: _action,
    SetDefinition: _set,
    ConditionDefinition: _condition,
    DelayDefinition: _delay,
    ParallelDefinition: _parallel,
    ForeachDefinition: _foreach,
    WhileDefinition: _while,
    ApprovalDefinition: _approval,
    PlaybookDefinition: _playbook,
}
