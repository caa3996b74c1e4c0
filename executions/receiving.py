"""Webhooks: a delivery that is signed as its hook asks, and is no replay, starts the hook's playbook."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.codec import EncryptionKeyError
from engine.sealing import Sealer
from executions import signatures
from executions.errors import BadRequest, Conflict, Detail, IdempotencyMismatch, NotFound, Refusal
from executions.requests import RunRequest
from executions.starting import Starter
from executions.targets import asset_named
from executions.truth import Truth
from playbooks.incoming import Incoming, IncomingError, Wanted, compile_incoming
from playbooks.record import Json
from playbooks.triggers import takes_webhooks
from storage import hooks, playbooks
from storage.audit import NewAudit
from storage.database import Database
from storage.executions import HOOK
from storage.hooks import HookRow
from storage.playbooks import PlaybookRow

SOURCE = "webhook"
PRINCIPAL = HOOK
_COMPILED = 500

_UNTOLD = frozenset({"authorization", "cookie", "x-api-key", "webhook-signature", "x-hub-signature-256"})
"""Headers that a playbook does not see."""


class Replayed(Conflict):
    """The delivery was taken before; ``execution_id`` names the run that it began."""

    code = "replayed"


class SealBroken(Refusal):
    """The hook's secret cannot be read."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request to a hook: its headers, with names in lower case, its body, and the value that the body is."""

    headers: Mapping[str, str]
    body: bytes
    payload: Json


@dataclass(slots=True)
class Receiver:
    """Takes deliveries.  Raises DatabaseUnavailable, and what ``Starter.start`` raises."""

    database: Database
    starter: Starter
    sealer: Sealer
    _compiled: OrderedDict[tuple[str, int], Incoming] = field(default_factory=OrderedDict)

    async def hook(self, token_hash: str) -> HookRow | None:
        """The hook of a token, by its hash."""
        return await self.database.read(hooks.get_by_hash, token_hash)

    def verify(self, hook: HookRow, headers: Mapping[str, str], body: bytes) -> str | None:
        """What replays of this delivery are known by.  Raises BadSignature."""
        try:
            secret = None if hook.secret is None else self.sealer.open(hook.secret, hook.id)
        except EncryptionKeyError as error:
            raise SealBroken(f"The secret of this hook cannot be read: {error}.") from error
        return signatures.check(hook.signature, secret, headers, body, time.time())

    async def receive(self, hook: HookRow, delivery: Delivery, replay_key: str | None, entry: NewAudit) -> Truth | None:
        """Starts the run that the delivery asks for; None where the conditions of the trigger do not hold.

        Raises Replayed for a delivery that has begun a run before, BadRequest for one that the trigger can make
        nothing of.
        """
        row = await self.database.read(playbooks.get, hook.playbook_id)
        if row is None:
            raise NotFound("The playbook of this hook was deleted.")
        if not takes_webhooks(str(row.trigger.get("event"))):
            raise Conflict(f"The playbook {row.slug} takes no webhooks: its trigger says {row.trigger.get('event')}.")
        try:
            wanted = await asyncio.to_thread(_wanted, self._incoming(row), delivery)
        except IncomingError as error:
            raise BadRequest("The payload does not fit the playbook.", [Detail("", str(error))]) from error
        if wanted is None:
            return None
        request = RunRequest(
            target_asset_id=await asset_named(self.database, wanted.asset),
            parameters=wanted.parameters,
            dry_run=False,
            dry_run_reads=True,
            idempotency_key=replay_key,
            principal_id=f"{PRINCIPAL}{hook.id}",
            source=SOURCE,
        )
        try:
            truth = await self.starter.start(row.id, request, entry)
        except IdempotencyMismatch as error:
            raise Replayed("This delivery was taken before.") from error
        if truth.repeated:
            raise Replayed("This delivery was taken before.", execution_id=truth.row.id)
        return truth

    def _incoming(self, row: PlaybookRow) -> Incoming:
        key = (row.id, row.revision)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = compile_incoming(row.trigger)
            if len(self._compiled) > _COMPILED:
                self._compiled.popitem(last=False)
        return found


def _wanted(incoming: Incoming, delivery: Delivery) -> Wanted | None:
    headers = {name: value for name, value in delivery.headers.items() if name not in _UNTOLD}
    if not incoming.counts(delivery.payload, headers):
        return None
    return incoming.wanted(delivery.payload, headers)
