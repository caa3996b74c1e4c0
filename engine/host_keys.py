"""The host keys that somebody has trusted, as the actions see them (``activities.stores``)."""

from __future__ import annotations

from activities.errors import ActionError
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.host_keys import list_host_keys

MOST = 100
"""Keys of one host and port."""


class DatabaseHostKeys:
    """``activities.stores.HostKeyStore`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keys_of(self, host: str, port: int) -> list[str]:
        """See ``activities.stores.HostKeyStore``."""
        try:
            rows, _ = await self._database.read(list_host_keys, host=host, port=port, per_page=MOST)
        except DatabaseUnavailable as error:
            raise ActionError("store_unavailable", f"The host keys cannot be read now: {error.detail}") from None
        return [row.key for row in rows]
