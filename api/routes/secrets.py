"""Secrets of playbooks in the database: they are set, listed by name and deleted; nothing ever shows one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import Field
from sqlalchemy import Connection

from activities.secrets import NAME_PATTERN
from api.auth import CurrentPrincipal, guard
from api.body import Body, read_json
from api.models import Answer, Listing, Meta, Timestamp
from api.openapi import BODY_ERRORS, answers, request_body
from api.query import Page, PerPage
from api.services import ServicesDep
from api.times import iso
from engine.sealing import Sealer
from engine.secrets import sealing_context
from executions.errors import Conflict, NotFound
from storage import audit, secrets
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.errors import NotFound as NoSuchRow
from storage.secrets import SecretRow

WRITE = "secret:write"

router = APIRouter(prefix="/api/secrets", tags=["secrets"], dependencies=[guard(WRITE)])

SecretName = Annotated[
    str, Path(pattern=NAME_PATTERN, description="The name after `secrets.` in a playbook: `slack_webhook_url`.")
]


class SecretBody(Body):
    """The value of a secret."""

    value: str = Field(min_length=1, max_length=64 * 1024, pattern=r"^[^\x00]*$", description="Nothing ever shows it.")


class SecretAnswer(Answer):
    """A secret without its value."""

    name: str
    created_at: Timestamp
    updated_at: Timestamp
    updated_by: str


@router.put(
    "/{name}", name="secret.set", responses=answers(404, 409, *BODY_ERRORS), openapi_extra=request_body(SecretBody)
)
async def set_secret(
    request: Request, services: ServicesDep, principal: CurrentPrincipal, name: SecretName
) -> SecretAnswer:
    """Set a secret for playbooks, in the place of an earlier one of this name.

    It is kept encrypted with `STANCHION_ENCRYPTION_KEY`, bound to its name; 409 where that is not set. Workers look
    first into their environment and their folder of secrets, which win over it.
    """
    body = await read_json(request, SecretBody)
    sealer = Sealer.of(services.settings)
    if not sealer.keys:
        raise Conflict("Secrets are kept encrypted only: set STANCHION_ENCRYPTION_KEY for the API and the workers.")
    entry = services.journal.entry(request, "secret.set", "secret", name)
    sealed = sealer.seal(body.value, sealing_context(name))
    row = await services.database.write(_put, name, sealed, principal.id, entry)
    return SecretAnswer(**_fields(row))


@router.get("", name="secret.list", responses=answers())
async def list_secrets(services: ServicesDep, page: Page = 1, per_page: PerPage = 20) -> Listing[SecretAnswer]:
    """List the secrets by name, without their values."""
    rows, total = await services.database.read(secrets.list_secrets, page=page, per_page=per_page)
    return Listing(
        data=[SecretAnswer(**_fields(row)) for row in rows], meta=Meta(total=total, page=page, per_page=per_page)
    )


@router.delete("/{name}", name="secret.delete", status_code=204, responses=answers(404))
async def delete_secret(request: Request, services: ServicesDep, name: SecretName) -> None:
    """Delete a secret; a step that asks for it from now on fails with `unknown_secret`."""
    entry = services.journal.entry(request, "secret.delete", "secret", name)
    try:
        await services.database.write(_remove, name, entry)
    except NoSuchRow as error:
        raise NotFound(f"There is no secret {name}.") from error


def _put(connection: Connection, name: str, sealed: str, by: str, entry: NewAudit) -> SecretRow:
    row = secrets.put(connection, name, sealed, now_ms(), by)
    audit.append(connection, entry)
    return row


def _remove(connection: Connection, name: str, entry: NewAudit) -> None:
    secrets.remove(connection, name)
    audit.append(connection, entry)


def _fields(row: SecretRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
        "updated_by": row.updated_by,
    }
