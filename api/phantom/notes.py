"""What people write beside a container: notes, comments and pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from api.phantom.auth import Caller
from api.phantom.bulk import one_or_many
from api.phantom.given import text
from api.phantom.resources import Resource, with_times
from api.phantom.routing import READ, WRITE, Handler, Rest, number_of
from api.phantom.wire import number_in, read_object
from api.services import Services
from executions.errors import BadRequest, NotFound
from playbooks.record import Json
from storage import audit
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.phantom.containers import COMMENTS, CONTAINERS, NOTES, PINS
from storage.phantom.records import Record, Records
from storage.phantom.users import USERS

rest = Rest()


async def _author(services: Services, row: Record) -> Record:
    user = await services.database.read(USERS.get, int(row.get("author") or row.get("user") or 0))
    name = user["username"] if user else None
    return {"_pretty_author": name, "_pretty_user": name, "author_name": name}


def _note_json(row: Record) -> Record:
    return {**with_times(row), "container_id": row["container"], "note": row["content"]}


NOTE: Final = Resource("note", NOTES, _note_json, _author)
COMMENT: Final = Resource("comment", COMMENTS, with_times, _author)
PIN: Final = Resource("pin", PINS, with_times, _author)


def _put_reads(resource: Resource, paths: Sequence[str], inside: str) -> None:
    async def page(request: Request, services: Services, caller: Caller) -> Json:
        return await resource.page(request, services)

    async def one(request: Request, services: Services, caller: Caller) -> Json:
        return await resource.one(request, services)

    async def of_container(request: Request, services: Services, caller: Caller) -> Json:
        number = number_of(request)
        if await services.database.read(CONTAINERS.get, number) is None:
            raise NotFound(f'Container "{number}" not found')
        return await resource.page(request, services, container=number)

    reads: list[tuple[str, Handler]] = [(f"/container/{{number}}/{inside}", of_container)]
    for path in paths:
        reads += [(path, page), (f"{path}/{{number}}", one)]
    for where, handler in reads:
        rest.route("GET", where, READ)(handler)


for _resource, _paths, _inside in ((NOTE, ("/note", "/container_note"), "notes"),
                                   (COMMENT, ("/container_comment",), "comments"),
                                   (PIN, ("/container_pin",), "pins")):  # fmt: skip
    _put_reads(_resource, _paths, _inside)


@rest.route("POST", "/container_note", WRITE)
@rest.route("POST", "/note", WRITE)
async def write_notes(request: Request, services: Services, caller: Caller) -> Response:
    """Write a note, or several; in an array, an entry with an `id` changes that note."""

    async def create(body: Mapping[str, Json]) -> dict[str, Json]:
        return await _create(request, services, NOTES, "note", _new_note(body, caller))

    return await one_or_many(request, create, partial(_change_note, request, services))


@rest.route("POST", "/container/{number}/notes", WRITE)
async def create_note_in(request: Request, services: Services, caller: Caller) -> Json:
    """Write a note beside this container."""
    body = {**await read_object(request), "container_id": number_of(request)}
    return await _create(request, services, NOTES, "note", _new_note(body, caller))


@rest.route("POST", "/container_note/{number}", WRITE)
@rest.route("POST", "/note/{number}", WRITE)
async def update_note(request: Request, services: Services, caller: Caller) -> Json:
    """Change title, content or format of a note."""
    return await _change_note(request, services, number_of(request), await read_object(request))


@rest.route("DELETE", "/container_note/{number}", WRITE)
@rest.route("DELETE", "/note/{number}", WRITE)
async def delete_note(request: Request, services: Services, caller: Caller) -> Json:
    """Delete a note."""
    return await _delete(request, services, NOTE)


@rest.route("POST", "/container_comment", WRITE)
async def write_comments(request: Request, services: Services, caller: Caller) -> Response:
    """Write a comment, or several."""

    async def create(body: Mapping[str, Json]) -> dict[str, Json]:
        return await _create(request, services, COMMENTS, "comment", _new_comment(body, caller))

    return await one_or_many(request, create)


@rest.route("POST", "/container_pin", WRITE)
async def write_pins(request: Request, services: Services, caller: Caller) -> Response:
    """Pin something to a container, or several things."""

    async def create(body: Mapping[str, Json]) -> dict[str, Json]:
        return await _create(request, services, PINS, "pin", _new_pin(body, caller))

    return await one_or_many(request, create)


@rest.route("DELETE", "/container_pin/{number}", WRITE)
async def delete_pin(request: Request, services: Services, caller: Caller) -> Json:
    """Take a pin away."""
    return await _delete(request, services, PIN)


def _new_note(body: Mapping[str, Json], caller: Caller) -> Record:
    now = now_ms()
    return {
        "container": _container(body),
        "artifact": number_in(body, "artifact_id", "artifact"),
        "author": caller.number,
        "title": text("title", body.get("title", "")),
        "content": text("content", body.get("content", "")),
        "note_type": text("note_type", body.get("note_type", "general")),
        "note_format": text("note_format", body.get("note_format", "html")),
        "phase": number_in(body, "phase_id", "phase"),
        "task": number_in(body, "task_id", "task"),
        "create_time": now,
        "modified_time": now,
    }


def _new_comment(body: Mapping[str, Json], caller: Caller) -> Record:
    return {
        "container": _container(body),
        "user": caller.number,
        "comment": text("comment", body.get("comment", "")),
        "time": now_ms(),
    }


def _new_pin(body: Mapping[str, Json], caller: Caller) -> Record:
    now = now_ms()
    return {
        "container": _container(body),
        "author": caller.number,
        "message": text("message", body.get("message", "")),
        "data": text("data", body.get("data", "")),
        "pin_type": text("pin_type", body.get("pin_type", "data")),
        "pin_style": text("pin_style", body.get("pin_style", "")),
        "create_time": now,
        "modified_time": now,
    }


def _container(body: Mapping[str, Json]) -> int:
    number = number_in(body, "container_id", "container")
    if number is None:
        raise BadRequest('"container_id" is required.')
    return number


async def _change_note(request: Request, services: Services, number: int, body: Mapping[str, Json]) -> dict[str, Json]:
    row = await NOTE.numbered(services, number)
    values: Record = {
        name: text(name, body[name]) for name in ("title", "content", "note_format", "note_type") if name in body
    }
    entry = services.journal.entry(request, "note.update", "note", str(row["id"]))
    await services.database.write(_change, number, {**values, "modified_time": now_ms()}, entry)
    return {"success": True, "id": number}


async def _create(request: Request, services: Services, records: Records, kind: str, values: Record) -> dict[str, Json]:
    entry = services.journal.entry(request, f"{kind}.create", kind, None, {"container": values["container"]})
    number = await services.database.write(_store, records, values, entry)
    return {"success": True, "id": number}


async def _delete(request: Request, services: Services, resource: Resource) -> Json:
    row = await resource.stored(request, services)
    entry = services.journal.entry(request, f"{resource.title}.delete", resource.title, str(row["id"]))
    await services.database.write(_remove, resource.records, int(row["id"]), entry)
    return {"success": True}


def _change(connection: Connection, number: int, values: Record, entry: NewAudit) -> None:
    if not NOTES.change(connection, number, values):
        raise NotFound(f'Note "{number}" not found')
    audit.append(connection, entry)


def _remove(connection: Connection, records: Records, number: int, entry: NewAudit) -> None:
    records.remove(connection, records.table.c.id == number)
    audit.append(connection, entry)


def _store(connection: Connection, records: Records, values: Record, entry: NewAudit) -> int:
    if CONTAINERS.locked(connection, int(values["container"])) is None:
        raise NotFound(f'Container "{values["container"]}" not found')
    number = records.create(connection, values)
    audit.append(connection, replace(entry, object_id=str(number)))
    return number
