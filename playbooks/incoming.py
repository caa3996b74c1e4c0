"""What a webhook's payload means to a playbook: whether it starts a run, on which asset, and with which parameters.

In ``trigger``, ``asset`` and ``parameters`` are templates over ``payload`` (the body) and ``headers`` (their names in
lower case).  Without them the body is read like that of a run: ``target_asset_id`` and ``parameters``.

``conditions`` say which payloads count: an expression; or, in the words of S4E, a list of ``{field, operator, value}``
or an object of fields and their values, all of which must hold of the finding in the payload, or of the payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from playbooks.check import Expressions
from playbooks.evaluation import EvaluationError, evaluate
from playbooks.expressions import ExpressionError
from playbooks.parsing import Compiler, compile_template
from playbooks.plan import Template, Tree
from playbooks.record import Json
from playbooks.templates import render

SCOPE: Final = ("payload", "headers")
_MAX_CONDITIONS: Final = 100

OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda found, wanted: _equal(found, wanted),
    "ne": lambda found, wanted: not _equal(found, wanted),
    "gt": lambda found, wanted: _ordered(found, wanted) and found > wanted,
    "gte": lambda found, wanted: _ordered(found, wanted) and found >= wanted,
    "lt": lambda found, wanted: _ordered(found, wanted) and found < wanted,
    "lte": lambda found, wanted: _ordered(found, wanted) and found <= wanted,
    "in": lambda found, wanted: isinstance(wanted, list) and any(_equal(found, one) for one in wanted),
    "not_in": lambda found, wanted: isinstance(wanted, list) and not any(_equal(found, one) for one in wanted),
    "contains": lambda found, wanted: _contains(found, wanted),
    "exists": lambda found, wanted: (found is not None) is (wanted is not False),
}


class IncomingError(Exception):
    """A payload that the trigger can make nothing of."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a payload asks for: ``asset`` is an id, or a hostname, address or name."""

    asset: str
    parameters: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Incoming:
    """The trigger of a webhook, compiled."""

    event: str
    asset: Template | None
    parameters: Template | None
    expression: Tree | None
    tests: tuple[tuple[str, str, Json], ...]

    def counts(self, payload: Json, headers: Mapping[str, str]) -> bool:
        """Whether the conditions hold.  Raises IncomingError where they cannot be evaluated."""
        if self.expression is not None:
            value = self._evaluated(lambda: evaluate(self.expression or [], _names(payload, headers)), "conditions")
            if not isinstance(value, bool):
                raise IncomingError("the conditions of the trigger give something else than true or false")
            return value
        subject = _subject(payload)
        return all(OPERATORS[operator](_field(subject, name), value) for name, operator, value in self.tests)

    def wanted(self, payload: Json, headers: Mapping[str, str]) -> Wanted:
        """The asset and the parameters of the run.  Raises IncomingError."""
        names = _names(payload, headers)
        asset = self._asset(payload, names)
        if not isinstance(asset, str) or not asset:
            raise IncomingError("the payload names no asset" + ("" if self.asset else ": it has no target_asset_id"))
        parameters = self._parameters(payload, names)
        if not isinstance(parameters, dict):
            raise IncomingError("the parameters in the payload are not an object")
        return Wanted(asset, parameters)

    def _asset(self, payload: Json, names: Mapping[str, Json]) -> Json:
        template = self.asset
        if template is not None:
            return self._evaluated(lambda: render(template, names).value, "asset")
        for path in ("target_asset_id", "asset.id", "finding.asset.id"):
            if (found := _field(payload, path)) is not None:
                return found
        return None

    def _parameters(self, payload: Json, names: Mapping[str, Json]) -> Json:
        template = self.parameters
        if template is not None:
            return self._evaluated(lambda: render(template, names).value, "parameters")
        given = _field(payload, "parameters")
        if given is None and self.event.startswith("finding."):
            return {"finding": _subject(payload)}
        return {} if given is None else given

    def _evaluated(self, work: Callable[[], Json], name: str) -> Json:
        try:
            return work()
        except EvaluationError as error:
            raise IncomingError(f"the {name} of the trigger cannot be had from this payload: {error}") from error


def compile_incoming(trigger: Mapping[str, Json]) -> Incoming:
    """The compiled trigger of a stored playbook, whose faults were found when it was stored."""
    compiler = Expressions(SCOPE).compile
    asset, parameters = trigger.get("asset"), trigger.get("parameters")
    conditions = trigger.get("conditions")
    return Incoming(
        event=str(trigger.get("event")),
        asset=None if asset is None else compile_template(asset, compiler).template,
        parameters=None if parameters is None else compile_template(parameters, compiler).template,
        expression=compiler(conditions).tree if isinstance(conditions, str) else None,
        tests=_tests(conditions),
    )


def condition_problems(conditions: Json, compiler: Compiler) -> list[tuple[tuple[str | int, ...], str]]:
    """Everything that is wrong with the conditions of a trigger."""
    if conditions is None or isinstance(conditions, dict):
        return []
    if isinstance(conditions, str):
        try:
            found = compiler(conditions)
        except ExpressionError as error:
            return [((), f"{problem.message} (column {problem.column})") for problem in error.problems]
        return [((), "conditions may not use secrets") for use in found.references if use.root == "secrets"]
    if not isinstance(conditions, list) or len(conditions) > _MAX_CONDITIONS:
        return [((), f"conditions are an expression, an object, or a list of at most {_MAX_CONDITIONS}")]
    return [problem for index, one in enumerate(conditions) for problem in _condition_problems(index, one)]


def _condition_problems(index: int, one: Json) -> list[tuple[tuple[str | int, ...], str]]:
    if not isinstance(one, dict) or not isinstance(one.get("field"), str):
        return [((index,), "a condition has the form {field, operator, value}")]
    unknown = [name for name in one if name not in ("field", "operator", "value")]
    problems: list[tuple[tuple[str | int, ...], str]] = [((index, name), "unknown field") for name in unknown]
    operator = one.get("operator", "eq")
    if not isinstance(operator, str) or operator not in OPERATORS:
        problems.append(((index, "operator"), f"must be one of {', '.join(OPERATORS)}"))
    elif operator in ("in", "not_in") and not isinstance(one.get("value"), list):
        problems.append(((index, "value"), f"{operator} needs a list"))
    return problems


def _tests(conditions: Json) -> tuple[tuple[str, str, Json], ...]:
    if isinstance(conditions, dict):
        pairs = conditions.items()
        return tuple((name, "in" if isinstance(value, list) else "eq", value) for name, value in pairs)
    if isinstance(conditions, list):
        return tuple((one["field"], one.get("operator", "eq"), one.get("value")) for one in conditions)
    return ()


def _names(payload: Json, headers: Mapping[str, str]) -> dict[str, Json]:
    return {"payload": payload, "headers": dict(headers)}


def _subject(payload: Json) -> Json:
    finding = payload.get("finding") if isinstance(payload, dict) else None
    return finding if isinstance(finding, dict) else payload


def _field(value: Json, path: str) -> Json:
    """The field at a dotted path; None where there is none."""
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _equal(left: Json, right: Json) -> bool:
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _ordered(left: Json, right: Json) -> bool:
    numbers = (int, float)
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    return (isinstance(left, numbers) and isinstance(right, numbers)) or (
        isinstance(left, str) and isinstance(right, str)
    )


def _contains(found: Json, wanted: Json) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    if isinstance(found, list):
        return any(_equal(one, wanted) for one in found)
    return isinstance(found, dict) and isinstance(wanted, str) and wanted in found
