"""Playbooks: stored, listed, read, replaced, deleted, and their revisions."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from api.auth import CurrentPrincipal, guard
from api.definitions import compile_body, definition_body, new_playbook
from api.models import ANY, Answer, AnyValue, Listing, Meta, Timestamp
from api.openapi import BODY_ERRORS, answers
from api.paths import PlaybookId, RevisionNumber
from api.query import Page, PerPage
from api.services import Services, ServicesDep
from api.times import iso
from engine.errors import TemporalUnavailable
from executions.errors import BadRequest, Conflict, Detail, NotFound
from playbooks.record import Json
from playbooks.triggers import MANUAL
from storage import audit, executions, playbooks
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.errors import NotFound as NoSuchRow
from storage.errors import Taken
from storage.limits import seen_playbooks
from storage.playbooks import NewPlaybook, PlaybookRow, RevisionRow

router = APIRouter(prefix="/api/playbooks", tags=["playbooks"])

log = structlog.get_logger(__name__)

NAMED = "/{playbook_id:playbook}"
"""Path of one playbook: see ``api.paths`` for the words that are no playbook."""


class PlaybookSummary(Answer):
    """A playbook, as it stands in the list."""

    id: str
    slug: str
    name: str
    version: str
    revision: int
    description: str
    trigger: dict[str, AnyValue]
    step_count: int
    tags: list[str]
    created_at: Timestamp
    updated_at: Timestamp


class PlaybookAnswer(BaseModel):
    """The definition as it was stored, with every field that it had, and what the service knows of it besides."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": ANY})

    id: str
    slug: str
    name: str
    revision: int
    version: str = ""
    description: str = ""
    tags: list[str] = Field(default_factory=list)
    trigger: dict[str, AnyValue] = Field(default_factory=dict)
    parameters: dict[str, AnyValue] = Field(description="JSON Schema of what a run accepts.")
    steps: list[dict[str, AnyValue]]
    created_at: Timestamp
    updated_at: Timestamp


class RevisionAnswer(Answer):
    """One revision of a playbook: what it said at some time."""

    revision: int
    version: str
    created_at: Timestamp
    created_by: str


class Valid(Answer):
    """The definition has no fault."""

    valid: bool


@router.post(
    "",
    name="playbook.create",
    status_code=201,
    response_model=PlaybookAnswer,
    responses=answers(409, *BODY_ERRORS),
    openapi_extra=definition_body(),
    dependencies=[guard("playbook:write")],
)
async def create_playbook(request: Request, services: ServicesDep, principal: CurrentPrincipal) -> Response:
    """Store a playbook, sent as JSON or as YAML; all its faults are told at once, each with its place."""
    source = await compile_body(request)
    playbook_id = source.compiled.id or f"pb-{uuid.uuid4()}"
    new = new_playbook(source, playbook_id, principal.id)
    entry = services.journal.entry(request, "playbook.create", "playbook", playbook_id, {"name": new.name})
    try:
        row, revision = await services.database.write(_create, new, entry)
    except Taken as error:
        raise _taken(error, new) from error
    await _follow(services, row, {})
    return _whole(row, revision, status=201, headers={"Location": f"/api/playbooks/{row.id}"})


@router.post(
    "/validate",
    name="playbook.validate",
    responses=answers(*BODY_ERRORS),
    openapi_extra=definition_body(),
    dependencies=[guard("playbook:write")],
)
async def validate_playbook(request: Request) -> Valid:
    """Check a definition as if it were stored; nothing is stored."""
    await compile_body(request)
    return Valid(valid=True)


@router.get("", name="playbook.list", responses=answers(), dependencies=[guard("playbook:read")])
async def list_playbooks(
    services: ServicesDep,
    principal: CurrentPrincipal,
    search: Annotated[str | None, Query(max_length=200, description="Part of name, slug or description.")] = None,
    tag: Annotated[str | None, Query(max_length=200, description="Exactly this tag.")] = None,
    page: Page = 1,
    per_page: PerPage = 20,
) -> Listing[PlaybookSummary]:
    """List the playbooks, by name."""
    seen = None if principal.limits is None else seen_playbooks(principal.limits)
    rows, total = await services.database.read(
        playbooks.list_playbooks, search=search, tag=tag, page=page, per_page=per_page, seen=seen
    )
    return Listing(data=[_summary(row) for row in rows], meta=Meta(total=total, page=page, per_page=per_page))


@router.get(
    NAMED,
    name="playbook.read",
    response_model=PlaybookAnswer,
    responses=answers(404),
    dependencies=[guard("playbook:read")],
)
async def read_playbook(services: ServicesDep, playbook_id: PlaybookId) -> Response:
    """Read a playbook's definition; `parameters` is the JSON Schema of what a run accepts."""
    row, revision = await _read(services, playbook_id)
    return _whole(row, revision)


@router.put(
    NAMED,
    name="playbook.replace",
    response_model=PlaybookAnswer,
    responses=answers(404, 409, *BODY_ERRORS),
    openapi_extra=definition_body(),
    dependencies=[guard("playbook:write")],
)
async def replace_playbook(
    request: Request, services: ServicesDep, principal: CurrentPrincipal, playbook_id: PlaybookId
) -> Response:
    """Store a new revision; runs that are under way keep theirs."""
    source = await compile_body(request, await services.database.read(playbooks.get, playbook_id))
    row, _ = await _read(services, playbook_id)
    before = row.trigger
    if source.compiled.id not in (None, row.id):
        raise BadRequest("The id of a playbook cannot change.", [Detail("/id", f"must be {row.id}, or absent")])
    new = new_playbook(source, row.id, principal.id)
    entry = services.journal.entry(request, "playbook.replace", "playbook", row.id, {"name": new.name})
    try:
        row, revision = await services.database.write(_replace, new, entry)
    except Taken as error:
        raise _taken(error, new) from error
    except NoSuchRow as error:
        raise _unknown(playbook_id) from error
    await _follow(services, row, before)
    return _whole(row, revision)


