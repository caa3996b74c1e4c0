"""Retention: what is older than the settings say is deleted, in batches, by the sweep of every API process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from api.executions import Executions
from api.metrics import Metrics
from engine.sealing import Sealer
from settings import Settings
from storage import audit_chain, blobs, executions, retention
from storage.clock import now_ms

DAY_MS: Final = 86_400_000
REPLAYS_KEPT_MS: Final = 366 * DAY_MS
"""How long the deliveries of a hook are remembered: not every sender signs the time."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Deletes what is old.  Two processes that do it at once do it once."""

    service: Executions
    settings: Settings
    sealer: Sealer
    metrics: Metrics
    now: Callable[[], int] = now_ms

    async def apply(self) -> None:
        """Look at everything once.  Raises DatabaseUnavailable; what was deleted until then stays deleted."""
        await self._keys()
        await self._payloads()
        if self.settings.retention_executions_days is not None:
            await self._executions(self._before(self.settings.retention_executions_days))
        if self.settings.retention_audit_days is not None:
            await self._audit(self._before(self.settings.retention_audit_days))
        self.metrics.retention_at.set(self.now() / 1000)

    def _before(self, days: int) -> int:
        return self.now() - days * DAY_MS

    async def _keys(self) -> None:
        before = self._before(self.settings.retention_keys_days)
        count = await self.service.database.write(executions.forget_keys, before, self.now() - REPLAYS_KEPT_MS)
        self.metrics.forgotten("idempotency_keys", count)

    async def _payloads(self) -> None:
        """Payloads are needed as long as a history that refers to them.

        Temporal drops those of closed runs after its own days, and a run that is open may refer to whatever was stored
        since it began.
        """
        now, days = self.now(), self.settings.temporal_retention_days + 1
        oldest = await self.service.database.read(executions.oldest_open)
        count = await self.service.database.write(blobs.forget, min(now, oldest or now) - days * DAY_MS)
        self.metrics.forgotten("payloads", count)

    async def _executions(self, before: int) -> None:
        after: int | None = 0
        while after is not None:
            found = await self.service.database.write(retention.forget_executions, before, after)
            self.metrics.forgotten("executions", found.count)
            after = found.after
        self.service.closed.clear()  # another process may have deleted what this one has in memory

    async def _audit(self, before: int) -> None:
        count = audit_chain.BATCH
        while count == audit_chain.BATCH:
            count = await self.service.database.write(audit_chain.forget, before, self.now(), self._sign)
            self.metrics.forgotten("audit_entries", count)

    def _sign(self, text: str) -> str | None:
        return self.sealer.sign(text, audit_chain.CHECKPOINT)
