"""Assets: what playbooks run on."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator, Field, WithJsonSchema
from sqlalchemy import Connection
from starlette.responses import Response

from api.auth import CurrentPrincipal, guard
from api.body import PRINTABLE, Body, read_json
from api.models import Answer, AnyValue, JsonObject, Listing, Meta, Timestamp
from api.openapi import BODY_ERRORS, answers, request_body
from api.query import Page, PerPage
from api.services import ServicesDep
from api.times import iso
from executions.errors import BadRequest, Conflict, Detail, NotFound
from storage import assets, audit
from storage.assets import AssetRow, NewAsset
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.errors import NotFound as NoSuchRow
from storage.errors import Taken
from storage.limits import seen_assets

router = APIRouter(prefix="/api/assets", tags=["assets"])

HOSTNAME = r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*$"
ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

AssetId = Annotated[str, Path(pattern=ID, description="Id of the asset.")]
_TAG_NAME: dict[str, Any] = {"minLength": 1, "maxLength": 128, "pattern": PRINTABLE}
_TAG_VALUE: dict[str, Any] = {"maxLength": 512, "pattern": r"^[^\x00-\x1f\x7f]*$"}
MAX_TAGS = 64

Tags = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=128, pattern=PRINTABLE)],
        Annotated[str, Field(max_length=512, pattern=_TAG_VALUE["pattern"])],
    ],
    Field(max_length=MAX_TAGS),
    # Pydantic would name the keys' pattern in a way that allows every other key too.
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MAX_TAGS,
            "propertyNames": _TAG_NAME,
            "additionalProperties": {"type": "string", **_TAG_VALUE},
        }
    ),
]


def _ip(text: str) -> str:
    return str(ipaddress.ip_address(text))


Address = Annotated[
    str,
    Field(
        max_length=45,
        json_schema_extra={"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]},
    ),
    AfterValidator(_ip),
]


class AssetContent(Body):
    """An asset as it is written; ``PUT`` replaces all of it."""

    name: str = Field(min_length=1, max_length=200, pattern=PRINTABLE, examples=["web-01"])
    type: str = Field(min_length=1, max_length=64, pattern=PRINTABLE, examples=["host"])
    hostname: str | None = Field(None, max_length=253, pattern=HOSTNAME, examples=["web-01.example.com"])
    ip: Address | None = Field(None, examples=["192.0.2.10"])
    url: str | None = Field(None, max_length=2000, pattern=r"^https?://[!-~]+$", examples=["https://example.com/"])
    tags: Tags = Field(default_factory=dict, examples=[{"env": "prod"}])
    attributes: JsonObject = Field(default_factory=dict, description="Anything else; playbooks can read it.")


class AssetCreate(AssetContent):
    """A new asset; an ``id`` that is free is kept."""

    id: str | None = Field(None, pattern=ID, examples=["a1b2c3d4-e5f6-7890-abcd-ef1234567890"])


class AssetReplace(AssetCreate):
    """An asset as it shall be from now on; an answer of this interface can be changed and sent back."""

    created_at: str | None = Field(None, description="Ignored.")
    updated_at: str | None = Field(None, description="Ignored.")


class AssetAnswer(Answer):
    """An asset."""

    id: str
    name: str
    type: str
    hostname: str | None
    ip: str | None
    url: str | None
    tags: dict[str, str]
    attributes: dict[str, AnyValue]
    created_at: Timestamp
    updated_at: Timestamp


@router.post(
    "",
    name="asset.create",
    status_code=201,
    responses=answers(409, *BODY_ERRORS),
    openapi_extra=request_body(AssetCreate),
    dependencies=[guard("asset:write")],
)
async def create_asset(request: Request, response: Response, services: ServicesDep) -> AssetAnswer:
    """Add an asset."""
    body = await read_json(request, AssetCreate)
    asset_id = body.id or str(uuid.uuid4())
    entry = services.journal.entry(request, "asset.create", "asset", asset_id, {"name": body.name})
    try:
        row = await services.database.write(_create, asset_id, body, entry)
    except Taken as error:
        raise Conflict(f"There is an asset {asset_id} already.", [Detail("/id", "this id is taken")]) from error
    response.headers["Location"] = f"/api/assets/{row.id}"
    return _answer(row)


@router.get("", name="asset.list", responses=answers(), dependencies=[guard("asset:read")])
async def list_assets(
    services: ServicesDep,
    principal: CurrentPrincipal,
    search: Annotated[str | None, Query(max_length=200, description="Part of name, hostname, ip or url.")] = None,
    kind: Annotated[str | None, Query(alias="type", max_length=64, description="Exactly this type.")] = None,
    tag: Annotated[
        str | None, Query(max_length=700, description="`key`: has this tag; `key=value`: with this value.")
    ] = None,
    page: Page = 1,
    per_page: PerPage = 20,
) -> Listing[AssetAnswer]:
    """List the assets, by name."""
    rows, total = await services.database.read(
        assets.list_assets,
        search=search,
        type=kind,
        tag=tag,
        page=page,
        per_page=per_page,
        seen=None if principal.limits is None else seen_assets(principal.limits),
    )
    return Listing(data=[_answer(row) for row in rows], meta=Meta(total=total, page=page, per_page=per_page))


@router.get("/{asset_id}", name="asset.read", responses=answers(404), dependencies=[guard("asset:read")])
async def read_asset(services: ServicesDep, asset_id: AssetId) -> AssetAnswer:
    """Read one asset."""
    row = await services.database.read(assets.get, asset_id)
    if row is None:
        raise _unknown(asset_id)
    return _answer(row)


@router.put(
    "/{asset_id}",
    name="asset.replace",
    responses=answers(404, *BODY_ERRORS),
    openapi_extra=request_body(AssetReplace),
    dependencies=[guard("asset:write")],
)
async def replace_asset(request: Request, services: ServicesDep, asset_id: AssetId) -> AssetAnswer:
    """Replace an asset; runs that are under way keep the one that they started with."""
    body = await read_json(request, AssetReplace)
    if body.id not in (None, asset_id):
        raise BadRequest("The id of an asset cannot change.", [Detail("/id", f"must be {asset_id}, or absent")])
    entry = services.journal.entry(request, "asset.replace", "asset", asset_id, {"name": body.name})
    try:
        return _answer(await services.database.write(_replace, asset_id, body, entry))
    except NoSuchRow as error:
        raise _unknown(asset_id) from error


@router.delete(
    "/{asset_id}",
    name="asset.delete",
    status_code=204,
    responses=answers(404),
    dependencies=[guard("asset:write")],
)
async def delete_asset(request: Request, services: ServicesDep, asset_id: AssetId) -> None:
    """Delete an asset; its executions stay readable, and one that runs goes on with what it knows of the asset."""
    entry = services.journal.entry(request, "asset.delete", "asset", asset_id)
    try:
        await services.database.write(_delete, asset_id, entry)
    except NoSuchRow as error:
        raise _unknown(asset_id) from error


def _create(connection: Connection, asset_id: str, body: AssetContent, entry: NewAudit) -> AssetRow:
    row = assets.create(connection, _new(asset_id, body))
    audit.append(connection, entry)
    return row


def _replace(connection: Connection, asset_id: str, body: AssetContent, entry: NewAudit) -> AssetRow:
    row = assets.replace(connection, asset_id, _new(asset_id, body))
    audit.append(connection, entry)
    return row


def _delete(connection: Connection, asset_id: str, entry: NewAudit) -> None:
    assets.delete(connection, asset_id, now_ms())
    audit.append(connection, entry)


def _new(asset_id: str, body: AssetContent) -> NewAsset:
    return NewAsset(
        id=asset_id,
        name=body.name,
        type=body.type,
        hostname=body.hostname,
        ip=body.ip,
        url=body.url,
        tags=body.tags,
        attributes=body.attributes,
        at=now_ms(),
    )


def _answer(row: AssetRow) -> AssetAnswer:
    return AssetAnswer(
        id=row.id,
        name=row.name,
        type=row.type,
        hostname=row.hostname,
        ip=row.ip,
        url=row.url,
        tags=dict(row.tags),
        attributes=dict(row.attributes),
        created_at=iso(row.created_at),
        updated_at=iso(row.updated_at),
    )


def _unknown(asset_id: str) -> NotFound:
    return NotFound(f"There is no asset {asset_id}.")
