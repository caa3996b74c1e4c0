"""The host keys of SSH servers that count: without one, no action speaks to a host."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from activities.hosts.target import HOST_NAME
from api.auth import CurrentPrincipal, guard
from api.body import Body, read_json
from api.models import Answer, Listing, Meta, Timestamp
from api.openapi import BODY_ERRORS, answers, request_body
from api.query import Page, PerPage
from api.services import ServicesDep
from api.times import iso
from executions.errors import BadRequest, Detail, NotFound
from storage import audit, host_keys
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.errors import NotFound as NoSuchRow
from storage.host_keys import HostKeyRow

router = APIRouter(prefix="/api/host-keys", tags=["host keys"])

KeyId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$", description="Id of the stored key.")]


class HostKeyTrust(Body):
    """A key that the SSH server at this host and port may show from now on."""

    host: str = Field(pattern=HOST_NAME, max_length=253, description="As playbooks name it: a name or an address.")
    port: int = Field(22, ge=1, le=65535)
    key: str = Field(
        min_length=1, max_length=16 * 1024, description="The public key, as in a .pub file: ssh-ed25519 AAAA…"
    )
    replace: bool = Field(False, description="Forget every other key of this host and port.")


class HostKeyAnswer(Answer):
    """A key that counts."""

    id: str
    host: str
    port: int
    algorithm: str
    fingerprint: str = Field(description="SHA256:…, as ssh-keygen -l shows it.")
    key: str
    created_at: Timestamp
    created_by: str


@router.post(
    "",
    name="host_key.trust",
    status_code=201,
    dependencies=[guard("host:write")],
    responses=answers(*BODY_ERRORS),
    openapi_extra=request_body(HostKeyTrust),
)
async def trust_host_key(request: Request, services: ServicesDep, principal: CurrentPrincipal) -> HostKeyAnswer:
    """Trust a key; one that is trusted already stays as it is."""
    body = await read_json(request, HostKeyTrust)
    try:
        new = host_keys.new_host_key(body.host, body.port, body.key, created_at=now_ms(), created_by=principal.id)
    except ValueError as error:
        raise BadRequest("The request has faults.", [Detail("/key", str(error))]) from error
    details = {"host": new.host, "port": new.port, "fingerprint": new.fingerprint, "replace": body.replace}
    entry = services.journal.entry(request, "host_key.trust", "host_key", new.id, details)
    row = await services.database.write(_trust, new, body.replace, entry)
    return HostKeyAnswer(**_fields(row))


@router.get("", name="host_key.list", dependencies=[guard("host:read")], responses=answers())
async def list_host_keys(
    services: ServicesDep,
    host: Annotated[str | None, Query(max_length=253, description="Keys of this host only.")] = None,
    port: Annotated[int | None, Query(ge=1, le=65535, description="Keys of this port only.")] = None,
    page: Page = 1,
    per_page: PerPage = 20,
) -> Listing[HostKeyAnswer]:
    """List the keys that count, by host and port."""
    rows, total = await services.database.read(
        host_keys.list_host_keys, host=host, port=port, page=page, per_page=per_page
    )
    return Listing(
        data=[HostKeyAnswer(**_fields(row)) for row in rows], meta=Meta(total=total, page=page, per_page=per_page)
    )


@router.delete(
    "/{key_id}", name="host_key.forget", status_code=204, dependencies=[guard("host:write")], responses=answers(404)
)
async def forget_host_key(request: Request, services: ServicesDep, key_id: KeyId) -> Response:
    """Forget a key: from now on a server that shows it is not spoken to."""
    entry = services.journal.entry(request, "host_key.forget", "host_key", key_id)
    try:
        await services.database.write(_forget, key_id, entry)
    except NoSuchRow as error:
        raise NotFound(f"There is no host key {key_id}.") from error
    return Response(status_code=204)


def _trust(connection: Connection, new: HostKeyRow, replace: bool, entry: NewAudit) -> HostKeyRow:
    row, _ = host_keys.trust(connection, new, replace)
    audit.append(connection, entry)
    return row


def _forget(connection: Connection, key_id: str, entry: NewAudit) -> None:
    host_keys.forget(connection, key_id)
    audit.append(connection, entry)


def _fields(row: HostKeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "host": row.host,
        "port": row.port,
        "algorithm": row.algorithm,
        "fingerprint": row.fingerprint,
        "key": row.key,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
    }
