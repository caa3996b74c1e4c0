"""Artifacts of runs in the database, as the actions see them (``activities.artifacts``)."""

from __future__ import annotations

from activities.action import ActionContext
from activities.artifacts import Artifact
from activities.errors import ActionError
from storage import artifacts
from storage.artifacts import NewArtifact
from storage.clock import now_ms
from storage.database import Database
from storage.errors import DatabaseUnavailable, NotFound, NotKept, Taken


class DatabaseArtifacts:
    """The store of artifacts on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, context: ActionContext, name: str, media_type: str, data: bytes) -> Artifact:
        """See ``activities.artifacts.ArtifactStore``."""
        new = NewArtifact(
            execution_id=context.execution_id,
            name=name,
            step=context.step_id,
            media_type=media_type,
            created_at=now_ms(),
            data=data,
        )
        try:
            row = await self._database.write(artifacts.put, new)
        except Taken:
            message = f"Another step of this run has kept an artifact {name}; give this one another name."
            raise ActionError("artifact_exists", message, retryable=False) from None
        except (NotKept, NotFound) as error:
            raise ActionError("artifact_refused", str(error), retryable=False) from None
        except DatabaseUnavailable as error:
            raise _unavailable(error) from None
        return Artifact(row.name, row.media_type, data, row.sha256)

    async def read(self, context: ActionContext, name: str) -> Artifact | None:
        """See ``activities.artifacts.ArtifactStore``."""
        try:
            found = await self._database.read(artifacts.find, context.execution_id, name)
        except DatabaseUnavailable as error:
            raise _unavailable(error) from None
        if found is None:
            return None
        row, data = found
        return Artifact(row.name, row.media_type, data, row.sha256)


def _unavailable(error: DatabaseUnavailable) -> ActionError:
    return ActionError("store_unavailable", f"The artifact cannot be kept or read now: {error.detail}")
