"""What is asked for: a run, or a rerun, and what makes two such requests one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from playbooks.record import Json
from storage.executions import IdempotencyKey


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run that is asked for."""

    target_asset_id: str
    parameters: dict[str, Json]
    dry_run: bool
    dry_run_reads: bool
    idempotency_key: str | None
    principal_id: str
    source: str = "api"

    def fingerprint(self, playbook_id: str) -> str:
        """What must be the same for two requests to be one: a hash of the playbook and the body."""
        body = [playbook_id, self.target_asset_id, self.parameters, self.dry_run, self.dry_run_reads]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """A rerun that is asked for, from the start or from what had failed."""

    execution_id: str
    origin: str | None
    idempotency_key: str | None
    principal_id: str

    def fingerprint(self, playbook_id: str) -> str:
        """What must be the same for two requests to be one."""
        body = [playbook_id, "rerun", self.execution_id, self.origin]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def key_of(request: RunRequest | RerunRequest, playbook_id: str) -> IdempotencyKey | None:
    """The idempotency key of a request for this playbook, where it came with one."""
    if request.idempotency_key is None:
        return None
    return IdempotencyKey(request.principal_id, request.idempotency_key, request.fingerprint(playbook_id))
