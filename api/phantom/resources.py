"""Records that are stored: listed, read whole or one field, with what ``pretty`` adds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request

from api.phantom.query import list_query
from api.phantom.routing import listed, number_of
from api.phantom.wire import flag, pretty_time, time_of
from api.services import Services
from executions.errors import NotFound
from playbooks.record import Json
from storage.clock import now_ms
from storage.phantom.filters import Condition
from storage.phantom.records import Record, Records

TIMES = ("modified_time", "time")


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of record: what it is called, where it is stored, how it is shown."""

    title: str
    records: Records
    show: Callable[[Record], Record]
    related: Callable[[Services, Record], Awaitable[Record]] | None = None
    """What ``pretty`` adds besides times."""

    async def page(
        self,
        request: Request,
        services: Services,
        conditions: Sequence[Condition] = (),
        without: Container[str] = (),
        **only: int,
    ) -> dict[str, Json]:
        """One page of the list, of what fits ``conditions`` too; ``only`` are columns and the values that they have.

        Filters ``without`` are no fields: who calls has made conditions of them.
        """
        query = list_query(request, self.records.fields, without)
        query = replace(query, conditions=[*query.conditions, *conditions])
        also = [self.records.table.c[name] == value for name, value in only.items()]
        rows, total = await services.database.read(self.records.page, query, *also)
        return listed([await self._shown(request, services, row) for row in rows], total, query)

    async def one(self, request: Request, services: Services) -> dict[str, Json]:
        """The record of the number in the path.  Raises NotFound."""
        return await self._shown(request, services, await self.stored(request, services))

    async def field(self, request: Request, services: Services) -> dict[str, Json]:
        """One field of the record.  Raises NotFound."""
        name = str(request.path_params["field"])
        shown = await self.one(request, services)
        if name not in shown:
            raise NotFound(f'{self.title.capitalize()} has no "{name[:100]}"; it has {", ".join(sorted(shown))}')
        return {name: shown[name]}

    async def stored(self, request: Request, services: Services) -> Record:
        """The record of the number in the path, as it is stored.  Raises NotFound."""
        return await self.numbered(services, number_of(request))

    async def numbered(self, services: Services, number: int) -> Record:
        """The record of that number, as it is stored.  Raises NotFound."""
        row = await services.database.read(self.records.get, number)
        if row is None:
            raise NotFound(f'{self.title.capitalize()} "{number}" not found')
        return row

    async def _shown(self, request: Request, services: Services, row: Record) -> Record:
        shown = self.show(row)
        if not flag(request, "pretty"):
            return shown
        more = await self.related(services, row) if self.related else {}
        return {**shown, **pretty_times(row), **more}


def with_times(row: Record) -> Record:
    """The record with its times as they are written."""
    return {name: time_of(value) if is_time(name) else value for name, value in row.items()}


def pretty_times(row: Record) -> Record:
    """``_pretty_…`` of each time in a record."""
    now = now_ms()
    return {
        f"_pretty_{name}": pretty_time(value, now) for name, value in row.items() if is_time(name) and value is not None
    }


def is_time(name: str) -> bool:
    """Whether a field holds a time."""
    return name.endswith("_time") or name in TIMES
