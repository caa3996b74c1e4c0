"""CISA's catalogue of known exploited vulnerabilities (KEV), as JSON.

https://www.cisa.gov/known-exploited-vulnerabilities-catalog
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from storage.intel.faults import IntelFault
from storage.intel.reading import Reading, entries, header, moment

Text = Annotated[str, Field(max_length=20_000)]
Cve = Annotated[str, Field(pattern=r"^CVE-\d{4}-\d{4,19}$")]


class KevEntry(BaseModel):
    """One entry of the catalogue, of what is used here."""

    cve: Annotated[Cve, Field(alias="cveID")]
    vendor: Annotated[Text, Field(alias="vendorProject")]
    product: Text
    name: Annotated[Text, Field(alias="vulnerabilityName")]
    description: Annotated[Text, Field(alias="shortDescription")] = ""
    date_added: Annotated[date, Field(alias="dateAdded")]
    due_date: Annotated[date | None, Field(alias="dueDate")] = None
    required_action: Annotated[Text, Field(alias="requiredAction")]
    ransomware: Annotated[Text, Field(alias="knownRansomwareCampaignUse")] = "Unknown"


def read_kev(path: Path) -> Reading:
    """What the catalogue holds.  Raises ``IntelFault``, also from the rows."""
    found = header(path, frozenset({"catalogVersion", "dateReleased", "count"}))
    if not isinstance(found.get("dateReleased"), str):
        raise IntelFault("dateReleased", "is missing before the list of vulnerabilities")
    as_of = moment(found["dateReleased"], "dateReleased")
    return Reading(as_of, str(found.get("catalogVersion", "")), _rows(path, found.get("count")))


def _rows(path: Path, count: Any) -> Iterator[dict[str, Any]]:
    number = 0
    for entry in entries(path, KevEntry):
        number += 1
        yield {
            **entry.model_dump(),
            "date_added": entry.date_added.isoformat(),
            "due_date": None if entry.due_date is None else entry.due_date.isoformat(),
            "ransomware": entry.ransomware.lower() == "known",
        }
    if isinstance(count, int) and count != number:
        raise IntelFault("count", f"says {count}, but the list has {number} entries")
