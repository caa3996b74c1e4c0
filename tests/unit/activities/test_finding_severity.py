"""``finding.severity``: which row decides, why, and what a table must be."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from activities.catalogue import load_catalogue
from activities.know.decision import (
    CRITICALITIES,
    DEFAULT_TABLE,
    EXPOSURES,
    Case,
    Conditions,
    DecisionRow,
    _covers,
    check_table,
    first_unmet,
)
from activities.know.severity import SeverityInput, SeverityOutput, decide
from playbooks.compile import compile_playbook
from playbooks.faults import DefinitionError
from tests.unit.activities.action_support import Stage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[3] / "docs" / "know.md"

figures = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
cases = st.builds(
    Case,
    score=st.one_of(st.none(), st.sampled_from([0.0, 0.1, 3.9, 4.0, 6.9, 7.0, 8.9, 9.0, 10.0])),
    exploited=st.booleans(),
    ransomware=st.booleans(),
    epss=figures,
    exposure=st.sampled_from(EXPOSURES),
    criticality=st.sampled_from(CRITICALITIES),
)
conditions = st.builds(
    Conditions,
    min_score=st.sampled_from([None, 0.0, 4.0, 7.0, 9.0]),
    max_score=st.sampled_from([None, 0.0, 4.0, 9.0]),
    exploited=st.sampled_from([None, True, False]),
    ransomware=st.sampled_from([None, True, False]),
    min_epss=figures,
    exposure=st.lists(st.sampled_from(EXPOSURES), max_size=3),
    criticality=st.lists(st.sampled_from(CRITICALITIES), max_size=3),
)


def decided(**inputs: Any) -> SeverityOutput:
    return decide(SeverityInput.model_validate(inputs), NOW)


@pytest.mark.parametrize(
    ("inputs", "rule", "severity", "owner", "due"),
    [
        ({"exploited": True, "exposure": "internet"}, "exploited and exposed", "critical", "on-call", 1),
        ({"exploited": True, "criticality": "High"}, "exploited where it matters", "critical", "on-call", 2),
        ({"exploited": True, "score": 2}, "exploited", "high", "web", 7),
        ({"score": 9, "exposure": "internet"}, "critical and exposed", "critical", "on-call", 3),
        ({"score": 9.8, "criticality": "critical"}, "critical where it matters", "critical", "web", 7),
        ({"score": 5, "epss": 0.5, "exposure": "internet"}, "likely and exposed", "high", "web", 7),
        ({"score": 9.8, "exposure": "internal"}, "high score", "high", "web", 30),
        ({"score": 5, "epss": 0.7}, "likely", "high", "web", 30),
        ({"score": 4, "epss": 0.49}, "medium score", "medium", "web", 90),
        ({"score": 0.1}, "low score", "low", "web", 180),
        ({"score": 0}, "harmless", "none", "web", None),
        ({"criticality": "critical"}, "unrated where it matters", "high", "web", 14),
        ({"score": None, "epss": None, "exposure": None, "criticality": ""}, "unrated", "medium", "web", 30),
    ],
)
def test_the_default_table(inputs: dict[str, Any], rule: str, severity: str, owner: str, due: int | None) -> None:
    """Every row of it decides something."""
    made = decided(owner="web", **inputs)
    assert (made.rule, made.severity, made.owner, made.table) == (rule, severity, owner, "default")
    expected = None if due is None else (NOW + timedelta(days=due)).isoformat().replace("+00:00", "Z")
    assert (made.due_at, made.decided_at) == (expected, "2026-03-01T12:00:00Z")


@given(cases)
def test_the_default_table_decides_everything(case: Case) -> None:
    """And never rates what is exploited below high."""
    inputs = SeverityInput(**{name: getattr(case, name) for name in Case.__slots__})
    made = decide(inputs, NOW)
    assert made.considered[-1].matched
    assert made.severity in ("critical", "high") or not case.exploited


def test_it_says_why() -> None:
    """The row that decided, and each before it with what did not hold."""
    made = decided(score=7.5, epss=0.3, criticality="medium")
    assert made.reason == "Row 7 (high score) decided: the score is 7.5, at least 7."
    assert [(one.row, one.matched, one.because) for one in made.considered] == [
        (1, False, "it is not known to be exploited"),
        (2, False, "it is not known to be exploited"),
        (3, False, "it is not known to be exploited"),
        (4, False, "the score is 7.5, not at least 9"),
        (5, False, "the score is 7.5, not at least 9"),
        (6, False, "EPSS is 0.3, not at least 0.5"),
        (7, True, "the score is 7.5, at least 7"),
    ]
    assert decided(exploited=True, exposure="internet").reason == (
        "Row 1 (exploited and exposed) decided: it is known to be exploited and the exposure is internet."
    )


OWN: list[dict[str, Any]] = [
    {"name": "ransom", "when": {"ransomware": True}, "severity": "critical", "owner": "soc", "due": "4h"},
    {"name": "isolated", "when": {"exposure": ["isolated"]}, "severity": "low", "due": "2w"},
    {"name": "rest", "severity": "medium"},
]


def test_a_table_of_ones_own_replaces_the_default() -> None:
    """Its rows, owners and times."""
    made = decided(table=OWN, ransomware=True, owner="web")
    assert (made.rule, made.owner, made.due_at, made.table) == ("ransom", "soc", "2026-03-01T16:00:00Z", "given")
    made = decided(table=OWN, exposure="isolated", score=10)
    assert (made.severity, made.owner, made.due_at) == ("low", "unassigned", "2026-03-15T12:00:00Z")
    made = decided(table=OWN, score=10)
    assert (made.severity, made.due_at, made.reason) == ("medium", None, "Row 3 (rest) decided: it has no conditions.")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (OWN[:2], "row 2 (isolated): the last row must have no conditions"),
        ([*OWN, OWN[0] | {"name": "late"}], "row 4 (late): it never decides, since row 1 (ransom) holds whenever"),
        ([OWN[0], OWN[0] | {"when": {"exploited": True}}, OWN[2]], "row 2 (ransom): row 1 has the same name"),
        (
            [
                {"name": "wide", "when": {"min_score": 7, "exposure": ["internet", "internal"]}, "severity": "high"},
                {"name": "narrow", "when": {"min_score": 9, "exposure": ["internet"]}, "severity": "critical"},
                OWN[2],
            ],
            "row 2 (narrow): it never decides, since row 1 (wide)",
        ),
        (
            [{"name": "empty", "when": {"min_score": 7, "max_score": 4}, "severity": "high"}, OWN[2]],
            "row 1 (empty): min_score is above max_score",
        ),
        ([OWN[0] | {"severity": "bad"}, OWN[2]], "table.0.severity"),
        ([OWN[0] | {"due": "soon"}, OWN[2]], "table.0.due"),
        ([OWN[0] | {"when": {"min_scor": 7}}, OWN[2]], "table.0.when.min_scor"),
        ([OWN[0] | {"when": {"exposure": ["moon"]}}, OWN[2]], "table.0.when.exposure.0"),
        ([OWN[0] | {"when": {"min_epss": 94}}, OWN[2]], "table.0.when.min_epss"),
    ],
)
def test_a_bad_table_is_refused_at_its_row(rows: list[dict[str, Any]], told: str) -> None:
    """Before anything is decided."""
    with pytest.raises(ValidationError) as raised:
        decided(table=rows)
    assert told in ";".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}" for one in raised.value.errors())


@given(conditions, conditions, cases)
def test_a_row_is_only_called_useless_when_it_is(wide: Conditions, narrow: Conditions, case: Case) -> None:
    """Where one is said to cover another, it holds for every case for which the other does."""
    if _covers(wide, narrow) and first_unmet(narrow, case) is None:
        assert first_unmet(wide, case) is None


def test_the_default_table_is_sound_and_stands_in_the_documentation() -> None:
    """Row by row, as docs/know.md shows it."""
    check_table(DEFAULT_TABLE)
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert shown == [line_of(number, row) for number, row in enumerate(DEFAULT_TABLE, start=1)]


def line_of(number: int, row: DecisionRow) -> str:
    """A row as the documentation shows it."""
    when = row.when.model_dump(exclude_none=True, exclude_defaults=True)
    cells = [f"{name}: {words(value)}" for name, value in when.items()]
    owner = row.owner or "the asset's"
    return (
        f"| {number} | {row.name} | {', '.join(cells) or '(the rest)'} | {row.severity} | {owner} | {row.due or '–'} |"
    )


def words(value: Any) -> str:
    if isinstance(value, list):
        return " or ".join(value)
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def test_a_bad_table_is_refused_when_the_playbook_is_stored() -> None:
    """Where it is a constant, with its place in the file."""
    text = b"""
name: Rate
steps:
  - id: rate
    action_ref: finding.severity
    parameters:
      table:
        - {name: rest, severity: awful}
"""
    with pytest.raises(DefinitionError) as raised:
        compile_playbook(text, "yaml", load_catalogue().specs())
    (fault,) = raised.value.faults
    assert (fault.path, fault.line) == ("/steps/0/parameters/table/0/severity", 8)


async def test_as_a_step_it_takes_the_workers_clock(stage: Stage) -> None:
    """Live, and in a rehearsal that may read nothing."""
    before = time.time()
    for dry_run in (False, True):
        inputs = {"score": 9.8, "exposure": "internet"}
        result = await stage.perform("finding.severity", inputs, dry_run=dry_run, dry_run_reads=False)
        assert isinstance(result.output, dict)
        due = datetime.fromisoformat(str(result.output["due_at"])).timestamp()
        assert before - 1 <= due - 3 * 86400 <= time.time() + 1
    assert str(result.would).startswith("Would rate it critical: Row 4")
