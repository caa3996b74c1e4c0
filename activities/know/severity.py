"""``finding.severity``: how bad a finding is here, who must act, and until when."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from activities.action import Action, ActionContext, InputModel, OutputModel, Rehearsal
from activities.findings import Severity
from activities.know.decision import (
    DEFAULT_TABLE,
    MOST_ROWS,
    Case,
    Criticality,
    DecisionRow,
    Exposure,
    check_table,
    first_unmet,
    met,
)
from playbooks.record import Json

NOBODY = "unassigned"


class SeverityInput(InputModel):
    """What is known of the finding and of the asset."""

    score: Annotated[float | None, Field(ge=0, le=10, description="CVSS score; null: not rated.")] = None
    exploited: Annotated[bool, Field(description="Known to be exploited.")] = False
    ransomware: Annotated[bool, Field(description="Known to be used by ransomware.")] = False
    epss: Annotated[float | None, Field(ge=0, le=1, description="Probability of exploitation; null: not known.")] = None
    exposure: Annotated[Exposure, Field(description="From where the asset can be reached.")] = "unknown"
    criticality: Annotated[Criticality, Field(description="How much depends on the asset.")] = "unknown"
    owner: Annotated[
        str | None, Field(max_length=200, description="Who looks after the asset; must act where the row names nobody.")
    ] = None
    table: list[DecisionRow] = Field(
        default_factory=list, max_length=MOST_ROWS, description="Rows in place of the default ones; the first decides."
    )

    @field_validator("exposure", "criticality", mode="before")
    @classmethod
    def _word(cls, word: Any) -> Any:
        return "unknown" if word is None or word == "" else word.lower() if isinstance(word, str) else word

    @field_validator("exploited", "ransomware", mode="before")
    @classmethod
    def _flag(cls, flag: Any) -> Any:
        return False if flag is None else flag

    @field_validator("table")
    @classmethod
    def _sound(cls, table: list[DecisionRow]) -> list[DecisionRow]:
        if table:
            check_table(table)
        return table

    def case(self) -> Case:
        """What the table is asked."""
        return Case(self.score, self.exploited, self.ransomware, self.epss, self.exposure, self.criticality)


class Considered(OutputModel):
    """A row that was looked at."""

    row: Annotated[int, Field(ge=1, description="Counted from 1.")]
    name: str
    matched: bool
    because: str


class SeverityOutput(OutputModel):
    """The decision."""

    severity: Severity
    owner: Annotated[str, Field(description="Who must act; `unassigned` where nobody is named.")]
    due_at: Annotated[str | None, Field(description="Until when, RFC 3339 in UTC; null: no date.")]
    decided_at: Annotated[str, Field(description="When it was decided, RFC 3339 in UTC.")]
    row: Annotated[int, Field(ge=1, description="The row that decided, counted from 1.")]
    rule: Annotated[str, Field(description="The name of that row.")]
    reason: Annotated[str, Field(description="Why, in a sentence.")]
    considered: Annotated[list[Considered], Field(description="Every row up to the one that decided.")]
    table: Annotated[str, Field(description="`default`, or `given` where the parameters have one.")]


class FindingSeverity(Action[SeverityInput, SeverityOutput]):
    """Decides how severe a finding is, who must act and until when, by a table whose first matching row decides.

    The table weighs the CVSS score, known and likely exploitation, the asset's exposure and its criticality. The
    parameter `table` replaces it. The output says which row decided, and why the rows before it did not.
    """

    name = "finding.severity"
    title = "Assign a severity"
    Input = SeverityInput
    Output = SeverityOutput
    safe = idempotent = quick = True
    errors: ClassVar[Mapping[str, str]] = {}
    example: ClassVar[Mapping[str, Json]] = {
        "score": "{{ steps.enrich.output.score }}",
        "exploited": "{{ steps.enrich.output.exploited }}",
        "epss": "{{ steps.enrich.output.epss }}",
        "exposure": "internet",
        "criticality": "high",
    }

    async def run(self, inputs: SeverityInput, context: ActionContext) -> SeverityOutput:
        """Decide, by the worker's clock."""
        return decide(inputs, datetime.fromtimestamp(time.time(), UTC))

    async def rehearse(self, inputs: SeverityInput, context: ActionContext) -> Rehearsal:
        """Decide all the same: it touches nothing."""
        output = await self.run(inputs, context)
        return Rehearsal(f"Would rate it {output.severity}: {output.reason}", output=output)


def decide(inputs: SeverityInput, now: datetime) -> SeverityOutput:
    """The decision at the moment ``now``."""
    rows: Sequence[DecisionRow] = inputs.table or DEFAULT_TABLE
    case = inputs.case()
    considered: list[Considered] = []
    for number, row in enumerate(rows, start=1):
        unmet = first_unmet(row.when, case)
        because = unmet if unmet is not None else met(row.when, case)
        considered.append(Considered(row=number, name=row.name, matched=unmet is None, because=because))
        if unmet is None:
            break
    due_in = row.due_in()
    return SeverityOutput(
        severity=row.severity,
        owner=row.owner or inputs.owner or NOBODY,
        due_at=None if due_in is None else _shown(now + due_in),
        decided_at=_shown(now),
        row=number,
        rule=row.name,
        reason=f"Row {number} ({row.name}) decided: {because}.",
        considered=considered,
        table="given" if inputs.table else "default",
    )


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
