"""The asset that a trigger names: by its id, or by a hostname, an address or a name that only one asset has."""

from __future__ import annotations

from executions.errors import Conflict, NotFound
from storage import assets
from storage.database import Database


async def asset_named(database: Database, text: str) -> str:
    """The id of the asset; raises NotFound, and Conflict where several have that name."""
    found = await database.read(assets.find, text)
    if not found:
        raise NotFound(f"There is no asset {text!r}.")
    if len(found) > 1:
        raise Conflict(f"Several assets are named {text!r}; use the id of one.")
    return found[0].id
