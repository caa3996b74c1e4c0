"""NIST's National Vulnerability Database (NVD): answers of its API 2.0, and its yearly files, which have the same form.

https://nvd.nist.gov/developers/vulnerabilities
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from storage.intel.faults import IntelFault
from storage.intel.kev import Cve
from storage.intel.reading import Reading, entries, header, moment

KEPT_REFERENCES = 20
KEPT_RATINGS = 20
KEPT_TEXT = 20_000

_HEADER = frozenset({"format", "version", "timestamp", "startIndex", "resultsPerPage", "totalResults"})


class Said(BaseModel):
    """A text in a language."""

    lang: str
    value: str


class CvssData(BaseModel):
    """A rating, as the body that made it states it."""

    version: Annotated[str, Field(pattern=r"^(2\.0|3\.0|3\.1|4\.0)$")]
    vector: Annotated[str, Field(alias="vectorString", max_length=500)]
    score: Annotated[float, Field(alias="baseScore", ge=0, le=10)]


class Metric(BaseModel):
    """A rating and whose it is."""

    source: str = ""
    type: str = ""
    data: Annotated[CvssData, Field(alias="cvssData")]


class Metrics(BaseModel):
    """The ratings by the version of CVSS."""

    v40: Annotated[list[Metric], Field(alias="cvssMetricV40")] = []
    v31: Annotated[list[Metric], Field(alias="cvssMetricV31")] = []
    v30: Annotated[list[Metric], Field(alias="cvssMetricV30")] = []
    v2: Annotated[list[Metric], Field(alias="cvssMetricV2")] = []

    def all(self) -> list[Metric]:
        """Newest version first, and within it the primary one first."""
        primary_first = [sorted(found, key=lambda one: one.type != "Primary") for found in self._versions()]
        return [one for found in primary_first for one in found]

    def _versions(self) -> list[list[Metric]]:
        return [self.v40, self.v31, self.v30, self.v2]


class Weakness(BaseModel):
    """Weaknesses by their CWE ids."""

    description: list[Said] = []


class Reference(BaseModel):
    """A page that tells more."""

    url: str


class NvdEntry(BaseModel):
    """One CVE, of what is used here."""

    id: Cve
    published: str | None = None
    modified: Annotated[str, Field(alias="lastModified")]
    status: Annotated[str, Field(alias="vulnStatus")] = ""
    descriptions: list[Said] = []
    metrics: Metrics = Metrics()
    weaknesses: list[Weakness] = []
    references: list[Reference] = []


@dataclass(frozen=True, slots=True)
class NvdPage:
    """Where a page stands among all results."""

    start: int
    size: int
    total: int


def read_nvd(path: Path) -> Reading:
    """What a page or file holds.  Raises ``IntelFault``, also from the rows."""
    found = _header(path)
    if not isinstance(found.get("timestamp"), str):
        raise IntelFault("timestamp", "is missing before the list of vulnerabilities")
    return Reading(moment(found["timestamp"], "timestamp"), str(found.get("version", "")), _rows(path))


def page_of(path: Path) -> NvdPage:
    """Which page it is.  Raises ``IntelFault``."""
    found = _header(path)
    numbers = [found.get(name) for name in ("startIndex", "resultsPerPage", "totalResults")]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise IntelFault("startIndex, resultsPerPage, totalResults", "one of these numbers is missing")
    return NvdPage(*(int(number or 0) for number in numbers))


def _header(path: Path) -> dict[str, Any]:
    found = header(path, _HEADER)
    if found.get("format") != "NVD_CVE" or found.get("version") != "2.0":
        raise IntelFault("format", "is not NVD_CVE in version 2.0")
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(entries(path, NvdEntry, inside="cve")):
        yield _row(entry, f"vulnerabilities[{number}].cve")


def _row(entry: NvdEntry, place: str) -> dict[str, Any]:
    english = [said.value for said in entry.descriptions if said.lang == "en"]
    cwes = {said.value for one in entry.weaknesses for said in one.description if said.value.startswith("CWE-")}
    ratings = [
        {
            "version": one.data.version,
            "vector": one.data.vector,
            "score": one.data.score,
            "source": one.source[:200],
            "primary": one.type == "Primary",
        }
        for one in entry.metrics.all()[:KEPT_RATINGS]
    ]
    references = list(dict.fromkeys(one.url[:2000] for one in entry.references))[:KEPT_REFERENCES]
    return {
        "cve": entry.id,
        "status": entry.status[:100],
        "published": None if entry.published is None else moment(entry.published, f"{place}.published"),
        "modified": moment(entry.modified, f"{place}.lastModified"),
        "description": (english[0] if english else "")[:KEPT_TEXT],
        "ratings": ratings,
        "details": {"cwes": sorted(cwes)[:50], "references": references},
    }
