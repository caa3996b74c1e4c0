"""The small resources that clients ask for: versions, users, severities, labels, repositories, search, audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.requests import Request

from api.phantom import memory
from api.phantom.auth import ALLOWED, SETTINGS_TOKEN, USER_ID, Caller
from api.phantom.given import SEVERITIES
from api.phantom.query import list_query
from api.phantom.resources import Resource
from api.phantom.results import APP, NODE, REPOSITORY
from api.phantom.routing import ANY, READ, Rest, listed, number_of
from api.phantom.wire import time_of
from api.services import Services
from api.tokens import ADMIN
from executions.errors import BadRequest, NotFound
from playbooks.record import Json
from storage import audit
from storage.phantom.containers import ARTIFACTS, CONTAINERS
from storage.phantom.filters import Condition, Kind
from storage.phantom.records import Query, Record, Records
from storage.phantom.runs import LABELS
from storage.phantom.users import USERS

rest = Rest()

VERSION: Final = "4.10.7.63984"
STATUSES: Final = {"new": "new", "open": "open", "closed": "resolved"}
"""Statuses of a container, and of what type each is."""

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "Administrator": ALLOWED,
    "Automation": frozenset({"playbook:execute"}),
    "Observer": frozenset({"asset:read"}),
}
"""Roles that clients look for, and the permissions that make them."""

SENSITIVITIES: Final = ("red", "amber", "green", "white")
MAX_FOUND: Final = 50


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
        "roles": [role for role, needed in ROLES.items() if needed <= allowed],
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
    """List the users, and those who have come with a token."""
    return await USER.page(request, services)


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
    return _options()


@rest.route("GET", "/container_options/{field}", ANY)
async def container_option(request: Request, services: Services, caller: Caller) -> Json:
    """One of the choices for a container."""
    name, options = str(request.path_params["field"]), _options()
    if name not in options:
        raise NotFound(f'There is no "{name[:100]}"; there are {", ".join(sorted(options))}')
    return {name: options[name]}


def _options() -> dict[str, Json]:
    return {
        "label": list(LABELS),
        "status": list[Json](_statuses()),
        "severity": list[Json](_severities()),
        "sensitivity": list(SENSITIVITIES),
        "container_type": ["default", "case"],
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
        query = Query([Condition(field, "icontains", words)], sort="id", descending=True, size=MAX_FOUND)
        page, _ = await services.database.read(records.page, query)
        rows |= {int(row["id"]): row for row in page}
    return [rows[number] for number in sorted(rows, reverse=True)[:MAX_FOUND]]


def _found(category: str, row: Record, url: str) -> Record:
    return {"category": category, "id": row["id"], "title": row["name"], "url": url}


@rest.route("GET", "/audit", ("audit:read",))
async def list_audit(request: Request, services: Services, caller: Caller) -> Json:
    """The latest entries of the audit trail."""
    return {"data": await _entries(services, None, None)}


@rest.route("GET", "/container/{number}/audit", READ)
async def audit_of_container(request: Request, services: Services, caller: Caller) -> Json:
    """The entries of the audit trail about a container."""
    return {"data": await _entries(services, "container", str(number_of(request)))}


@rest.route("GET", "/container/{number}/attachments", READ)
async def attachments_of(request: Request, services: Services, caller: Caller) -> Json:
    """Files of a container: none are kept here."""
    if await services.database.read(CONTAINERS.get, number_of(request)) is None:
        raise NotFound(f'Container "{number_of(request)}" not found')
    return {"count": 0, "num_pages": 0, "data": []}


async def _entries(services: Services, kind: str | None, number: str | None) -> list[Json]:
    rows, _ = await services.database.read(audit.list_audit, object_type=kind, object_id=number, per_page=500)
    return [
        {
            "id": row.id,
            "time": time_of(row.at),
            "user": row.actor_name,
            "action": row.action,
            "object": row.object_type,
            "object_id": row.object_id,
            "outcome": row.outcome,
            "ip_address": row.address,
        }
        for row in rows
    ]


def _constant(path: str, rows: Callable[[], Sequence[Record]]) -> None:
    """A list that never changes, such as that of the severities."""
    kinds: dict[str, Kind] = {
        name: "number" if isinstance(value, int) and not isinstance(value, bool) else "flag"
        if isinstance(value, bool) else "text"
        for name, value in rows()[0].items()
    }  # fmt: skip
    fields = memory.declared(kinds)

    async def page(request: Request, services: Services, caller: Caller) -> Json:
        query = list_query(request, fields)
        found, total = memory.page_of(rows(), fields, query)
        return listed(found, total, query)

    async def one(request: Request, services: Services, caller: Caller) -> Json:
        wanted = str(request.path_params["number"])
        for row in rows():
            if wanted in (str(row["id"]), row["name"]):
                return row
        raise NotFound(f'{path.removeprefix("/")} "{wanted[:100]}" not found')

    rest.route("GET", path, ANY)(page)
    rest.route("GET", f"{path}/{{number}}", ANY)(one)


def _named(names: Sequence[str], default: str) -> Callable[[], list[Record]]:
    def rows() -> list[Record]:
        return [
            {"id": number, "name": name, "order": number, "disabled": False, "is_default": name == default}
            for number, name in enumerate(names, start=1)
        ]

    return rows


_severities = _named(SEVERITIES, "medium")


def _statuses() -> list[Record]:
    return [{**row, "status_type": STATUSES[str(row["name"])]} for row in _named(list(STATUSES), "new")()]


def _repositories() -> list[Record]:
    return [
        {"id": 1, "name": REPOSITORY, "uri": "", "type": "local", "disabled": False, "read_only": False, "version": 1,
         "branch": ""}
    ]  # fmt: skip


def _nodes() -> list[Record]:
    return [{"id": 1, "name": "stanchion", "guid": NODE, "online": True, "enabled": True, "version": 1}]


def _apps() -> list[Record]:
    return [
        {"id": 1, "name": APP, "product_name": APP, "product_vendor": APP, "type": "generic", "disabled": False,
         "app_version": "1.0.0", "version": 1}
    ]  # fmt: skip


_constant("/severity", _severities)
_constant("/container_status", _statuses)
_constant("/label", _named(LABELS, "events"))
_constant("/app", _apps)
_constant("/scm", _repositories)
_constant("/cluster_node", _nodes)
_constant("/tenant", _named(["default"], "default"))
_constant("/role", _named(list(ROLES), "Observer"))
