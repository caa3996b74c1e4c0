"""Baselines: named rules over the facts of a system; given with the step, or shipped."""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, field_validator

from activities.action import InputModel
from activities.errors import ActionError
from activities.findings import TEXT_LIMIT, Severity
from playbooks.load import load

if TYPE_CHECKING:
    from playbooks.expressions import Expression, Reference

SHIPPED: Final = Path(__file__).parent / "baselines"

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,99}$"

MAX_RULES: Final = 500

MAX_NODES: Final = 40_000
"""Nodes of all the expressions of one baseline together, as of one playbook: more takes seconds to compile."""

SHOWN_FAULTS: Final = 5

_COMPILING = 8
"""What it takes to compile any expression at all, in nodes."""


class Rule(InputModel):
    """One thing that must be true of the facts."""

    name: Annotated[str, Field(pattern=NAME, description="Unlike that of every other rule of the baseline.")]
    title: Annotated[str, Field(max_length=300, description="What it asks for, in a few words.")] = ""
    expression: Annotated[
        str,
        Field(min_length=1, max_length=4096, description="CEL over `facts`; true: the rule passes. No `{{ }}` around."),
    ]
    when: Annotated[
        str | None,
        Field(min_length=1, max_length=4096, description="CEL over `facts`; false: the rule does not apply."),
    ] = None
    severity: Severity = "medium"
    description: Annotated[str, Field(max_length=TEXT_LIMIT)] = ""
    remediation: Annotated[str, Field(max_length=TEXT_LIMIT)] = ""
    references: list[Annotated[str, Field(max_length=1000)]] = Field(default_factory=list, max_length=20)


class Baseline(InputModel):
    """What a policy asks for."""

    name: Annotated[str, Field(pattern=NAME, description="Under which results are compared with earlier ones.")]
    title: Annotated[str, Field(max_length=300)] = ""
    version: Annotated[str, Field(max_length=100)] = ""
    description: Annotated[str, Field(max_length=TEXT_LIMIT)] = ""
    rules: Annotated[list[Rule], Field(min_length=1, max_length=MAX_RULES)]

    @field_validator("rules")
    @classmethod
    def _distinct(cls, rules: list[Rule]) -> list[Rule]:
        names: set[str] = set()
        for rule in rules:
            if rule.name in names:
                raise ValueError(f"two rules are called {rule.name}")
            names.add(rule.name)
        return rules

    def digest(self) -> str:
        """A hash that is the same as long as nothing that decides is changed."""
        deciding = [[rule.name, rule.expression, rule.when, rule.severity] for rule in self.rules]
        return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()


class Waiver(InputModel):
    """A rule that need not pass for a while, because somebody has said so."""

    rule: Annotated[str, Field(pattern=NAME, description="Name of the rule.")]
    reason: Annotated[str, Field(min_length=3, max_length=1000, description="Why that is acceptable.")]
    by: Annotated[str, Field(min_length=1, max_length=200, description="Who has accepted it.")]
    until: Annotated[datetime.date, Field(description="The last day, in UTC, on which it counts: 2026-12-31.")]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule that can be judged."""

    rule: Rule
    expression: Expression
    when: Expression | None

    def references(self) -> list[Reference]:
        """The facts that it names."""
        return [*self.expression.references, *(() if self.when is None else self.when.references)]


def shipped_names() -> list[str]:
    """The baselines that ship with the program."""
    return sorted(file.stem for file in SHIPPED.glob("*.yaml"))


@lru_cache
def shipped(name: str) -> Baseline:
    """A baseline that ships.  Raises ``ActionError`` with code ``unknown_baseline``."""
    if name not in shipped_names():
        raise ActionError(
            "unknown_baseline",
            f"No baseline {name!r} ships; there are {', '.join(shipped_names())}. Others are given whole.",
            retryable=False,
        )
    return Baseline.model_validate(load((SHIPPED / f"{name}.yaml").read_bytes(), "yaml").value)


def compiled(baseline: Baseline) -> list[CompiledRule]:
    """The rules of ``baseline``, compiled.

    Raises ``ActionError`` with code ``invalid_baseline`` that names each faulty rule with line and column.
    """
    compiler = _Compiler()
    rules = []
    for rule in baseline.rules:
        expression = compiler.compile(rule.name, "expression", rule.expression)
        when = None if rule.when is None else compiler.compile(rule.name, "when", rule.when)
        if expression is not None and (when is not None or rule.when is None):
            rules.append(CompiledRule(rule, expression, when))
    if compiler.faults:
        more = len(compiler.faults) - SHOWN_FAULTS
        message = "; ".join(compiler.faults[:SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else "")
        raise ActionError("invalid_baseline", f"Baseline {baseline.name}: {message}.", retryable=False)
    return rules


class _Compiler:
    """Compiles the expressions of one baseline, and bounds them together."""

    def __init__(self) -> None:
        self.left = MAX_NODES
        self.faults: list[str] = []

    def compile(self, rule: str, field: str, source: str) -> Expression | None:
        # Only here: the library behind it is heavy, and most workers never need it.
        from playbooks.expressions import ExpressionError, compile_expression

        if self.left <= 0:
            if not self.faults or "together" not in self.faults[-1]:
                self.faults.append(f"rule {rule}: the expressions of this baseline are too large together")
            return None
        try:
            expression = compile_expression(source, ("facts",))
        except ExpressionError as error:
            self.left -= _COMPILING + error.size + len(source) // 8
            first = error.problems[0]
            self.faults.append(f"rule {rule}, {field}, line {first.line}, column {first.column}: {first.message}")
            return None
        self.left -= _COMPILING + expression.size
        return expression
