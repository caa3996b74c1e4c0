"""The stored assets, as the actions see them (``activities.stores``)."""

from __future__ import annotations

from activities.errors import ActionError
from activities.stores import AssetFacts, AssetQuestion
from storage.assets import matching
from storage.database import Database
from storage.errors import DatabaseUnavailable


class DatabaseAssets:
    """``activities.stores.AssetStore`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, question: AssetQuestion) -> tuple[list[AssetFacts], int]:
        """See ``activities.stores.AssetStore``."""
        try:
            rows, count = await self._database.read(
                matching,
                asset_id=question.id,
                hostname=question.hostname,
                ip=question.ip,
                tag=question.tag,
                limit=question.limit,
            )
        except DatabaseUnavailable as error:
            raise ActionError("store_unavailable", f"The assets cannot be read now: {error.detail}") from None
        found = [
            AssetFacts(row.id, row.name, row.type, row.hostname, row.ip, row.url, row.tags, row.attributes)
            for row in rows
        ]
        return found, count
