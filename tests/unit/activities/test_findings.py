"""The finding model: ids that stay, severities, bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.findings import TEXT_LIMIT, Finding, counted, cves_in, finding, finding_id, merged, severity_of


def example(**changes: object) -> Finding:
    given_here: dict[str, object] = {"asset": "web-01", "port": 443, "protocol": "tcp"}
    return finding("nmap", "open-port", "A title", "low", **given_here | changes)  # type: ignore[arg-type]


def test_an_id_is_what_the_finding_is_about() -> None:
    """Rated anew, worded anew or seen at another version, it is the same finding."""
    again = example(version="2.0", description="other words", evidence="more", cves=["CVE-2024-0001"])
    worse = finding("nmap", "open-port", "Other title", "critical", asset="web-01", port=443, protocol="tcp")
    assert example().id == again.id == worse.id
    assert example().id == "find-288e0e2560fa71cdabd4ffd2", "ids are kept by other systems: they never change"


@pytest.mark.parametrize("change", [{"asset": "web-02"}, {"port": 80}, {"protocol": "udp"}, {"place": "/x"}])
def test_another_thing_has_another_id(change: dict[str, object]) -> None:
    """Asset, port and place tell findings apart."""
    assert example(**change).id != example().id


@given(st.lists(st.text(), min_size=2, max_size=4), st.lists(st.text(), min_size=2, max_size=4))
def test_parts_of_an_id_do_not_run_together(one: list[str], other: list[str]) -> None:
    """Two identities have the same id only where all their parts are the same."""
    assert (finding_id(*one) == finding_id(*other)) == (one == other)


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("CRITICAL", "critical"),
        ("Moderate", "medium"),
        ("info", "none"),
        ("important", "high"),
        ("unknown", "low"),
        ("", "low"),
    ],
)
def test_words_of_scanners_are_severities(word: str, severity: str) -> None:
    """Those that say nothing count as low: unrated is not harmless."""
    assert severity_of(word) == severity


def test_cves_are_in_capitals_and_once() -> None:
    """What is no CVE id is left out."""
    assert example(cves=["cve-2021-44228", "CVE-2021-44228", "CWE-79", "CVE-1"]).cves == ["CVE-2021-44228"]
    assert cves_in("see cve-2021-44228 and CVE-2021-45046, (CVE-2021-44228)") == ["CVE-2021-44228", "CVE-2021-45046"]


def test_texts_are_bounded() -> None:
    """A long description is cut and says so."""
    text = example(description="x" * 10_000).description
    assert len(text) == TEXT_LIMIT
    assert text.endswith("…")


def test_the_same_finding_twice_is_one() -> None:
    """The worse of the two stays, with the evidence of both, and the worst of all comes first."""
    first = example(evidence="a")
    second = first.model_copy(update={"severity": "high", "evidence": "b"})
    critical = finding("nmap", "other", "t", "critical")
    result = merged([first, second, critical])
    assert [(one.severity, one.evidence) for one in result] == [("critical", ""), ("high", "b\na")]
    assert counted(result) == {"none": 0, "low": 0, "medium": 0, "high": 1, "critical": 1}
