"""``finding.enrich`` on the shipped sample and on what was synced, in a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from activities.action import ActionError
from activities.catalogue import ActionCatalogue
from activities.execute import ActionRunner
from activities.know.enrich import FindingEnrich
from activities.know.enrichment import EnrichInput, Enrichment
from activities.know.ratings import rating_of, severity_of_score
from activities.stores import Stores
from engine.intel import DatabaseIntel
from engine.intel_sync import load_sample
from storage.database import Database
from storage.intel.store import Delivery, take
from tests.storage_fixtures import sqlite_template, sqlite_url
from tests.unit.activities.action_support import Stage, make_context
from tests.unit.storage.intel_files import HEARTBLEED, LOG4J, XZ, nvd, nvd_entry, written

__all__ = ["sqlite_template", "sqlite_url"]

UNKNOWN = "CVE-2099-123456"


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """A database with the sample."""
    opened = Database(sqlite_url)
    load_sample(opened)
    yield opened
    opened.close()


async def enrich(database: Database, **inputs: Any) -> Enrichment:
    context = make_context(stores=Stores(intel=DatabaseIntel(database)))
    return await FindingEnrich().run(EnrichInput.model_validate(inputs), context)


async def test_everything_that_is_known_of_a_cve(database: Database) -> None:
    """Score and vector, exploitation, probability, and where it comes from."""
    found = await enrich(database, cves=LOG4J.lower())
    assert (found.score, found.severity, found.exploited, found.ransomware) == (10.0, "critical", True, True)
    assert found.vector == "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"
    (record,) = found.cves
    assert record.known
    assert record.published == "2021-12-10T10:15:09Z"
    assert record.cwes == ["CWE-20", "CWE-400", "CWE-502", "CWE-917"]
    assert [(one.version, one.score, one.severity) for one in record.ratings] == [
        ("3.1", 10.0, "critical"),
        ("2.0", 9.3, "high"),
    ]
    assert record.kev is not None
    assert (record.kev.date_added, record.kev.due_date) == ("2021-12-10", "2021-12-24")
    assert record.kev.required_action.startswith("For all affected software")
    assert record.epss is not None
    assert (record.epss.probability, record.epss.percentile) == (0.94, 0.99)
    assert [(one.source, one.sample) for one in found.sources] == [("epss", True), ("kev", True), ("nvd", True)]
    assert found.summary == f"{LOG4J}: CVSS 10 (critical); known to be exploited, by ransomware too; EPSS 94%."


async def test_the_worst_of_several_counts(database: Database) -> None:
    """Ids of the list and of the text, each once, in their order."""
    text = f"Fixes {XZ.lower()}, {HEARTBLEED} and {UNKNOWN}; see {HEARTBLEED}."
    found = await enrich(database, cves=["CVE-2022-0778", HEARTBLEED], text=text)
    assert [record.cve for record in found.cves] == ["CVE-2022-0778", HEARTBLEED, XZ, UNKNOWN]
    assert (found.score, found.exploited, found.ransomware, found.epss) == (10.0, True, False, 0.94)
    assert found.unknown == [UNKNOWN]
    assert found.summary == (
        f"CVE-2022-0778, {HEARTBLEED}, {XZ} and 1 more: CVSS 10 (critical); known to be exploited; EPSS 94%; "
        "1 of 4 unknown."
    )


async def test_an_unknown_cve_is_no_failure(database: Database) -> None:
    """It is told as such, and nothing is claimed of it."""
    found = await enrich(database, cves=[UNKNOWN])
    assert found.unknown == [UNKNOWN]
    assert not found.cves[0].known
    assert (found.score, found.severity, found.epss, found.exploited) == (None, None, None, False)
    assert found.summary == f"{UNKNOWN}: no rating is known; 1 of 1 unknown."


async def test_text_without_a_cve_has_nothing(database: Database) -> None:
    """As from a finding that names none."""
    assert (await enrich(database, text="The port is open.")).summary == "No CVE was named."
    assert (await enrich(database, cves=None, text=None)).cves == []


@pytest.mark.parametrize(
    ("vector", "score", "severity"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, "critical"),
        ("CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8, "high"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0, "none"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10.0, "critical"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3, "critical"),
        ("AV:N/AC:L/Au:N/C:P/I:N/A:N", 5.0, "medium"),
        ("(AV:N/AC:M/Au:N/C:C/I:C/A:C)", 9.3, "high"),
    ],
)
async def test_a_vector_is_rated(database: Database, vector: str, score: float, severity: str) -> None:
    """Of every version of CVSS; the scores are those that FIRST's calculators show."""
    found = await enrich(database, vector=vector)
    assert (found.score, found.severity, found.cves) == (score, severity, [])


