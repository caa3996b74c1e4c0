"""Runs on containers, as the Phantom interface starts them: the same start, with a container in place of an asset."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from executions.errors import NotFound
from executions.starting import Starter, validated
from executions.truth import Truth
from playbooks.contract import workflow_id
from playbooks.record import Json
from storage import audit, executions, playbooks
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.executions import ExecutionRow, NewExecution
from storage.phantom import runs
from storage.phantom.containers import CONTAINERS
from storage.phantom.records import Record
from storage.phantom.runs import Scope

SOURCE = "phantom"

Shown = Callable[[Record, Sequence[Record]], dict[str, Json]]
"""How container and artifacts look to expressions: ``container`` and ``artifacts``."""


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """A run that is asked for; with ``exclusive`` only one of a playbook at a time on a container."""

    container: int
    playbook_id: str
    scope: Scope
    parameters: dict[str, Json]
    owner: int | None
    address: str | None
    principal_id: str
    exclusive: bool


async def start_on_container(starter: Starter, request: ContainerRequest, entry: NewAudit, shown: Shown) -> Truth:
    """Starts a run on a container and returns it, ``pending``; its row has its number.

    Raises NotFound, ParametersInvalid, Conflict, Unavailable as ``Starter.start`` does.
    """
    playbook = await starter.database.read(playbooks.get, request.playbook_id)
    if playbook is None:
        raise NotFound(f'Playbook "{request.playbook_id}" not found')
    revision = await starter.revisions.get(playbook.id, playbook.revision)
    execution_id = f"exec-{uuid.uuid4()}"
    asset_id = f"container-{request.container}"
    new = NewExecution(
        id=execution_id,
        created_at=now_ms(),
        created_by=request.principal_id,
        playbook_id=playbook.id,
        revision=playbook.revision,
        asset_id=asset_id,
        asset={},
        parameters=validated(revision, request.parameters),
        dry_run=False,
        workflow_id=workflow_id(playbook.id, asset_id if request.exclusive else f"{asset_id}:{execution_id}"),
        source=SOURCE,
        pinned=await starter.pins(revision, playbook.id),
    )
    async with starter.admission.place():
        row = await starter.database.write(_insert, new, request, entry, shown)
        return await starter.begin(playbook, revision, row)


def _insert(
    connection: Connection, new: NewExecution, request: ContainerRequest, entry: NewAudit, shown: Shown
) -> ExecutionRow:
    if not playbooks.hold(connection, new.playbook_id):
        raise NotFound(f'Playbook "{request.playbook_id}" not found')
    container = CONTAINERS.get(connection, request.container)
    if container is None:
        raise NotFound(f'Container "{request.container}" not found')
    taken = runs.chosen(connection, new.playbook_id, request.container, request.scope, new.id)
    if not isinstance(request.scope, str):
        missing = [number for number in request.scope if number not in {one["id"] for one in taken}]
        if missing:
            raise NotFound(f'Artifact "{missing[0]}" not found in container {request.container}')
    whole = replace(new, asset=_asset(new.asset_id, container), context=shown(container, taken))
    inserted = executions.insert(connection, whole)
    assert isinstance(inserted, executions.Inserted), "no idempotency key is given"
    runs.add(
        connection,
        {
            "number": inserted.number,
            "container": request.container,
            "scope": request.scope if isinstance(request.scope, str) else list(request.scope),
            "owner": request.owner,
            "ip_address": request.address,
            "last_artifact": max((int(one["id"]) for one in taken), default=0),
        },
    )
    details: dict[str, Json] = {"playbook_id": new.playbook_id, "container": request.container, "run": inserted.number}
    audit.append(connection, replace(entry, object_id=new.id, details=details))
    row = executions.get(connection, new.id)
    assert row is not None, "it was written a moment ago"
    return row


def _asset(asset_id: str, container: Record) -> dict[str, Json]:
    """The container in the form of an asset, for playbooks that were written for assets."""
    tags = container["tags"] if isinstance(container["tags"], list) else []
    return {
        "id": asset_id,
        "name": container["name"],
        "type": "container",
        "hostname": None,
        "ip": None,
        "url": None,
        "tags": {str(tag): "" for tag in tags},
        "attributes": {name: container[name] for name in ("label", "severity", "sensitivity", "status")},
    }
