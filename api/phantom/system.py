"""What clients ask for before they begin: versions, users, what may be chosen, search."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from api.phantom.auth import ALLOWED, SETTINGS_TOKEN, USER_ID, Caller, is_own_token
from api.phantom.lists import ROLES, severities, statuses
from api.phantom.resources import Resource
from api.phantom.results import NODE
from api.phantom.routing import ANY, READ, Rest, number_of
from api.phantom.wire import time_of
from api.services import Services
from api.tokens import ADMIN
from executions.errors import BadRequest, NotFound
from playbooks.record import Json
from storage.columns import dump
from storage.phantom.containers import ARTIFACTS, CONTAINERS, tags_in_use
from storage.phantom.filters import Condition
from storage.phantom.records import Query, Record, Records
from storage.phantom.runs import LABELS
from storage.phantom.users import USERS

rest = Rest()

VERSION: Final = "4.10.7.63984"
NEEDED: Final = dict(zip(ROLES, (ALLOWED, frozenset({"playbook:execute"}), frozenset({"asset:read"})), strict=True))
"""The permissions that make each of the roles that clients look for."""

SENSITIVITIES: Final = ("red", "amber", "green", "white")
MAX_FOUND: Final = 50
BY_TOKEN: Final = "_filter_token__key"


def _user_json(row: Record) -> Record:
    allowed = _permissions_of(row)
    return {
        "id": row["id"],
        "username": row["username"],
        "first_name": "",
        "last_name": "",
        "title": "",
        "email": "",
        "is_active": True,
        "type": row["type"],
        "date_joined": time_of(row["created_at"]),
        "roles": [role for role, needed in NEEDED.items() if needed <= allowed],
        "effective_permissions": sorted(allowed),
        "default_label": "events",
        "time_zone": "UTC",
    }


def _permissions_of(row: Record) -> frozenset[str]:
    """What a user may do; who stands in the settings has no permissions of their own in the database."""
    if row["password_hash"] is not None:
        return frozenset(row["permissions"])
    if row["token_id"] == ADMIN.id:
        return ADMIN.permissions
    of_settings = str(row["token_id"]).startswith(USER_ID) or row["token_id"] == SETTINGS_TOKEN.id
    return ALLOWED if of_settings else frozenset(row["token_permissions"] or ())


USER: Final = Resource("user", USERS, _user_json)


@rest.route("GET", "/version", ANY)
async def version(request: Request, services: Services, caller: Caller) -> Json:
    """The version of Phantom that this interface answers like."""
    return {"version": VERSION}


@rest.route("GET", "/system_info", ANY)
async def system_info(request: Request, services: Services, caller: Caller) -> Json:
    """Where this is, and since when."""
    base = f"{request.url.scheme}://{request.url.netloc}"
    return {"base_url": base, "time_zone": "UTC", "version": VERSION, "product_version": VERSION, "node_guid": NODE}


@rest.route("GET", "/system_settings", ANY)
async def system_settings(request: Request, services: Services, caller: Caller) -> Json:
    """Settings that clients look at."""
    base = f"{request.url.scheme}://{request.url.netloc}"
    return {"company_info_settings": {"fqdn": base, "system_name": "Stanchion", "time_zone": "UTC"}}


@rest.route("GET", "/health", ANY)
async def health(request: Request, services: Services, caller: Caller) -> Json:
    """Whether the parts can be reached is told by `/readyz`; an answer here says that this one can."""
    return {"status": "ok", "version": VERSION}


@rest.route("GET", "/license", ANY)
async def license_of(request: Request, services: Services, caller: Caller) -> Json:
    """There is no limit."""
    return {"name": "Stanchion", "expiration": None, "limits": {}}


@rest.route("GET", "/ph_user", ANY)
async def list_users(request: Request, services: Services, caller: Caller) -> Json:
    """List the users, and those who have come with a token; by `_filter_token__key` clients find who they are.

    Only their own token finds anybody, so that nothing can be learned about those of others.
    """
    token = request.query_params.get(BY_TOKEN)
    if token is None:
        return await USER.page(request, services)
    own = caller.number if is_own_token(request, token.strip().strip("\"'")) else 0
    return await USER.page(request, services, [Condition("id", "exact", own)], {BY_TOKEN})


@rest.route("GET", "/ph_user/{number}", ANY)
async def read_user(request: Request, services: Services, caller: Caller) -> Json:
    """Read a user."""
    return await USER.one(request, services)


@rest.route("GET", "/user_settings", ANY)
async def user_settings(request: Request, services: Services, caller: Caller) -> Json:
    """Who asks, as later versions of Phantom call it."""
    return await user_info(request, services, caller)


@rest.route("GET", "/user_info", ANY)
async def user_info(request: Request, services: Services, caller: Caller) -> Json:
    """Who asks."""
    row = await services.database.read(USERS.get, caller.number)
    return _user_json(row) if row else {"id": caller.number, "username": caller.principal.name}


@rest.route("GET", "/container_options", ANY)
async def container_options(request: Request, services: Services, caller: Caller) -> Json:
    """What may be chosen for a container."""
    return await _options(services, caller)


@rest.route("GET", "/container_options/{field}", ANY)
async def container_option(request: Request, services: Services, caller: Caller) -> Json:
    """One of the choices for a container."""
    name, options = str(request.path_params["field"]), await _options(services, caller)
    if name not in options:
        raise NotFound(f'There is no "{name[:100]}"; there are {", ".join(sorted(options))}')
    return {name: options[name]}


async def _options(services: Services, caller: Caller) -> dict[str, Json]:
    # Tags are of the containers, which not everybody may read.
    tags = await services.database.read(tags_in_use) if READ[0] in caller.principal.permissions else []
    return {
        "label": list(LABELS),
        "status": list[Json](statuses()),
        "severity": list[Json](severities()),
        "sensitivity": list(SENSITIVITIES),
        "container_type": ["default", "case"],
        "tags": list[Json](tags),
    }


@rest.route("GET", "/search", READ)
async def search(request: Request, services: Services, caller: Caller) -> Json:
    """Containers whose name, and artifacts whose name or `cef`, holds the words of `query`.

    `url` is where Phantom has the container, which clients take its number from.
    """
    words = request.query_params.get("query", "").strip().strip("\"'")
    if not words:
        raise BadRequest('"query" is required.')
    containers = await _holding(services, CONTAINERS, words, "name", "description", "source_data_identifier")
    artifacts = await _holding(services, ARTIFACTS, words, "name", "cef")
    base = f"{request.url.scheme}://{request.url.netloc}"
    found = [_found("container", row, f"{base}/mission/{row['id']}") for row in containers]
    found += [_found("artifact", row, f"{base}/mission/{row['container']}/artifact/{row['id']}") for row in artifacts]
    return {"count": len(found), "num_pages": 1 if found else 0, "results": found, "data": found}


async def _holding(services: Services, records: Records, words: str, *fields: str) -> list[Record]:
    """The latest records that hold the words in one of these fields."""
    rows: dict[int, Record] = {}
    for field in fields:
        sought = dump(words)[1:-1] if field == "cef" else words
        query = Query([Condition(field, "icontains", sought)], sort="id", descending=True, size=MAX_FOUND)
        page, _ = await services.database.read(records.page, query)
        rows |= {int(row["id"]): row for row in page}
    return [rows[number] for number in sorted(rows, reverse=True)[:MAX_FOUND]]


def _found(category: str, row: Record, url: str) -> Record:
    return {"category": category, "id": row["id"], "title": row["name"], "url": url}


def _put_none(inside: str) -> None:
    """What a container has none of here."""

    async def none(request: Request, services: Services, caller: Caller) -> Json:
        if await services.database.read(CONTAINERS.get, number_of(request)) is None:
            raise NotFound(f'Container "{number_of(request)}" not found')
        return {"count": 0, "num_pages": 0, "data": []}

    rest.route("GET", f"/container/{{number}}/{inside}", READ)(none)


for _inside in ("attachments", "phases"):
    _put_none(_inside)
