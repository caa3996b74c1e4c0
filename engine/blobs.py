"""Large payloads outside of Temporal's history: the database keeps them, the history refers to them.

What a run carries beyond ``THRESHOLD`` (an output, a plan, the state of a long run) is stored by the SDK through this
driver before it is sent, after encryption, and fetched when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from storage import blobs
from storage.clock import now_ms
from storage.database import Database

THRESHOLD = 256 * 1024
"""Bytes of a payload above which it is kept outside."""

NAME = "stanchion-database"
_KEY = "sha256"


class MissingBlobError(LookupError):
    """A payload that a history refers to and that the database does not hold."""


class DatabaseDriver(StorageDriver):
    """Keeps payloads in the table of blobs under their SHA-256, so that storing one again is no harm."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def name(self) -> str:
        """The name that stands in histories; it never changes."""
        return NAME

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Stores ``payloads``, in one transaction; raises DatabaseUnavailable."""
        data = [payload.SerializeToString(deterministic=True) for payload in payloads]
        keys = [hashlib.sha256(part).hexdigest() for part in data]
        await self._database.write(blobs.put, dict(zip(keys, data, strict=True)), now_ms())
        return [StorageDriverClaim({_KEY: key}) for key in keys]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """The payloads of ``claims``; raises DatabaseUnavailable and MissingBlobError."""
        keys = [claim.claim_data[_KEY] for claim in claims]
        found = await self._database.read(blobs.get, keys)
        missing = [key for key in keys if key not in found]
        if missing:
            raise MissingBlobError(f"the database holds no payload {missing[0]}")
        return [Payload.FromString(found[key]) for key in keys]


def external_storage(database: Database) -> ExternalStorage:
    """The SDK's setting for payloads that are kept in ``database``."""
    return ExternalStorage(drivers=[DatabaseDriver(database)], payload_size_threshold=THRESHOLD)
