"""Users, who log in to the Phantom interface with a name and a password: made, listed, removed."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from api.auth import guard
from api.body import Body, read_json
from api.models import Answer, Listing, Meta, Timestamp
from api.openapi import BODY_ERRORS, answers, request_body
from api.phantom.passwords import MAX_LENGTH, hashed
from api.query import Page, PerPage
from api.services import ServicesDep
from api.times import iso
from api.tokens import Permission
from executions.errors import Conflict, Detail, NotFound
from storage import audit
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.errors import NotFound as NoSuchRow
from storage.errors import Taken
from storage.phantom import users
from storage.phantom.users import UserRow

router = APIRouter(prefix="/api/users", tags=["users"], dependencies=[guard("token:admin")])

UserId = Annotated[int, Path(ge=1, le=2_147_483_647, description="Number of the user.")]


class UserCreate(Body):
    """A new user.  Who may make users may give any permission."""

    username: str = Field(min_length=1, max_length=150, pattern=r"^[A-Za-z0-9_.@+-]+$")
    password: str = Field(min_length=8, max_length=MAX_LENGTH, json_schema_extra={"writeOnly": True})
    permissions: list[Permission] = Field(min_length=1, max_length=20)


class UserAnswer(Answer):
    """A user, without the password."""

    id: int
    username: str
    permissions: list[Permission]
    created_at: Timestamp


@router.post(
    "",
    name="user.create",
    status_code=201,
    responses=answers(409, *BODY_ERRORS),
    openapi_extra=request_body(UserCreate),
)
async def create_user(request: Request, services: ServicesDep) -> UserAnswer:
    """Make a user; the name of a user that was removed is not given again."""
    body = await read_json(request, UserCreate)
    digest = await asyncio.to_thread(hashed, body.password)
    permissions = sorted(set(body.permissions))
    entry = services.journal.entry(
        request, "user.create", "user", body.username, {"permissions": list[str](permissions)}
    )
    try:
        row = await services.database.write(_create, body.username, digest, permissions, entry)
    except Taken as error:
        message = f"There is a user {body.username} already, or there was one."
        raise Conflict(message, [Detail("/username", "this name is taken")]) from error
    return _answer(row)


@router.get("", name="user.list", responses=answers())
async def list_users(services: ServicesDep, page: Page = 1, per_page: PerPage = 20) -> Listing[UserAnswer]:
    """List the users."""
    rows, total = await services.database.read(users.list_users, page=page, per_page=per_page)
    return Listing(data=[_answer(row) for row in rows], meta=Meta(total=total, page=page, per_page=per_page))


@router.delete("/{user_id}", name="user.delete", status_code=204, responses=answers(404))
async def delete_user(request: Request, services: ServicesDep, user_id: UserId) -> Response:
    """Remove a user, at once."""
    entry = services.journal.entry(request, "user.delete", "user", str(user_id))
    try:
        await services.database.write(_remove, user_id, entry)
    except NoSuchRow as error:
        raise NotFound(f"There is no user {user_id}.") from error
    services.phantom.forget()
    return Response(status_code=204)


def _create(
    connection: Connection, username: str, digest: str, permissions: list[Permission], entry: NewAudit
) -> UserRow:
    row = users.create(connection, username, digest, permissions, entry.at)
    audit.append(connection, entry)
    return row


def _remove(connection: Connection, number: int, entry: NewAudit) -> None:
    users.remove(connection, number, now_ms())
    audit.append(connection, entry)


def _answer(row: UserRow) -> UserAnswer:
    return UserAnswer(id=row.id, username=row.username, permissions=row.permissions, created_at=iso(row.created_at))
