"""The stored intelligence on vulnerabilities, as the actions see it (``activities.stores``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from activities.errors import ActionError
from activities.stores import Described, Exploited, Facts, Intelligence, Predicted, Rated, SourceState
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.intel.store import Known, look_up


class DatabaseIntel:
    """``activities.stores.IntelStore`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look_up(self, cves: Sequence[str]) -> Intelligence:
        """See ``activities.stores.IntelStore``."""
        try:
            known = await self._database.read(look_up, list(cves))
        except DatabaseUnavailable as error:
            told = f"The stored intelligence cannot be read now: {error.detail}"
            raise ActionError("store_unavailable", told) from None
        facts = {cve: _facts(known, cve) for cve in cves}
        sources = [SourceState(row.source, row.as_of, row.synced_at, row.entries, row.sample) for row in known.sources]
        return Intelligence({cve: found for cve, found in facts.items() if found != Facts()}, sources)


def _facts(known: Known, cve: str) -> Facts:
    kev, epss, nvd = known.kev.get(cve), known.epss.get(cve), known.nvd.get(cve)
    return Facts(
        None if kev is None else _exploited(kev),
        None if epss is None else Predicted(epss["probability"], epss["percentile"]),
        None if nvd is None else _described(nvd),
    )


def _exploited(row: Mapping[str, Any]) -> Exploited:
    names = ("vendor", "product", "name", "date_added", "due_date", "required_action", "ransomware")
    return Exploited(**{name: row[name] for name in names})


def _described(row: Mapping[str, Any]) -> Described:
    return Described(
        description=row["description"],
        status=row["status"],
        published=row["published"],
        modified=row["modified"],
        ratings=[Rated(**rating) for rating in row["ratings"]],
        cwes=row["details"]["cwes"],
        references=row["details"]["references"],
    )
