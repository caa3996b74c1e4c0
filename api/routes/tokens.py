"""Tokens: minted, listed, revoked.  A token is shown once, when it is made; only its hash is kept."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from api.auth import CurrentPrincipal, guard
from api.body import PRINTABLE, Body, read_json
from api.labels import LIMITABLE
from api.models import Answer, Listing, Meta, Timestamp
from api.openapi import BODY_ERRORS, answers, request_body
from api.query import Page, PerPage
from api.services import ServicesDep
from api.times import iso, parse_iso
from api.tokens import Permission, new_token, token_hash
from executions.errors import BadRequest, Detail, NotFound
from playbooks.record import Json
from storage import audit, tokens
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.errors import NotFound as NoSuchRow
from storage.limits import Limits
from storage.tokens import NewToken, TokenRow

router = APIRouter(prefix="/api/tokens", tags=["tokens"], dependencies=[guard("token:admin")])

TokenId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$", description="Id of the token, not the token itself.")]


Labels = Annotated[list[Annotated[str, Field(min_length=1, max_length=700)]], Field(max_length=100)]


class TokenLimits(Body):
    """What a token is limited to.  What it does not name is answered with 404, as if it did not exist.

    Labels are looked at as they are at the time of a request. A run of a playbook that is seen may start sub-playbooks
    that are not. The Phantom interface refuses a limited token.
    """

    playbooks: Labels = Field(default_factory=list, description="Slugs or ids of playbooks.")
    playbook_tags: Labels = Field(
        default_factory=list,
        description="Tags; a playbook that has one of them is seen, beside those of `playbooks`. With neither, all.",
    )
    asset_tags: Labels = Field(
        default_factory=list, description="`key` or `key=value`; an asset that has one of them is seen. With none, all."
    )


class TokenLimitsAnswer(Answer):
    """What a token is limited to."""

    playbooks: list[str]
    playbook_tags: list[str]
    asset_tags: list[str]


class TokenCreate(Body):
    """A new token.  Who may make tokens may give any permission."""

    name: str = Field(min_length=1, max_length=200, pattern=PRINTABLE)
    permissions: list[Permission] = Field(min_length=1, max_length=20)
    expires_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        None, description="RFC 3339, in the future; absent or null: the token does not expire."
    )
    limits: TokenLimits | None = Field(
        None,
        description="Limits the token to playbooks and assets by their labels. Such a token may only have "
        "`playbook:read`, `playbook:execute` and `asset:read`: who can write could widen the limits.",
    )


class TokenAnswer(Answer):
    """A token, without its secret."""

    limits: TokenLimitsAnswer | None

    id: str
    name: str
    permissions: list[Permission]
    created_at: Timestamp
    created_by: str
    expires_at: Timestamp | None
    revoked_at: Timestamp | None


class TokenCreated(TokenAnswer):
    """A token that was just made; ``token`` is shown this once."""

    token: str


@router.post(
    "",
    name="token.create",
    status_code=201,
    responses=answers(*BODY_ERRORS),
    openapi_extra=request_body(TokenCreate),
)
async def create_token(request: Request, services: ServicesDep, principal: CurrentPrincipal) -> TokenCreated:
    """Make a token; the answer shows it, and nothing ever shows it again."""
    body = await read_json(request, TokenCreate)
    created_at = now_ms()
    expires_at = _expiry(body.expires_at, created_at)
    token = new_token()
    new = NewToken(
        id=str(uuid.uuid4()),
        name=body.name,
        hash=token_hash(token),
        permissions=sorted(set(body.permissions)),
        created_at=created_at,
        created_by=principal.id,
        expires_at=expires_at,
        limits=_limits(body),
    )
    details: dict[str, Json] = {"name": body.name, "permissions": list(new.permissions), "limits": new.limits}
    entry = services.journal.entry(request, "token.create", "token", new.id, details)
    row = await services.database.write(_create, new, entry)
    return TokenCreated(**_fields(row), token=token)


@router.get("", name="token.list", responses=answers())
async def list_tokens(services: ServicesDep, page: Page = 1, per_page: PerPage = 20) -> Listing[TokenAnswer]:
    """List the tokens, newest first, revoked ones too."""
    rows, total = await services.database.read(tokens.list_tokens, page=page, per_page=per_page)
    return Listing(
        data=[TokenAnswer(**_fields(row)) for row in rows], meta=Meta(total=total, page=page, per_page=per_page)
    )


@router.delete("/{token_id}", name="token.revoke", status_code=204, responses=answers(404))
async def revoke_token(request: Request, services: ServicesDep, token_id: TokenId) -> Response:
    """Revoke a token, at once; another process of the API may honour it for one second more."""
    entry = services.journal.entry(request, "token.revoke", "token", token_id)
    try:
        await services.database.write(_revoke, token_id, entry)
    except NoSuchRow as error:
        raise NotFound(f"There is no token {token_id}, or it is revoked already.") from error
    services.tokens.forget(token_id)
    return Response(status_code=204)


def _limits(body: TokenCreate) -> dict[str, Json] | None:
    if body.limits is None:
        return None
    limits = Limits(**{name: tuple(dict.fromkeys(labels)) for name, labels in body.limits.model_dump().items()})
    if limits == Limits():
        raise BadRequest("The limits limit nothing.", [Detail("/limits", "name playbooks, tags, or leave it out")])
    too_much = sorted(set(body.permissions) - LIMITABLE)
    if too_much:
        may = ", ".join(sorted(LIMITABLE))
        raise BadRequest(
            f"A limited token cannot have the permission {' or '.join(too_much)}.",
            [Detail("/permissions", f"with limits: {may}")],
        )
    return limits.as_json()


def _expiry(text: str | None, now: int) -> int | None:
    if text is None:
        return None
    try:
        moment = parse_iso(text)
    except ValueError as error:
        raise BadRequest("The request has faults.", [Detail("/expires_at", str(error))]) from error
    if moment <= now:
        raise BadRequest("The token would have expired already.", [Detail("/expires_at", "must be in the future")])
    return moment


def _create(connection: Connection, new: NewToken, entry: NewAudit) -> TokenRow:
    row = tokens.create(connection, new)
    audit.append(connection, entry)
    return row


def _revoke(connection: Connection, token_id: str, entry: NewAudit) -> None:
    tokens.revoke(connection, token_id, now_ms())
    audit.append(connection, entry)


def _fields(row: TokenRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "permissions": list(row.permissions),
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at),
        "limits": row.limits,
    }
