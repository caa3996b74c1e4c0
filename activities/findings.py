"""The finding: one model for what any scanner has found, so that every step after a scan reads the same fields.

Its ``id`` is made of what the finding is about (source, rule, asset, port, package, place), not of what is said about
it: the same finding of two runs has the same id, also when the scanner has rated it anew or words it differently.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from activities.action import OutputModel

Severity = Literal["none", "low", "medium", "high", "critical"]

SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""From harmless to worst."""

TEXT_LIMIT: Final = 4000
"""Characters of a description, of evidence and of a remediation."""

REFERENCE_LIMIT: Final = 50
"""References and CVE ids of one finding."""

_CVE = re.compile(r"CVE-\d{4}-\d{4,19}", re.IGNORECASE)
_WORDS: Final[dict[str, Severity]] = {
    "info": "none",
    "informational": "none",
    "moderate": "medium",
    "important": "high",
}
UNRATED: Final[Severity] = "low"
"""Severity of what a scanner reports without a rating that is known here: not nothing, and not an alarm."""


class Cvss(OutputModel):
    """A rating by the Common Vulnerability Scoring System."""

    vector: Annotated[str, Field(description="Vector, such as CVSS:3.1/AV:N/AC:L/…; empty where none was given.")] = ""
    score: Annotated[float | None, Field(ge=0, le=10, description="Base score.")] = None


class Finding(OutputModel):
    """Something that a scanner found."""

    id: Annotated[str, Field(description="The same for the same finding of two runs.")]
    source: Annotated[str, Field(description="Scanner: nmap, lynis, nuclei, trivy or openscap.")]
    rule: Annotated[str, Field(description="The scanner's own id for what it looked for.")]
    title: str
    severity: Severity
    description: str = ""
    asset: Annotated[str, Field(description="Host, address, image or target in which it was found.")] = ""
    place: Annotated[str, Field(description="Where in it: a URL, a file, a line.")] = ""
    port: int | None = None
    protocol: str | None = None
    package: str | None = None
    version: Annotated[str | None, Field(description="Version of the package or service.")] = None
    fixed_version: Annotated[str | None, Field(description="Version in which it is mended.")] = None
    cves: list[str] = Field(default_factory=list, description="Ids such as CVE-2021-44228.")
    cvss: Cvss | None = None
    references: list[str] = Field(default_factory=list)
    evidence: Annotated[str, Field(description="What the scanner saw.")] = ""
    remediation: str = ""


def finding(
    source: str,
    rule: str,
    title: str,
    severity: Severity,
    *,
    asset: str = "",
    place: str = "",
    port: int | None = None,
    protocol: str | None = None,
    package: str | None = None,
    version: str | None = None,
    fixed_version: str | None = None,
    description: str = "",
    evidence: str = "",
    remediation: str = "",
    cves: Iterable[str] = (),
    cvss: Cvss | None = None,
    references: Iterable[str] = (),
) -> Finding:
    """A finding with its id, its texts cut to ``TEXT_LIMIT``, its CVE ids in capitals and each once."""
    return Finding(
        id=finding_id(source, rule, asset, place, port, protocol, package),
        source=source,
        rule=rule,
        title=cut(title, 300) or rule,
        severity=severity,
        description=cut(description),
        asset=asset,
        place=place,
        port=port,
        protocol=protocol,
        package=package,
        version=version or None,
        fixed_version=fixed_version or None,
        cves=list(dict.fromkeys(cve.upper() for cve in cves if _CVE.fullmatch(cve)))[:REFERENCE_LIMIT],
        cvss=cvss,
        references=list(dict.fromkeys(reference for reference in references if reference))[:REFERENCE_LIMIT],
        evidence=cut(evidence),
        remediation=cut(remediation),
    )


def finding_id(*identity: str | int | None) -> str:
    """``find-`` and 96 bits of the SHA-256 of ``identity``."""
    text = json.dumps(identity, ensure_ascii=True, separators=(",", ":"))
    return "find-" + hashlib.sha256(text.encode()).hexdigest()[:24]


def severity_of(word: str) -> Severity:
    """The severity that a scanner's word means; ``UNRATED`` for a word that is none."""
    lower = word.strip().lower()
    if lower in SEVERITIES:
        return lower
    return _WORDS.get(lower, UNRATED)


def cves_in(text: str) -> list[str]:
    """The CVE ids in ``text``, in capitals, each once."""
    return list(dict.fromkeys(match.upper() for match in _CVE.findall(text)))


def cut(text: str, limit: int = TEXT_LIMIT) -> str:
    """``text`` without space around it, at most ``limit`` characters."""
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once; of those with the same id the worst, with the evidence of all.  Worst first."""
    kept: dict[str, Finding] = {}
    for one in findings:
        other = kept.get(one.id)
        kept[one.id] = one if other is None else _together(other, one)
    return sorted(kept.values(), key=lambda one: -SEVERITIES.index(one.severity))


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each severity, those that have none included."""
    return tally(one.severity for one in findings)


def tally(severities: Iterable[Severity]) -> dict[str, int]:
    """How often each severity is among ``severities``, those that are not included."""
    counts = Counter(severities)
    return {severity: counts[severity] for severity in SEVERITIES}


def _together(first: Finding, second: Finding) -> Finding:
    worse, other = (first, second) if _rank(first) >= _rank(second) else (second, first)
    if other.evidence in worse.evidence:
        return worse
    return worse.model_copy(update={"evidence": cut(f"{worse.evidence}\n{other.evidence}")})


def _rank(one: Finding) -> int:
    return SEVERITIES.index(one.severity)
