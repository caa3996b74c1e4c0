"""The decision table of ``finding.severity``: rows of conditions, of which the first that holds decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from activities.action import InputModel
from activities.findings import Severity

Exposure = Literal["internet", "internal", "isolated", "unknown"]
Criticality = Literal["critical", "high", "medium", "low", "unknown"]
EXPOSURES: Final[tuple[str, ...]] = get_args(Exposure)
CRITICALITIES: Final[tuple[str, ...]] = get_args(Criticality)

MOST_ROWS = 200
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_DUE = re.compile(r"([0-9]{1,5})([hdw])")


class Conditions(InputModel):
    """What a row asks for; a condition that is left out asks for nothing."""

    min_score: Annotated[float | None, Field(ge=0, le=10, description="CVSS score of at least this.")] = None
    max_score: Annotated[float | None, Field(ge=0, le=10, description="CVSS score of at most this.")] = None
    exploited: Annotated[bool | None, Field(description="Known to be exploited, or not.")] = None
    ransomware: Annotated[bool | None, Field(description="Known to be used by ransomware, or not.")] = None
    min_epss: Annotated[float | None, Field(ge=0, le=1, description="Probability by EPSS of at least this.")] = None
    exposure: list[Exposure] = Field(default_factory=list, description="One of these; empty: any.")
    criticality: list[Criticality] = Field(default_factory=list, description="One of these; empty: any.")


class DecisionRow(InputModel):
    """One row."""

    name: Annotated[str, Field(min_length=1, max_length=100, description="What the output calls it.")]
    when: Annotated[Conditions, Field(description="All of these must hold.")] = Conditions()
    severity: Severity
    owner: Annotated[
        str | None, Field(min_length=1, max_length=200, description="Who must act; absent: the owner of the asset.")
    ] = None
    due: Annotated[
        str | None, Field(pattern=r"^[0-9]{1,5}[hdw]$", description="From now on: 24h, 7d, 2w; absent: no date.")
    ] = None

    def due_in(self) -> timedelta | None:
        """The time until it is due."""
        found = _DUE.fullmatch(self.due or "")
        return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be decided on; None for a figure that nobody knows."""

    score: float | None
    exploited: bool
    ransomware: bool
    epss: float | None
    exposure: Exposure
    criticality: Criticality


def _row(
    name: str, severity: Severity, due: str | None, owner: str | None = None, when: Conditions | None = None
) -> DecisionRow:
    return DecisionRow(name=name, when=when or Conditions(), severity=severity, owner=owner, due=due)


_MATTERS: Final[list[Criticality]] = ["critical", "high"]

DEFAULT_TABLE: Final[tuple[DecisionRow, ...]] = (
    _row("exploited and exposed", "critical", "24h", "on-call", Conditions(exploited=True, exposure=["internet"])),
    _row("exploited where it matters", "critical", "48h", "on-call", Conditions(exploited=True, criticality=_MATTERS)),
    _row("exploited", "high", "7d", None, Conditions(exploited=True)),
    _row("critical and exposed", "critical", "72h", "on-call", Conditions(min_score=9, exposure=["internet"])),
    _row("critical where it matters", "critical", "7d", None, Conditions(min_score=9, criticality=_MATTERS)),
    _row("likely and exposed", "high", "7d", None, Conditions(min_epss=0.5, exposure=["internet"])),
    _row("high score", "high", "30d", None, Conditions(min_score=7)),
    _row("likely", "high", "30d", None, Conditions(min_epss=0.5)),
    _row("medium score", "medium", "90d", None, Conditions(min_score=4)),
    _row("low score", "low", "180d", None, Conditions(min_score=0.1)),
    _row("harmless", "none", None, None, Conditions(max_score=0)),
    _row("unrated where it matters", "high", "14d", None, Conditions(criticality=_MATTERS)),
    _row("unrated", "medium", "30d"),
)
"""What decides where no table is given; docs/know.md shows it, and a test holds the two together."""


def check_table(rows: Sequence[DecisionRow]) -> None:
    """Raise ``ValueError`` that names the row: a name twice, a row that can never decide, or no row for the rest."""
    for number, row in enumerate(rows, start=1):
        label = f"row {number} ({row.name})"
        when = row.when
        if when.min_score is not None and when.max_score is not None and when.min_score > when.max_score:
            raise ValueError(f"{label}: min_score is above max_score, so that it can never hold")
        for earlier, other in enumerate(rows[: number - 1], start=1):
            if other.name == row.name:
                raise ValueError(f"{label}: row {earlier} has the same name")
            if _covers(other.when, when):
                raise ValueError(
                    f"{label}: it never decides, since row {earlier} ({other.name}) holds whenever it does"
                )
    if rows[-1].when != Conditions():
        raise ValueError(
            f"row {len(rows)} ({rows[-1].name}): the last row must have no conditions, so that every finding is decided"
        )


def first_unmet(when: Conditions, case: Case) -> str | None:
    """Why the conditions do not hold, as a clause; None when all of them do."""
    return next((told for holds, told in _judged(when, case) if not holds), None)


def met(when: Conditions, case: Case) -> str:
    """The conditions that hold, as a clause."""
    return " and ".join(told for _, told in _judged(when, case)) or "it has no conditions"


def _judged(when: Conditions, case: Case) -> list[tuple[bool, str]]:
    judged: list[tuple[bool, str]] = []
    if when.min_score is not None:
        judged.append(_figure("the score", case.score, when.min_score, lambda value, bound: value >= bound))
    if when.max_score is not None:
        judged.append(_figure("the score", case.score, when.max_score, lambda value, bound: value <= bound, "at most"))
    if when.min_epss is not None:
        judged.append(_figure("EPSS", case.epss, when.min_epss, lambda value, bound: value >= bound))
    for wanted, given, told in (
        (when.exploited, case.exploited, "known to be exploited"),
        (when.ransomware, case.ransomware, "known to be used by ransomware"),
    ):
        if wanted is not None:
            judged.append((wanted == given, f"it is {'' if given else 'not '}{told}"))
    for allowed, word, told in (
        (when.exposure, case.exposure, "the exposure"),
        (when.criticality, case.criticality, "the asset's criticality"),
    ):
        if allowed:
            holds = word in allowed
            judged.append((holds, f"{told} is {word}" + ("" if holds else f", not {' or '.join(allowed)}")))
    return judged


def _figure(
    told: str, value: float | None, bound: float, holds: Callable[[float, float], bool], word: str = "at least"
) -> tuple[bool, str]:
    if value is None:
        return False, f"{told} is not known"
    met = holds(value, bound)
    return met, f"{told} is {value:g}, {'' if met else 'not '}{word} {bound:g}"


def _covers(wide: Conditions, narrow: Conditions) -> bool:
    """Whether ``wide`` holds whenever ``narrow`` does."""
    floors = all(
        low is None or (high is not None and high >= low)
        for low, high in ((wide.min_score, narrow.min_score), (wide.min_epss, narrow.min_epss))
    )
    ceiling = wide.max_score is None or (narrow.max_score is not None and narrow.max_score <= wide.max_score)
    flags = wide.exploited in (None, narrow.exploited) and wide.ransomware in (None, narrow.ransomware)
    words = all(
        not allowed or (bool(given) and set(given) <= set(allowed))
        for allowed, given in ((wide.exposure, narrow.exposure), (wide.criticality, narrow.criticality))
    )
    return floors and ceiling and flags and words
