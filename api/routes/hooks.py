"""Hooks: addresses at which other systems start a playbook, and what arrives there."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from api.auth import CurrentPrincipal, guard
from api.body import PRINTABLE, Body, parse_body, read_bytes, read_json
from api.errors import Unauthorized
from api.execution_models import ExecutionAnswer
from api.models import JSON_VALUE, Answer, Listing, Meta, Timestamp
from api.openapi import BODY_ERRORS, REF, answers, request_body
from api.paths import PLAYBOOK_PATH, PlaybookId
from api.query import Page, PerPage, refuse_unknown_query
from api.routes.executions import EXECUTIONS, execution_answer
from api.services import Services, ServicesDep
from api.times import iso
from api.tokens import Principal, new_token, token_hash
from executions import signatures
from executions.errors import BadRequest, Conflict, Detail, NotFound
from executions.receiving import PRINCIPAL, Delivery
from executions.signatures import BadSignature, Scheme
from playbooks.record import Json
from playbooks.triggers import takes_webhooks
from storage import audit, hooks, playbooks
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.errors import NotFound as NoSuchRow
from storage.hooks import HookRow, NewHook
from storage.playbooks import PlaybookRow

router = APIRouter(tags=["hooks"])

HOOKS = "/api/hooks/"
ANY_JSON = {"$ref": REF.format(model=JSON_VALUE)}
OF_PLAYBOOK = PLAYBOOK_PATH + "/hooks"

HookId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$", description="Id of the hook, not its token.")]
HookToken = Annotated[str, Path(min_length=1, max_length=200, description="The token of the hook.")]


class HookCreate(Body):
    """A new hook."""

    name: str = Field(min_length=1, max_length=200, pattern=PRINTABLE)
    signature: Scheme = Field(
        "standard",
        description="How deliveries are signed: `standard` (Standard Webhooks: webhook-id, webhook-timestamp, "
        "webhook-signature), `github` (X-Hub-Signature-256), `none` (the address alone is the secret).",
    )
    secret: str | None = Field(
        None, max_length=256, description="A secret of the sender's own; absent: a new one is made and shown once."
    )


class HookAnswer(Answer):
    """A hook, without its token and its secret."""

    id: str
    playbook_id: str
    name: str
    signature: Scheme
    created_at: Timestamp
    created_by: str


class HookCreated(HookAnswer):
    """A hook that was just made; ``token``, ``url`` and ``secret`` are shown this once."""

    token: str
    url: str = Field(description="Path of the address to which deliveries are posted.")
    secret: str | None


class Skipped(Answer):
    """A delivery that the conditions of the playbook's trigger do not fit; nothing was started."""

    status: Literal["skipped"]
    message: str


@router.post(
    OF_PLAYBOOK,
    name="hook.create",
    status_code=201,
    responses=answers(404, 409, *BODY_ERRORS),
    openapi_extra=request_body(HookCreate),
    dependencies=[guard("playbook:write")],
)
async def create_hook(
    request: Request, services: ServicesDep, principal: CurrentPrincipal, playbook_id: PlaybookId
) -> HookCreated:
    """Make a hook for a playbook whose trigger is `webhook`, or an event such as `finding.created`.

    The answer shows its token and the secret with which deliveries are signed; nothing ever shows them again.
    """
    body = await read_json(request, HookCreate)
    row = await _playbook(services, playbook_id)
    if not takes_webhooks(str(row.trigger.get("event"))):
        raise Conflict(
            f"The playbook {row.slug} takes no webhooks.",
            [Detail("/trigger/event", "must be webhook, or an event such as finding.created")],
        )
    secret = _secret(body)
    token = new_token()
    hook_id = str(uuid.uuid4())
    new = NewHook(
        id=hook_id,
        playbook_id=row.id,
        name=body.name,
        token_hash=token_hash(token),
        signature=body.signature,
        secret=None if secret is None else services.receiver.sealer.seal(secret, hook_id),
        created_at=now_ms(),
        created_by=principal.id,
    )
    entry = services.journal.entry(request, "hook.create", "hook", new.id, {"name": body.name, "playbook_id": row.id})
    stored = await services.database.write(_create, new, entry)
    return HookCreated(**_fields(stored), token=token, url=HOOKS + token, secret=secret)


