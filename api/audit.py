"""The audit trail: who did what to which object, when, from where, with what outcome.

What was done is written in the transaction that does it (``Journal.entry``).  What was refused changes nothing, so
it is written a moment later, in batches, and bounded: a flood of bad requests must not fill the database.  What a
crash can lose is the refusals of the last quarter of a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import structlog
from starlette.requests import Request

from api.limits import address_of
from api.tokens import Principal
from playbooks.record import Json
from storage import audit
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.database import Database
from storage.errors import DatabaseUnavailable

FLUSH_SECONDS: Final = 0.25
QUEUE_LIMIT: Final = 5_000
PER_ADDRESS_MINUTE: Final = 60
"""Refusals of one address that are written in a minute; the rest are counted and written as one entry."""

ANONYMOUS: Final = "anonymous"
READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
CHANGES_NOTHING: Final = frozenset({"playbook.validate"})
"""Routes that only look at what they are sent, however it is sent."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Journal:
    """Writes audit entries; ``run`` is its task for those that wait."""

    database: Database
    _queue: list[NewAudit] = field(default_factory=list)
    _flushing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _minute: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _suppressed: Counter[str] = field(default_factory=Counter)

    def entry(
        self,
        request: Request,
        action: str,
        object_type: str,
        object_id: str | None,
        details: Json = None,
        outcome: str = "ok",
    ) -> NewAudit:
        """The entry of a change, to be appended by the transaction that makes it."""
        principal: Principal | None = getattr(request.state, "principal", None)
        return NewAudit(
            at=now_ms(),
            actor_id=principal.id if principal else ANONYMOUS,
            actor_name=principal.name if principal else ANONYMOUS,
            action=action,
            object_type=object_type,
            object_id=object_id,
            outcome=outcome,
            address=address_of(request.scope),
            details=details,
        )

    def denied(self, request: Request, principal: Principal | None, reason: str) -> None:
        """Note a request that failed authentication, or for which its token lacks the permission."""
        self._note(request, principal, "denied", {"reason": reason})

    def refused(self, request: Request, code: str) -> None:
        """Note a change that was asked for by a good token and refused with the error ``code``."""
        principal: Principal | None = getattr(request.state, "principal", None)
        route = getattr(request.scope.get("route"), "name", None)
        if principal is not None and request.method not in READ_METHODS and route not in CHANGES_NOTHING:
            self._note(request, principal, "refused", {"code": code})

    async def run(self) -> None:
        """Write what waits, for ever; what is left is written when the task is cancelled."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                try:
                    await self.flush()
                except Exception:
                    log.exception("audit entries were lost")
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits; while the database is away it goes on waiting, up to the limit of the queue."""
        async with self._flushing:
            self._turn_minute()
            batch, self._queue = self._queue, []
            if not batch:
                return
            try:
                await self.database.write(audit.append, *batch)
            except DatabaseUnavailable as error:
                self._queue = (batch + self._queue)[-QUEUE_LIMIT:]
                log.warning("audit entries wait for the database", waiting=len(self._queue), reason=str(error))

    def _note(self, request: Request, principal: Principal | None, outcome: str, details: dict[str, Json]) -> None:
        self._turn_minute()
        address = address_of(request.scope)
        self._counts[address] += 1
        if self._counts[address] > PER_ADDRESS_MINUTE or len(self._queue) >= QUEUE_LIMIT:
            self._suppressed[address] += 1
            return
        route = request.scope.get("route")
        object_id = next(iter(request.path_params.values()), None)
        self._queue.append(
            NewAudit(
                at=now_ms(),
                actor_id=principal.id if principal else ANONYMOUS,
                actor_name=principal.name if principal else ANONYMOUS,
                action=getattr(route, "name", "unknown"),
                object_type=getattr(route, "name", "unknown").partition(".")[0],
                object_id=str(object_id)[:200] if object_id is not None else None,
                outcome=outcome,
                address=address,
                details=details,
            )
        )

    def _turn_minute(self) -> None:
        minute = int(time.time()) // 60
        if minute == self._minute:
            return
        for address, count in self._suppressed.items():
            self._queue.append(
                NewAudit(
                    at=now_ms(),
                    actor_id=ANONYMOUS,
                    actor_name=ANONYMOUS,
                    action="request",
                    object_type="request",
                    object_id=None,
                    outcome="denied",
                    address=address,
                    details={"suppressed": count},
                )
            )
        self._minute = minute
        self._counts.clear()
        self._suppressed.clear()
