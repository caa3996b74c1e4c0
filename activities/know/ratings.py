"""CVSS: the score that a vector means (FIRST, CVSS 2, 3.0, 3.1 and 4.0)."""

from __future__ import annotations

from typing import Annotated

from cvss import CVSS2, CVSS3, CVSS4, CVSSError
from pydantic import Field

from activities.action import OutputModel
from activities.findings import Severity, severity_of

LONGEST_VECTOR = 500


class Rating(OutputModel):
    """One rating of one CVE."""

    version: Annotated[str, Field(description="Version of CVSS: 2.0, 3.0, 3.1 or 4.0.")]
    vector: str
    score: Annotated[float, Field(ge=0, le=10, description="Base score, computed from the vector.")]
    severity: Annotated[Severity, Field(description="What CVSS calls such a score.")]
    source: Annotated[str, Field(description="Who has rated.")] = ""
    computed: Annotated[bool, Field(description="False: the vector cannot be read, and the score is as stated.")] = True


def rating_of(vector: str, source: str = "") -> Rating:
    """The rating that ``vector`` means.  Raises ``ValueError`` when it is none."""
    text = vector.strip()
    try:
        if text.startswith("CVSS:4.0/"):
            four = CVSS4(text)
            return _rating("4.0", text, four.base_score, four.severity, source)
        if text.startswith("CVSS:3"):
            three = CVSS3(text)
            return _rating(text[5:8], text, three.base_score, three.severities()[0], source)
        two = CVSS2(text.strip("()"))
        return _rating("2.0", text, two.base_score, two.severities()[0], source)
    except CVSSError as error:
        raise ValueError(f"not a CVSS vector: {error}") from None


def rating_as_stated(version: str, vector: str, score: float, source: str) -> Rating:
    """The rating by its vector, or with the stated score where the vector cannot be read."""
    try:
        return rating_of(vector, source)
    except ValueError:
        return Rating(
            version=version,
            vector=vector,
            score=score,
            severity=severity_of_score(score),
            source=source,
            computed=False,
        )


def severity_of_score(score: float) -> Severity:
    """The qualitative severity of a score (CVSS 3.1, section 5; 4.0, section 6)."""
    if score <= 0:
        return "none"
    return "critical" if score >= 9 else "high" if score >= 7 else "medium" if score >= 4 else "low"


def _rating(version: str, vector: str, score: object, word: str, source: str) -> Rating:
    return Rating(version=version, vector=vector, score=float(str(score)), severity=severity_of(word), source=source)
