"""Lists that never change, such as that of the severities, and those of which there is nothing here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from starlette.requests import Request

from api.phantom import memory
from api.phantom.auth import Caller
from api.phantom.query import list_query
from api.phantom.results import APP, NODE, REPOSITORY
from api.phantom.routing import ANY, Rest, listed
from api.services import Services
from executions.errors import NotFound
from playbooks.record import Json
from storage.phantom.containers import SEVERITIES, STATUSES
from storage.phantom.filters import Kind
from storage.phantom.records import Record
from storage.phantom.runs import LABELS

rest = Rest()

ROLES: Final = ("Administrator", "Automation", "Observer")
EMPTY: Final = (
    "/asset", "/custom_function", "/decided_list", "/container_attachment", "/evidence", "/indicator",
    "/vault_document", "/workbook_phase", "/workbook_phase_template", "/workbook_task", "/workbook_task_template",
    "/workbook_template",
)  # fmt: skip
"""Lists that clients look into before they go on; a Phantom that nobody has given any of these answers them so too."""

_COLOURS: Final = {"high": "red", "medium": "yellow", "low": "green"}
_TYPES: Final = {"new": "new", "open": "open", "closed": "resolved"}


def put_constant(rest: Rest, path: str, rows: Callable[[], Sequence[Record]]) -> None:
    """Puts a list that never changes, and its records by number and by name."""
    fields = memory.declared({name: _kind(value) for name, value in rows()[0].items()})

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


def _kind(value: Json) -> Kind:
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int) else "text"


def _put_empty(path: str) -> None:
    async def page(request: Request, services: Services, caller: Caller) -> Json:
        return {"count": 0, "num_pages": 0, "data": []}

    async def one(request: Request, services: Services, caller: Caller) -> Json:
        raise NotFound(f'{path.removeprefix("/")} "{str(request.path_params["number"])[:100]}" not found')

    rest.route("GET", path, ANY)(page)
    rest.route("GET", f"{path}/{{number}}", ANY)(one)


def _named(names: Sequence[str], default: str | None, first: int = 1) -> list[Record]:
    return [
        {"id": number, "name": name, "order": number, "disabled": False, "is_default": name == default}
        for number, name in enumerate(names, start=first)
    ]


def severities() -> list[Record]:
    """What an incident may be worth."""
    return [{**row, "color": _COLOURS[str(row["name"])]} for row in _named(SEVERITIES, "medium")]


def statuses() -> list[Record]:
    """How an incident may stand, and of which type each is."""
    return [{**row, "status_type": _TYPES[str(row["name"])], "is_mutable": False} for row in _named(STATUSES, "new")]


def _roles() -> list[Record]:
    return [{**row, "description": "", "immutable": True, "type": "normal"} for row in _named(ROLES, None)]


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


put_constant(rest, "/severity", severities)
put_constant(rest, "/container_status", statuses)
put_constant(rest, "/label", lambda: _named(LABELS, "events"))
put_constant(rest, "/app", _apps)
put_constant(rest, "/scm", _repositories)
put_constant(rest, "/cluster_node", _nodes)
put_constant(rest, "/tenant", lambda: _named(["default"], "default", first=0))
put_constant(rest, "/role", _roles)
for _path in EMPTY:
    _put_empty(_path)
