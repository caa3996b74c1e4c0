"""What facts say to a baseline: each rule passed, failed, waived, not applicable, or not to be decided."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field

from activities.action import OutputModel
from activities.findings import Severity, cut
from activities.policies.baseline import CompiledRule, Waiver
from playbooks.evaluation import evaluate
from playbooks.record import Json
from playbooks.values import MAX_STEPS, Budget, BudgetError, EvaluationError

Outcome = Literal["passed", "failed", "waived", "not_applicable", "error"]

WEIGHTS: Final[dict[Severity, int]] = {"none": 0, "low": 1, "medium": 4, "high": 7, "critical": 10}
"""What a rule counts in the score: about the CVSS scores at which the severities begin."""

BASELINE_STEPS: Final = 20 * MAX_STEPS
"""Steps of all the rules of one baseline together: some seconds."""

SHOWN_FACTS = 5
SHOWN_OF_FACT = 200


class RuleResult(OutputModel):
    """A rule, as every result tells it."""

    name: str
    title: Annotated[str, Field(description="Its title, or else its name.")]
    severity: Severity


class Passed(RuleResult):
    """A rule that passed."""


class Failed(RuleResult):
    """A rule that failed."""

    description: str = ""
    detail: Annotated[str, Field(description="What the facts are that it asks for.")] = ""
    remediation: str = ""
    references: list[str] = Field(default_factory=list)


class Undecided(RuleResult):
    """A rule that could not be decided, which is no pass."""

    message: Annotated[str, Field(description="Why.")]
    missing: Annotated[list[str], Field(description="Facts that it asks for and that are not there.")]


class Waived(RuleResult):
    """A rule that did not pass, and need not."""

    reason: str
    by: str
    until: Annotated[str, Field(description="The last day on which the waiver counts.")]
    was: Annotated[Literal["failed", "error"], Field(description="What the rule is without it.")]


class NotApplicable(RuleResult):
    """A rule whose ``when`` is false."""


class UnusedWaiver(OutputModel):
    """A waiver that changed nothing."""

    rule: str
    by: str
    why: Annotated[str, Field(description="expired, no such rule, or what the rule is anyway.")]


@dataclass(slots=True)
class Judgement:
    """What was found, rule by rule."""

    passed: list[Passed] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    errors: list[Undecided] = field(default_factory=list)
    waived: list[Waived] = field(default_factory=list)
    not_applicable: list[NotApplicable] = field(default_factory=list)
    unused_waivers: list[UnusedWaiver] = field(default_factory=list)

    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of each rule by its name."""
        groups: list[tuple[Outcome, Sequence[RuleResult]]] = [
            ("passed", self.passed),
            ("failed", self.failed),
            ("error", self.errors),
            ("waived", self.waived),
            ("not_applicable", self.not_applicable),
        ]
        return {result.name: outcome for outcome, results in groups for result in results}

    def score(self) -> float | None:
        """Weight of what passed in percent of what passed, failed or could not be decided; None where that is nothing.

        Rounded down to a tenth, so that 100 means that everything passed.
        """
        passed = _weight(self.passed)
        counted = passed + _weight(self.failed) + _weight(self.errors)
        return math.floor(1000 * passed / counted) / 10 if counted else None


def judge(
    rules: Sequence[CompiledRule], facts: dict[str, Json], waivers: Sequence[Waiver], today: datetime.date
) -> Judgement:
    """Judge each of ``rules``; of several waivers of a rule the one that lasts longest counts."""
    lasting = {waiver.rule: waiver for waiver in sorted(waivers, key=lambda waiver: waiver.until)}
    judgement = Judgement()
    left = BASELINE_STEPS
    for rule in rules:
        budget = Budget(min(MAX_STEPS, max(left, 0)))
        given = budget.steps
        result = _result(rule, facts, budget)
        left -= given - max(budget.steps, 0)
        waiver = lasting.get(rule.rule.name)
        if waiver is not None and waiver.until >= today and isinstance(result, Failed | Undecided):
            result = _waived(result, waiver)
        _sort_in(judgement, result)
    judgement.unused_waivers = _unused(waivers, judgement.outcomes(), today)
    return judgement


def _result(compiled: CompiledRule, facts: dict[str, Json], budget: Budget) -> RuleResult:
    rule = compiled.rule
    common: dict[str, Json] = {"name": rule.name, "title": rule.title or rule.name, "severity": rule.severity}
    names = {"facts": facts}
    try:
        if compiled.when is not None and not _truth(evaluate(compiled.when.tree, names, budget), "when"):
            return NotApplicable(**common)
        if _truth(evaluate(compiled.expression.tree, names, budget), "expression"):
            return Passed(**common)
    except BudgetError as error:
        return Undecided(message=f"{error}", missing=[], **common)
    except EvaluationError as error:
        missing = _missing(compiled, facts) if str(error).startswith("no such key") else []
        told = f"The facts do not have {', '.join(missing[:SHOWN_FACTS])}." if missing else f"{error}"
        return Undecided(message=cut(told, 500), missing=missing, **common)
    return Failed(
        description=rule.description,
        detail=_detail(compiled, facts),
        remediation=rule.remediation,
        references=rule.references,
        **common,
    )


def _truth(value: Json, field_name: str) -> bool:
    if not isinstance(value, bool):
        raise EvaluationError(f"its {field_name} is neither true nor false")
    return value


def _paths(compiled: CompiledRule) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(reference.path for reference in compiled.references() if reference.path))


def _missing(compiled: CompiledRule, facts: dict[str, Json]) -> list[str]:
    return [".".join(path) for path in _paths(compiled) if not _look_up(facts, path)[0]]


def _detail(compiled: CompiledRule, facts: dict[str, Json]) -> str:
    """The facts that the rule names, with their values."""
    told = []
    for path in _paths(compiled)[:SHOWN_FACTS]:
        there, value = _look_up(facts, path)
        shown = cut(json.dumps(value, ensure_ascii=False), SHOWN_OF_FACT) if there else "missing"
        told.append(f"{'.'.join(path)}: {shown}")
    return "; ".join(told)


def _look_up(facts: Json, path: tuple[str, ...]) -> tuple[bool, Json]:
    value = facts
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False, None
        value = value[name]
    return True, value


def _waived(result: Failed | Undecided, waiver: Waiver) -> Waived:
    return Waived(
        name=result.name,
        title=result.title,
        severity=result.severity,
        reason=waiver.reason,
        by=waiver.by,
        until=waiver.until.isoformat(),
        was="failed" if isinstance(result, Failed) else "error",
    )


def _sort_in(judgement: Judgement, result: RuleResult) -> None:
    match result:
        case Passed():
            judgement.passed.append(result)
        case Failed():
            judgement.failed.append(result)
        case Undecided():
            judgement.errors.append(result)
        case Waived():
            judgement.waived.append(result)
        case NotApplicable():
            judgement.not_applicable.append(result)


def _unused(waivers: Sequence[Waiver], outcomes: dict[str, Outcome], today: datetime.date) -> list[UnusedWaiver]:
    unused = []
    for waiver in waivers:
        outcome = outcomes.get(waiver.rule)
        if outcome is None:
            why = "no such rule"
        elif waiver.until < today:
            why = f"expired on {waiver.until.isoformat()}"
        elif outcome != "waived":
            why = outcome.replace("_", " ")
        else:
            continue
        unused.append(UnusedWaiver(rule=waiver.rule, by=waiver.by, why=why))
    return unused


def _weight(results: Sequence[RuleResult]) -> int:
    return sum(WEIGHTS[result.severity] for result in results)