@router.get(OF_PLAYBOOK, name="hook.list", responses=answers(404), dependencies=[guard("playbook:read")])
async def list_hooks(
    services: ServicesDep, playbook_id: PlaybookId, page: Page = 1, per_page: PerPage = 20
) -> Listing[HookAnswer]:
    """List the hooks of a playbook, newest first."""
    row = await _playbook(services, playbook_id)
    rows, total = await services.database.read(hooks.list_hooks, row.id, page=page, per_page=per_page)
    return Listing(
        data=[HookAnswer(**_fields(hook)) for hook in rows], meta=Meta(total=total, page=page, per_page=per_page)
    )


@router.delete(
    OF_PLAYBOOK + "/{hook_id}",
    name="hook.delete",
    status_code=204,
    responses=answers(404),
    dependencies=[guard("playbook:write")],
)
async def delete_hook(request: Request, services: ServicesDep, playbook_id: PlaybookId, hook_id: HookId) -> None:
    """Take a hook away, at once."""
    row = await _playbook(services, playbook_id)
    entry = services.journal.entry(request, "hook.delete", "hook", hook_id)
    try:
        await services.database.write(_remove, row.id, hook_id, entry)
    except NoSuchRow as error:
        raise NotFound(f"The playbook {row.slug} has no hook {hook_id}.") from error


@router.post(
    HOOKS + "{token}",
    name="hook.receive",
    status_code=202,
    response_model=ExecutionAnswer,
    responses={
        **answers(404, 409, 422, *BODY_ERRORS),
        200: {"model": Skipped, "description": "The conditions of the trigger do not hold; nothing was started."},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": ANY_JSON}}},
        "security": [],
    },
)
async def receive(request: Request, services: ServicesDep, token: HookToken) -> Response:
    """Take a delivery: its playbook runs on the asset, and with the parameters, that its trigger makes of the payload.

    No token is asked for but the one in the address. 401 when the signature is missing, wrong or older than five
    minutes. 409 `replayed` for a delivery that was taken before, naming the run that it began; 409 `conflict` when the
    playbook runs on the asset already. A delivery that was refused for anything but its signature may be sent again.
    """
    hook = await _hook(request, services, token)
    refuse_unknown_query(request)
    body = await read_bytes(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        replay_key = services.receiver.verify(hook, headers, body)
    except BadSignature as error:
        services.journal.denied(request, request.state.principal, "signature")
        raise Unauthorized(str(error)) from error
    delivery = Delivery(headers, body, await parse_body(request, body))
    entry = services.journal.entry(request, "execution.run", "execution", None, outcome="requested")
    truth = await services.receiver.receive(hook, delivery, replay_key, entry)
    if truth is None:
        skipped = Skipped(status="skipped", message="The conditions of the playbook's trigger do not hold.")
        return JSONResponse(skipped.model_dump(), 200)
    return execution_answer(
        services.executions,
        truth,
        status=202,
        headers={"Location": f"{EXECUTIONS}/{truth.row.id}"},
    )


async def _hook(request: Request, services: Services, token: str) -> HookRow:
    """The hook of the token, which from here on stands in no log and no audit entry."""
    request.scope["path_params"] = {"hook": "unknown"}
    hook = await services.receiver.hook(token_hash(token))
    if services.limiter is not None:
        services.limiter.take(request.scope, f"{PRINCIPAL}{hook.id}" if hook else None)
    if hook is None:
        services.journal.denied(request, None, "unknown hook")
        raise NotFound("There is no such hook.")
    request.scope["path_params"] = {"hook": hook.id}
    request.state.principal = Principal(f"{PRINCIPAL}{hook.id}", hook.name, frozenset())
    return hook


def _secret(body: HookCreate) -> str | None:
    if body.secret is None:
        return signatures.new_secret(body.signature)
    fault = signatures.secret_fault(body.signature, body.secret)
    if fault is not None:
        raise BadRequest("The body does not have the expected form.", [Detail("/secret", fault)])
    return body.secret


async def _playbook(services: Services, playbook_id: str) -> PlaybookRow:
    row = await services.database.read(playbooks.get, playbook_id)
    if row is None:
        raise NotFound(f"There is no playbook {playbook_id}.")
    return row


def _create(connection: Connection, new: NewHook, entry: NewAudit) -> HookRow:
    row = hooks.create(connection, new)
    audit.append(connection, entry)  # last: it holds the head of the trail until the commit
    return row


def _remove(connection: Connection, playbook_id: str, hook_id: str, entry: NewAudit) -> None:
    hooks.remove(connection, playbook_id, hook_id, now_ms())
    audit.append(connection, entry)


def _fields(row: HookRow) -> dict[str, Any]:
    fields: dict[str, Json] = {
        name: getattr(row, name) for name in ("id", "playbook_id", "name", "signature", "created_by")
    }
    return {**fields, "created_at": iso(row.created_at)}
