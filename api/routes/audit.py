"""The audit trail, to read; nothing can change it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.audit import ANONYMOUS
from api.auth import guard
from api.models import Answer, AnyValue, Listing, Meta, Timestamp
from api.openapi import answers
from api.query import Page, PerPage
from api.services import ServicesDep
from api.times import iso, parse_iso
from executions.errors import BadRequest, Detail
from storage import audit

router = APIRouter(prefix="/api/audit", tags=["audit"], dependencies=[guard("audit:read")])


class AuditAnswer(Answer):
    """Who did what to which object, when, from where, with what outcome."""

    id: int
    at: Timestamp
    actor_id: str
    actor_name: str
    action: str
    object_type: str
    object_id: str | None
    outcome: str
    address: str | None
    details: AnyValue
    hash: str = Field(description="SHA-256 over this entry and the hash of the one before; see docs/security.md.")


@router.get("", name="audit.list", responses=answers())
async def list_audit(
    services: ServicesDep,
    actor: Annotated[str | None, Query(max_length=200, description="Id of a token; admin; anonymous.")] = None,
    action: Annotated[str | None, Query(max_length=100, examples=["playbook.create"])] = None,
    object_type: Annotated[str | None, Query(max_length=100, examples=["playbook"])] = None,
    object_id: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[
        str | None, Query(description="RFC 3339; entries from then on.", json_schema_extra={"format": "date-time"})
    ] = None,
    page: Page = 1,
    per_page: PerPage = 20,
) -> Listing[AuditAnswer]:
    """List what was done and what was refused, newest first."""
    rows, total = await services.database.read(
        audit.list_audit,
        actor=actor,
        action=action,
        object_type=object_type,
        object_id=object_id,
        since=_moment(since),
        page=page,
        per_page=per_page,
    )
    data = [
        AuditAnswer(
            id=row.id,
            at=iso(row.at),
            actor_id=row.actor_id or ANONYMOUS,
            actor_name=row.actor_name or ANONYMOUS,
            action=row.action,
            object_type=row.object_type,
            object_id=row.object_id,
            outcome=row.outcome,
            address=row.address,
            details=row.details,
            hash=row.hash,
        )
        for row in rows
    ]
    return Listing(data=data, meta=Meta(total=total, page=page, per_page=per_page))


def _moment(since: str | None) -> int | None:
    try:
        return None if since is None else parse_iso(since)
    except ValueError as error:
        raise BadRequest("The request has faults.", [Detail("/query/since", str(error))]) from error
