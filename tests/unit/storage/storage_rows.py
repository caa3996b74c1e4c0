"""Rows for the tests of the storage: valid ones, of which a test changes what it is about."""

from __future__ import annotations

from typing import Any

from playbooks.contract import Settlement
from storage.assets import NewAsset
from storage.audit import NewAudit
from storage.executions import NewExecution
from storage.playbooks import NewPlaybook
from storage.tokens import NewToken

NOW = 1_777_374_000_000
PLAYBOOK = "pb-11223344-5566-7788-99aa-bbccddeeff00"
ASSET = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
EXECUTION = "exec-aabb1122-3344-5566-7788-99aabbccddee"

DONE = ["c", NOW + 5, NOW + 9, 1]
PENDING = ["p"]


def new_execution(number: int | None = None, **changes: Any) -> NewExecution:
    """A run of ``PLAYBOOK`` on ``ASSET``; with a number it has an id of its own."""
    values: dict[str, Any] = {
        "id": EXECUTION if number is None else f"exec-{number}",
        "created_at": NOW,
        "created_by": "token-1",
        "playbook_id": PLAYBOOK,
        "revision": 3,
        "asset_id": ASSET,
        "asset": {"id": ASSET, "name": "web-1", "tags": {"env": "prod"}},
        "parameters": {"notify_channel": "#ops", "patch_version": "2.4.1"},
        "dry_run": False,
        "workflow_id": f"{PLAYBOOK}:{ASSET}",
    }
    return NewExecution(**values | changes)


def settlement(**changes: Any) -> Settlement:
    """The end of ``EXECUTION``: two steps, both completed."""
    values: dict[str, Any] = {
        "execution_id": EXECUTION,
        "workflow_run_id": "run-1",
        "state": "completed",
        "started_at": NOW + 5,
        "finished_at": NOW + 20,
        "outputs": {"version": "2.4.1"},
        "steps": [DONE, ["c", NOW + 10, NOW + 20, 2]],
        "io": {"act-001": {"input": {"a": 1}, "output": "é"}},
    }
    return Settlement(**values | changes)


def new_playbook(**changes: Any) -> NewPlaybook:
    """A playbook of one step."""
    values: dict[str, Any] = {
        "id": PLAYBOOK,
        "slug": "automated-patching",
        "name": "Automated patching",
        "description": "Verify, rehearse, patch, prove.",
        "trigger": {"event": "manual"},
        "tags": ["patching", "remediation"],
        "version": "1.2.0",
        "definition": {"name": "Automated patching"},
        "source": "name: Automated patching\n",
        "source_media_type": "application/yaml",
        "parameters_schema": {"type": "object"},
        "secret_parameters": ["token"],
        "plan": {"format": 1, "steps": []},
        "steps": [{"id": "act-001", "name": "Verify", "type": "action", "action": "core.echo"}],
        "created_at": NOW,
        "created_by": "token-1",
    }
    return NewPlaybook(**values | changes)


def new_asset(**changes: Any) -> NewAsset:
    """A host in production."""
    values: dict[str, Any] = {
        "id": ASSET,
        "name": "web-1",
        "type": "host",
        "hostname": "web-1.example.org",
        "ip": "192.0.2.7",
        "tags": {"env": "prod", "tier": 1},
        "attributes": {"os": "debian"},
        "at": NOW,
    }
    return NewAsset(**values | changes)


def new_token(**changes: Any) -> NewToken:
    """A token that may read."""
    values: dict[str, Any] = {
        "id": "token-1",
        "name": "ci",
        "hash": "ab" * 32,
        "permissions": ("asset:read", "playbook:read"),
        "created_at": NOW,
        "created_by": "admin",
    }
    return NewToken(**values | changes)


def new_audit(**changes: Any) -> NewAudit:
    """Somebody created a playbook."""
    values: dict[str, Any] = {
        "at": NOW,
        "actor_id": "token-1",
        "actor_name": "ci",
        "action": "playbook.create",
        "object_type": "playbook",
        "object_id": PLAYBOOK,
        "outcome": "ok",
        "address": "192.0.2.9",
        "details": {"name": "Automated patching"},
    }
    return NewAudit(**values | changes)
