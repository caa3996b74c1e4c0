"""What ``finding.enrich`` takes and answers, and how stored facts become it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from activities.action import InputModel, OutputModel
from activities.findings import Severity, cves_in
from activities.know.ratings import LONGEST_VECTOR, Rating, rating_as_stated, rating_of
from activities.stores import Facts, Intelligence

MOST_CVES = 100
LONGEST_TEXT = 200_000
Cve = Annotated[str, Field(pattern=r"^CVE-[0-9]{4}-[0-9]{4,19}$", description="Such as CVE-2021-44228.")]


class EnrichInput(InputModel):
    """What to look up."""

    cves: list[Cve] = Field(default_factory=list, max_length=MOST_CVES, description="CVE ids; one alone needs no list.")
    text: Annotated[
        str, Field(max_length=LONGEST_TEXT, description="Text in which CVE ids are looked for, such as an advisory.")
    ] = ""
    vector: Annotated[
        str | None, Field(max_length=LONGEST_VECTOR, description="A CVSS vector that is known already; it is rated.")
    ] = None

    @field_validator("cves", mode="before")
    @classmethod
    def _capitals(cls, cves: Any) -> Any:
        given = [cves] if isinstance(cves, str) else [] if cves is None else cves
        if not isinstance(given, list):
            return given
        return [one.strip().upper() if isinstance(one, str) else one for one in given]

    @field_validator("text", mode="before")
    @classmethod
    def _no_text(cls, text: Any) -> Any:
        return "" if text is None else text

    @field_validator("vector")
    @classmethod
    def _readable(cls, vector: str | None) -> str | None:
        if not vector:
            return None
        rating_of(vector)
        return vector

    @model_validator(mode="after")
    def _something(self) -> EnrichInput:
        if not self.model_fields_set:
            raise ValueError("give cves, text or vector")
        return self

    def wanted(self) -> list[str]:
        """Every CVE that is asked for, each once, those of the list first."""
        return list(dict.fromkeys([*self.cves, *cves_in(self.text)]))


class Epss(OutputModel):
    """How likely it is exploited."""

    probability: Annotated[float, Field(ge=0, le=1, description="Of exploitation within the next 30 days.")]
    percentile: Annotated[float, Field(ge=0, le=1, description="Share of all CVEs that are not more likely.")]


class Kev(OutputModel):
    """Its entry in CISA's catalogue of known exploited vulnerabilities."""

    vendor: str
    product: str
    name: str
    date_added: Annotated[str, Field(description="YYYY-MM-DD.")]
    due_date: Annotated[str | None, Field(description="YYYY-MM-DD, by which US agencies had to act.")] = None
    required_action: str
    ransomware: Annotated[bool, Field(description="Known to be used by ransomware.")]


class CveRecord(OutputModel):
    """What is known of one CVE."""

    cve: str
    known: Annotated[bool, Field(description="False: none of the stored sources knows it.")]
    description: str = ""
    status: Annotated[str, Field(description="What NVD says of the entry: Analyzed, Rejected …")] = ""
    published: str | None = None
    modified: str | None = None
    cwes: list[str] = Field(default_factory=list)
    references: list[str] = Field(default_factory=list)
    cvss: Annotated[Rating | None, Field(description="The first of the ratings.")] = None
    ratings: list[Rating] = Field(
        default_factory=list, description="Newest version of CVSS first, NVD's primary one before others."
    )
    epss: Epss | None = None
    kev: Kev | None = None


class SourceShown(OutputModel):
    """Of when a source is."""

    source: str
    as_of: str | None
    synced_at: str
    entries: int
    sample: Annotated[bool, Field(description="Only the shipped sample: run `stanchion intel sync`.")]


