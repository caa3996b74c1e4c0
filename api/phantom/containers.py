"""Containers and artifacts: create, one or many, list, read, update, delete with all that is inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from api.phantom.auth import Caller
from api.phantom.bulk import MAX_BULK, one_or_many
from api.phantom.given import (
    changed_artifact,
    changed_container,
    new_artifact,
    new_container,
    owner_in,
)
from api.phantom.given import source_of as source_columns
from api.phantom.query import MAX_CONDITIONS
from api.phantom.resources import Resource, with_times
from api.phantom.routing import READ, WRITE, Rest, number_of, texts_in_query
from api.phantom.wire import as_number, number_in, read_object
from api.services import Services
from executions.errors import BadRequest, Detail, NotFound, Refusal
from playbooks.record import Json
from storage import audit
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.columns import dump
from storage.phantom import users
from storage.phantom.containers import (
    ARTIFACTS,
    CONTAINERS,
    add_artifact,
    delete_artifact,
    delete_container,
    source_of,
)
from storage.phantom.filters import Condition
from storage.phantom.records import Record
from storage.phantom.users import USERS

rest = Rest()


class Duplicate(Refusal):
    """A container with this ``source_data_identifier`` is there already."""

    status = 400
    code = "duplicate"

    def __init__(self, existing: int) -> None:
        super().__init__(
            f"duplicate with source_data_identifier, container {existing}", extra={"existing_container_id": existing}
        )


def container_json(row: Record) -> Record:
    """A container as it is answered."""
    shown = with_times(row)
    shown.pop("source_key", None)
    shown["artifact_count"] = row.get("artifact_count", 0)
    for name in ("owner", "role", "tenant", "asset", "ingest_app", "parent_container", "current_phase"):
        shown[f"{name}_id"] = shown[name]
    return {**shown, "closing_owner": None, "closing_rule_run": None, "node_guid": None}


def artifact_json(row: Record) -> Record:
    """An artifact as it is answered."""
    shown = with_times(row)
    shown.pop("source_key", None)
    for name in ("container", "owner", "ingest_app"):
        shown[f"{name}_id"] = shown[name]
    return {**shown, "has_note": False}


def context(container: Record, artifacts: Sequence[Record]) -> dict[str, Json]:
    """What expressions of a playbook see of a container and the artifacts that were chosen."""
    return {
        "container": container_json({**container, "artifact_count": len(artifacts)}),
        "artifacts": [artifact_json(one) for one in artifacts],
    }


async def _of_container(services: Services, row: Record) -> Record:
    return {"_pretty_owner": row["owner_name"], "_pretty_artifact_count": row.get("artifact_count", 0)}


async def _of_artifact(services: Services, row: Record) -> Record:
    container = await services.database.read(CONTAINERS.get, int(row["container"]))
    return {"_pretty_container": container["name"] if container else None}


CONTAINER_RESOURCE: Final = Resource("container", CONTAINERS, container_json, _of_container)
ARTIFACT_RESOURCE: Final = Resource("artifact", ARTIFACTS, artifact_json, _of_artifact)


@rest.route("GET", "/container", READ)
async def list_containers(request: Request, services: Services, caller: Caller) -> Json:
    """List containers."""
    return await CONTAINER_RESOURCE.page(request, services)


@rest.route("GET", "/artifact", READ)
async def list_artifacts(request: Request, services: Services, caller: Caller) -> Json:
    """List artifacts; `search_cef`, a list of texts, finds those whose `cef` holds each of them."""
    texts = texts_in_query(request, "search_cef")
    if len(texts) > MAX_CONDITIONS:
        raise BadRequest(f'"search_cef" holds at most {MAX_CONDITIONS} texts.')
    sought = [Condition("cef", "icontains", dump(text)[1:-1]) for text in texts]
    return await ARTIFACT_RESOURCE.page(request, services, sought)


@rest.route("GET", "/container/{number}", READ)
async def read_container(request: Request, services: Services, caller: Caller) -> Json:
    """Read a container."""
    return await CONTAINER_RESOURCE.one(request, services)


@rest.route("GET", "/artifact/{number}", READ)
async def read_artifact(request: Request, services: Services, caller: Caller) -> Json:
    """Read an artifact."""
    return await ARTIFACT_RESOURCE.one(request, services)


@rest.route("GET", "/container/{number}/artifacts", READ)
async def list_artifacts_of(request: Request, services: Services, caller: Caller) -> Json:
    """List the artifacts of a container."""
    row = await CONTAINER_RESOURCE.stored(request, services)
    return await ARTIFACT_RESOURCE.page(request, services, container=int(row["id"]))


@rest.route("POST", "/container", WRITE)
async def write_containers(request: Request, services: Services, caller: Caller) -> Response:
    """Create a container with its artifacts, or several; in an array, an entry with an `id` changes that container."""
    return await one_or_many(
        request, partial(_create_container, request, services), partial(_change_container, request, services)
    )


@rest.route("POST", "/artifact", WRITE)
async def write_artifacts(request: Request, services: Services, caller: Caller) -> Response:
    """Create an artifact, or several; in an array, an entry with an `id` changes that artifact."""
    return await one_or_many(
        request, partial(_create_artifact, request, services), partial(_change_artifact, request, services)
    )


@rest.route("POST", "/container/{number}", WRITE)
async def update_container(request: Request, services: Services, caller: Caller) -> Json:
    """Change the fields that are given."""
    return await _change_container(request, services, number_of(request), await read_object(request))


@rest.route("POST", "/artifact/{number}", WRITE)
async def update_artifact(request: Request, services: Services, caller: Caller) -> Json:
    """Change the fields that are given; what `cef` held before is gone, as everything that a field held."""
    return await _change_artifact(request, services, number_of(request), await read_object(request))


@rest.route("DELETE", "/container/{number}", WRITE)
async def delete_one_container(request: Request, services: Services, caller: Caller) -> Json:
    """Delete a container and everything in it."""
    return await _delete(request, services, "container", [number_of(request)])


@rest.route("DELETE", "/container", WRITE)
async def delete_containers(request: Request, services: Services, caller: Caller) -> Json:
    """Delete the containers in the query's `ids`, or in the body's."""
    return await _delete(request, services, "container", await _ids(request))


@rest.route("DELETE", "/artifact/{number}", WRITE)
async def delete_one_artifact(request: Request, services: Services, caller: Caller) -> Json:
    """Delete an artifact."""
    return await _delete(request, services, "artifact", [number_of(request)])


@rest.route("DELETE", "/artifact", WRITE)
async def delete_artifacts(request: Request, services: Services, caller: Caller) -> Json:
    """Delete the artifacts in the query's `ids`, or in the body's."""
    return await _delete(request, services, "artifact", await _ids(request))


async def _create_container(request: Request, services: Services, body: Mapping[str, Json]) -> dict[str, Json]:
    now = now_ms()
    listed = body.get("artifacts") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise BadRequest('"artifacts" must be a list of objects.')
    container = new_container(body, now)
    artifacts = [new_artifact(one, 0, now) for one in listed]
    entry = services.journal.entry(request, "container.create", "container", None, {"name": container["name"]})
    number, inside = await services.database.write(_store_container, container, artifacts, body, entry)
    return {"success": True, "id": number, "new_artifact_ids": list[Json](inside)}


async def _create_artifact(request: Request, services: Services, body: Mapping[str, Json]) -> dict[str, Json]:
    container = number_in(body, "container_id", "container")
    if container is None:
        raise BadRequest('"container_id" is required.')
    values = new_artifact(body, container, now_ms())
    entry = services.journal.entry(request, "artifact.create", "artifact", None, {"container": container})
    number = await services.database.write(_store_artifact, values, body, entry)
    return {"success": True, "id": number, "existing_artifact_id": None}


async def _change_container(
    request: Request, services: Services, number: int, body: Mapping[str, Json]
) -> dict[str, Json]:
    row = await CONTAINER_RESOURCE.numbered(services, number)
    now = now_ms()
    values = {**changed_container(body), "container_update_time": now}
    if values.get("status") != row["status"]:
        if values.get("status") in ("closed", "resolved"):
            values.setdefault("close_time", now)
        elif values.get("status") == "open":
            values.setdefault("open_time", now)
    entry = services.journal.entry(request, "container.update", "container", str(number))
    await services.database.write(_update_container, number, values, body, entry)
    return {"success": True, "id": number}


async def _change_artifact(
    request: Request, services: Services, number: int, body: Mapping[str, Json]
) -> dict[str, Json]:
    values = {**changed_artifact(body), "update_time": now_ms()}
    entry = services.journal.entry(request, "artifact.update", "artifact", str(number))
    await services.database.write(_update_artifact, number, values, entry)
    return {"success": True, "id": number}


def _store_container(
    connection: Connection, container: Record, artifacts: Sequence[Record], body: Mapping[str, Json], entry: NewAudit
) -> tuple[int, list[int]]:
    existing = source_of(connection, str(container["source_data_identifier"]), container["asset"])
    if existing is not None:
        raise Duplicate(existing)
    number = CONTAINERS.create(connection, {**container, **_owner(connection, body)})
    inside = [add_artifact(connection, {**one, "container": number}) for one in artifacts]
    _note(connection, entry, number)
    return number, inside


def _store_artifact(connection: Connection, values: Record, body: Mapping[str, Json], entry: NewAudit) -> int:
    if CONTAINERS.locked(connection, int(values["container"])) is None:
        raise NotFound(f'Container "{values["container"]}" not found')
    owner = _owner(connection, body)
    number = add_artifact(connection, {**values, **({"owner": owner["owner"]} if owner else {})})
    _note(connection, entry, number)
    return number


def _update_container(
    connection: Connection, number: int, values: Record, body: Mapping[str, Json], entry: NewAudit
) -> None:
    before = CONTAINERS.locked(connection, number)
    if before is None:
        raise NotFound(f'Container "{number}" not found')
    source = {**before, **values}
    if any(source[name] != before[name] for name in ("source_data_identifier", "asset")):
        existing = source_of(connection, str(source["source_data_identifier"]), source["asset"])
        if existing is not None and existing != number:
            raise Duplicate(existing)
        values = {**values, **source_columns(source)}
    CONTAINERS.change(connection, number, {**values, **_owner(connection, body)})
    audit.append(connection, entry)


def _update_artifact(connection: Connection, number: int, values: Record, entry: NewAudit) -> None:
    row = ARTIFACTS.get(connection, number)
    if row is not None:
        # Before the artifact, as by who deletes the container: else each would hold what the other waits for.
        CONTAINERS.locked(connection, int(row["container"]))
    if row is None or not ARTIFACTS.change(connection, number, values):
        raise NotFound(f'Artifact "{number}" not found')
    CONTAINERS.change(connection, int(row["container"]), {"artifact_update_time": values["update_time"]})
    audit.append(connection, entry)


def _owner(connection: Connection, body: Mapping[str, Json]) -> Record:
    """The columns of the owner that ``body`` names.  Raises BadRequest for one that does not exist."""
    is_given, owner = owner_in(body)
    if not is_given:
        return {}
    if owner is None:
        return {"owner": None, "owner_name": None}
    if isinstance(owner, str):
        user = users.find(connection, owner)
        if user is None:
            raise BadRequest(f'There is no user "{owner}".')
        return {"owner": user.id, "owner_name": user.username}
    found = USERS.get(connection, owner)
    if found is None:
        raise BadRequest(f'There is no user "{owner}".', [Detail("/owner_id", "unknown")])
    return {"owner": owner, "owner_name": found["username"]}


async def _ids(request: Request) -> list[int]:
    """The numbers of what is to be deleted, each once, in order.  Raises BadRequest, also for what is no number."""
    given: list[Json] = [text for text in texts_in_query(request, "ids") if text.strip()]
    if not given:
        ids = (await read_object(request)).get("ids")
        given = ids if isinstance(ids, list) else []
    if not 0 < len(given) <= MAX_BULK:
        raise BadRequest(f'"ids" must name at least one, and at most {MAX_BULK}.')
    found = {as_number(one) for one in given}
    if None in found:
        raise BadRequest('"ids" must be numbers.')
    return sorted(number for number in found if number is not None)


async def _delete(request: Request, services: Services, kind: str, numbers: Sequence[int]) -> Json:
    entries = [services.journal.entry(request, f"{kind}.delete", kind, str(number)) for number in numbers]
    await services.database.write(_delete_all, kind, numbers, entries)
    return {"success": True}


def _delete_all(connection: Connection, kind: str, numbers: Sequence[int], entries: Sequence[NewAudit]) -> None:
    delete = delete_container if kind == "container" else delete_artifact
    for number in numbers:
        if not delete(connection, number):
            raise NotFound(f'{kind.capitalize()} "{number}" not found')
    audit.append(connection, *entries)


def _note(connection: Connection, entry: NewAudit, number: int) -> None:
    audit.append(connection, replace(entry, object_id=str(number)))