@router.delete(
    NAMED,
    name="playbook.delete",
    status_code=204,
    responses=answers(404, 409),
    dependencies=[guard("playbook:write")],
)
async def delete_playbook(request: Request, services: ServicesDep, playbook_id: PlaybookId) -> None:
    """Delete a playbook; its executions stay readable, and while one of them runs the answer is 409."""
    row, _ = await _read(services, playbook_id)
    entry = services.journal.entry(request, "playbook.delete", "playbook", row.id, {"name": row.name})
    try:
        await services.database.write(_delete, row.id, entry)
    except NoSuchRow as error:
        raise _unknown(playbook_id) from error
    await _follow(services, replace(row, trigger={"event": MANUAL}), row.trigger)


@router.get(
    NAMED + "/revisions",
    name="playbook.revisions",
    responses=answers(404),
    dependencies=[guard("playbook:read")],
)
async def list_revisions(
    services: ServicesDep, playbook_id: PlaybookId, page: Page = 1, per_page: PerPage = 20
) -> Listing[RevisionAnswer]:
    """List the revisions of a playbook, newest first."""
    row, _ = await _read(services, playbook_id)
    revisions, total = await services.database.read(playbooks.list_revisions, row.id, page=page, per_page=per_page)
    data = [
        RevisionAnswer(
            revision=revision.revision,
            version=revision.version,
            created_at=iso(revision.created_at),
            created_by=revision.created_by,
        )
        for revision in revisions
    ]
    return Listing(data=data, meta=Meta(total=total, page=page, per_page=per_page))


@router.get(
    NAMED + "/revisions/{number}",
    name="playbook.revision",
    response_model=PlaybookAnswer,
    responses=answers(404),
    dependencies=[guard("playbook:read")],
)
async def read_revision(services: ServicesDep, playbook_id: PlaybookId, number: RevisionNumber) -> Response:
    """Read a playbook as it was in one of its revisions; `updated_at` is when that revision was stored."""
    row, _ = await _read(services, playbook_id)
    revision = await services.database.read(playbooks.get_revision, row.id, number)
    if revision is None:
        raise NotFound(f"The playbook {row.id} has no revision {number}.")
    return _whole(row, revision)


async def _follow(services: Services, row: PlaybookRow, before: dict[str, Json]) -> None:
    """Has Temporal's schedule follow the stored playbook; where Temporal is away, the sweep does it later."""
    try:
        await services.timetables.follow(row, before)
    except TemporalUnavailable as error:
        log.warning("the schedule follows later", playbook_id=row.id, reason=str(error))


def _create(connection: Connection, new: NewPlaybook, entry: NewAudit) -> tuple[PlaybookRow, RevisionRow]:
    row = playbooks.create(connection, new)
    audit.append(connection, entry)
    return row, _revision(connection, row)


def _replace(connection: Connection, new: NewPlaybook, entry: NewAudit) -> tuple[PlaybookRow, RevisionRow]:
    row = playbooks.replace(connection, new.id, new)
    audit.append(connection, entry)
    return row, _revision(connection, row)


def _delete(connection: Connection, playbook_id: str, entry: NewAudit) -> None:
    playbooks.lock(connection, playbook_id)  # a run that is about to start holds it, and is seen then
    if executions.has_open(connection, playbook_id):
        raise Conflict("An execution of this playbook is under way; cancel it, or wait for its end.")
    playbooks.delete(connection, playbook_id, now_ms())
    audit.append(connection, entry)


async def _read(services: Services, playbook_id: str) -> tuple[PlaybookRow, RevisionRow]:
    found = await services.database.read(_find, playbook_id)
    if found is None:
        raise _unknown(playbook_id)
    return found


def _find(connection: Connection, playbook_id: str) -> tuple[PlaybookRow, RevisionRow] | None:
    row = playbooks.get(connection, playbook_id)
    return None if row is None else (row, _revision(connection, row))


def _revision(connection: Connection, row: PlaybookRow) -> RevisionRow:
    revision = playbooks.get_revision(connection, row.id, row.revision)
    assert revision is not None, "every playbook has the row of its revision"
    return revision


def _summary(row: PlaybookRow) -> PlaybookSummary:
    return PlaybookSummary(
        id=row.id,
        slug=row.slug,
        name=row.name,
        version=row.version,
        revision=row.revision,
        description=row.description,
        trigger=row.trigger,
        step_count=row.step_count,
        tags=list(row.tags),
        created_at=iso(row.created_at),
        updated_at=iso(row.updated_at),
    )


def _whole(
    row: PlaybookRow, revision: RevisionRow, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    answer: dict[str, Any] = {
        **revision.definition,
        "id": row.id,
        "slug": row.slug,
        "revision": revision.revision,
        "parameters": revision.parameters_schema,
        "created_at": iso(row.created_at),
        "updated_at": iso(revision.created_at),
    }
    return JSONResponse(answer, status, headers)


def _taken(error: Taken, new: NewPlaybook) -> Conflict:
    if error.field == "slug":
        message = f"There is a playbook {new.slug} already; choose another name."
        return Conflict(message, [Detail("/name", f"gives the slug {new.slug}, which is taken")])
    return Conflict(f"There is a playbook {new.id} already.", [Detail("/id", "this id is taken")])


def _unknown(playbook_id: str) -> NotFound:
    return NotFound(f"There is no playbook {playbook_id}.")