class Enrichment(OutputModel):
    """What is known of all of them; the fields beside ``cves`` are the worst of it."""

    cves: list[CveRecord] = Field(default_factory=list)
    unknown: list[str] = Field(default_factory=list, description="Those that no stored source knows.")
    left_out: Annotated[int, Field(description=f"CVEs of the text beyond the first {MOST_CVES}.")] = 0
    score: Annotated[float | None, Field(description="Highest CVSS score; null where nothing is rated.")] = None
    vector: Annotated[str | None, Field(description="The vector of that score.")] = None
    severity: Annotated[Severity | None, Field(description="What CVSS calls that score.")] = None
    epss: Annotated[float | None, Field(description="Highest probability of exploitation.")] = None
    exploited: Annotated[bool, Field(description="One of them at least is known to be exploited.")] = False
    ransomware: Annotated[bool, Field(description="One of them at least is known to be used by ransomware.")] = False
    summary: Annotated[str, Field(description="All of it in a sentence, for a message.")] = ""
    sources: list[SourceShown] = Field(default_factory=list)


def enrichment(inputs: EnrichInput, asked: Sequence[str], found: Intelligence) -> Enrichment:
    """What ``found`` says of the CVEs that were ``asked`` for."""
    records = [record_of(cve, found.facts.get(cve)) for cve in asked]
    ratings = [record.cvss for record in records if record.cvss is not None]
    if inputs.vector is not None:
        ratings.append(rating_of(inputs.vector))
    worst = max(ratings, key=lambda rating: rating.score, default=None)
    made = Enrichment(
        cves=records,
        unknown=[record.cve for record in records if not record.known],
        left_out=len(inputs.wanted()) - len(asked),
        score=None if worst is None else worst.score,
        vector=None if worst is None else worst.vector,
        severity=None if worst is None else worst.severity,
        epss=max((record.epss.probability for record in records if record.epss is not None), default=None),
        exploited=any(record.kev is not None for record in records),
        ransomware=any(record.kev is not None and record.kev.ransomware for record in records),
        sources=[
            SourceShown(
                source=one.source,
                as_of=shown_time(one.as_of),
                synced_at=shown_time(one.synced_at) or "",
                entries=one.entries,
                sample=one.sample,
            )
            for one in sorted(found.sources, key=lambda one: one.source)
        ],
    )
    return made.model_copy(update={"summary": _summary(made)})


def record_of(cve: str, facts: Facts | None) -> CveRecord:
    """What is known of ``cve``."""
    if facts is None:
        return CveRecord(cve=cve, known=False)
    described, exploited, predicted = facts.described, facts.exploited, facts.predicted
    ratings = [
        rating_as_stated(one.version, one.vector, one.score, one.source)
        for one in (described.ratings if described is not None else [])
    ]
    return CveRecord(
        cve=cve,
        known=True,
        description=described.description if described is not None else "",
        status=described.status if described is not None else "",
        published=shown_time(described.published) if described is not None else None,
        modified=shown_time(described.modified) if described is not None else None,
        cwes=described.cwes if described is not None else [],
        references=described.references if described is not None else [],
        cvss=ratings[0] if ratings else None,
        ratings=ratings,
        epss=None if predicted is None else Epss(probability=predicted.probability, percentile=predicted.percentile),
        kev=None
        if exploited is None
        else Kev(
            vendor=exploited.vendor,
            product=exploited.product,
            name=exploited.name,
            date_added=exploited.date_added,
            due_date=exploited.due_date,
            required_action=exploited.required_action,
            ransomware=exploited.ransomware,
        ),
    )


def shown_time(ms: int | None) -> str | None:
    """A moment, RFC 3339 in UTC."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _summary(made: Enrichment) -> str:
    if not made.cves and made.score is None:
        return "No CVE was named."
    names = [record.cve for record in made.cves]
    subject = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "The vector"
    parts = ["no rating is known" if made.score is None else f"CVSS {made.score:g} ({made.severity})"]
    if made.exploited:
        parts.append("known to be exploited" + (", by ransomware too" if made.ransomware else ""))
    if made.epss is not None:
        parts.append(f"EPSS {made.epss:.0%}")
    if made.unknown:
        parts.append(f"{len(made.unknown)} of {len(names)} unknown")
    return f"{subject}: {'; '.join(parts)}."