async def test_a_vector_and_a_cve_are_weighed_together(database: Database) -> None:
    """A worse rating of one's own counts."""
    worse = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    found = await enrich(database, cves=["CVE-2022-0778"], vector=worse)
    assert (found.score, found.vector) == (9.8, worse)


async def test_newest_version_first_and_unreadable_vectors_as_stated(database: Database, tmp_path: Path) -> None:
    """A vector that nobody can read does not hide the score that its source gave it."""

    def metric(version: str, vector: str, score: float) -> list[dict[str, Any]]:
        return [
            {
                "source": "s",
                "type": "Primary",
                "cvssData": {"version": version, "vectorString": vector, "baseScore": score},
            }
        ]

    four = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"
    both = {"cvssMetricV31": metric("3.1", "CVSS:3.1/AV:Z", 7.5), "cvssMetricV40": metric("4.0", four, 1.0)}
    entries = [
        nvd_entry(LOG4J, metrics=both),
        nvd_entry(XZ, metrics={"cvssMetricV31": both["cvssMetricV31"]}),
    ]
    file = written(tmp_path, "nvd", nvd(*entries))
    database.write_sync(take, Delivery(source="nvd", files=(file,), origin=("nvd",)), 1)
    log4j, xz = (await enrich(database, cves=[LOG4J, XZ])).cves
    assert log4j.cvss is not None
    assert (log4j.cvss.version, log4j.cvss.score, log4j.cvss.computed) == ("4.0", 9.3, True)
    assert xz.cvss is not None
    assert (xz.cvss.score, xz.cvss.severity, xz.cvss.computed) == (7.5, "high", False)


async def test_more_than_a_hundred_of_a_text_are_counted(database: Database) -> None:
    """A list is refused before; a text is not the author's doing."""
    found = await enrich(database, text=" ".join(f"CVE-2020-{number}" for number in range(10_000, 10_150)))
    assert (len(found.cves), found.left_out) == (100, 50)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "give cves, text or vector"),
        ({"cves": ["CVE-2021-44228", "CVE-21-1"]}, "cves.1"),
        ({"cves": ["CVE-2021-44228 OR 1=1"]}, "cves.0"),
        ({"cves": "GHSA-jfh8-c2jp-5v3q"}, "cves.0"),
        ({"cves": [7]}, "cves.0"),
        ({"cves": ["CVE-2021-44228"] * 101}, "at most 100"),
        ({"vector": "CVSS:3.1/AV:X"}, "not a CVSS vector"),
        ({"vector": "hello"}, "not a CVSS vector"),
    ],
)
def test_bad_input_is_named(inputs: dict[str, Any], told: str) -> None:
    """With its place."""
    with pytest.raises(ValidationError) as raised:
        EnrichInput.model_validate(inputs)
    assert told in ";".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}" for one in raised.value.errors())


async def test_as_a_step_without_a_store(stage: Stage) -> None:
    """A worker without a database fails the step with a code; one that cannot reach it is worth a retry."""
    with pytest.raises(ApplicationError) as raised:
        await stage.perform("finding.enrich", {"cves": [LOG4J]})
    assert raised.value.type == "no_store"


async def test_as_a_step_with_a_database_that_is_gone(stage: Stage, database: Database, tmp_path: Path) -> None:
    """The step fails with a code that says so, worth a retry."""
    runner = ActionRunner(ActionCatalogue([FindingEnrich()]), stores=Stores(intel=DatabaseIntel(database)))
    here = Stage(runner, stage.environment)
    answered = await here.perform("finding.enrich", {"cves": [LOG4J]})
    assert isinstance(answered.output, dict)
    assert answered.output["score"] == 10.0
    url = "postgresql+psycopg://nobody@127.0.0.1:9/none"
    gone = Database(url, pool_size=1)
    try:
        with pytest.raises(ActionError) as raised:
            await DatabaseIntel(gone).look_up([LOG4J])
    finally:
        gone.close()
    assert (raised.value.code, raised.value.retryable) == ("store_unavailable", True)


async def test_a_rehearsal_without_reads_says_what_it_would_look_up(stage: Stage) -> None:
    """And rates a vector all the same."""
    result = await stage.perform("finding.enrich", {"cves": [LOG4J]}, dry_run=True, dry_run_reads=False)
    assert (result.would, result.output) == (f"Would look up {LOG4J} in the stored intelligence.", None)
    vector = "AV:N/AC:L/Au:N/C:P/I:N/A:N"
    result = await stage.perform("finding.enrich", {"vector": vector}, dry_run=True, dry_run_reads=False)
    assert isinstance(result.output, dict)
    assert result.output["score"] == rating_of(vector).score


def test_the_bands_are_those_of_cvss() -> None:
    """At their bounds."""
    assert [severity_of_score(score) for score in (0, 0.1, 3.9, 4, 6.9, 7, 8.9, 9, 10)] == [
        *("none", "low", "low", "medium", "medium", "high", "high", "critical", "critical")
    ]
