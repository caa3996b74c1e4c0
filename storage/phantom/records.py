"""Records of one table as dicts by field: the same few operations for every resource of the Phantom interface."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, Table, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from playbooks.record import Json
from storage.phantom.filters import BadFilter, Condition, Fields, field_of, where

Record = dict[str, Json]

_BAD_PATTERN: Final = "2201B"
"""``invalid_regular_expression`` (PostgreSQL docs, appendix A)."""


@dataclass(frozen=True, slots=True)
class Query:
    """One page of a list; ``size`` 0 means all of it.  ``page`` counts from 0."""

    conditions: Sequence[Condition] = ()
    sort: str | None = None
    descending: bool = False
    page: int = 0
    size: int = 10


@dataclass(frozen=True, slots=True)
class Source:
    """What a list is made from: a table or a join, the columns of a record, and the number that it is known by."""

    table: FromClause
    columns: Sequence[ColumnElement[Any]]
    fields: Fields
    number: ColumnElement[int]


def page_of(
    connection: Connection, source: Source, query: Query, *also: ColumnElement[bool]
) -> tuple[list[Record], int]:
    """One page of a list, and how many match.  Raises UnknownField and BadFilter."""
    wanted = [*also, *where(source.fields, query.conditions)]
    with _patterns_refused():
        total = connection.execute(select(func.count()).select_from(source.table).where(*wanted)).scalar_one()
    order: list[ColumnElement[Any]] = [source.number]
    if query.sort is not None:
        order.insert(0, field_of(source.fields, query.sort).column)
    directed = [column.desc() if query.descending else column.asc() for column in order]
    statement = select(*source.columns).select_from(source.table).where(*wanted).order_by(*directed)
    if query.size:
        statement = statement.limit(query.size).offset(query.page * query.size)
    return [dict(row) for row in connection.execute(statement).mappings()], total


@contextlib.contextmanager
def _patterns_refused() -> Iterator[None]:
    """Raises BadFilter for a pattern that ``re2`` reads, by which all are judged, and Postgres does not."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _BAD_PATTERN:
            raise BadFilter(f"The database cannot read this pattern: {error.orig}") from None
        raise


@dataclass(frozen=True, slots=True)
class Records:
    """The records of ``table``; ``extra`` are fields that are computed, ``fields`` what lists filter and sort by."""

    table: Table
    fields: Fields
    extra: Sequence[ColumnElement[Any]] = ()
    base: Sequence[ColumnElement[bool]] = ()
    """What holds of every record that is to be seen."""

    def create(self, connection: Connection, values: Record) -> int:
        """Stores a record and returns its number."""
        number: int = connection.execute(insert(self.table).returning(self.table.c.id), values).scalar_one()
        return number

    def get(self, connection: Connection, number: int) -> Record | None:
        """The record, or None."""
        return self._one(connection, self._select().where(self.table.c.id == number, *self.base))

    def locked(self, connection: Connection, number: int) -> Record | None:
        """The record, which nobody else changes before this transaction ends; or None."""
        # SQLite needs no lock: its writers take turns.
        wanted = self._select().where(self.table.c.id == number, *self.base)
        return self._one(connection, wanted.with_for_update(of=self.table))

    def page(self, connection: Connection, query: Query, *also: ColumnElement[bool]) -> tuple[list[Record], int]:
        """One page, and how many match.  Raises UnknownField and BadFilter."""
        source = Source(self.table, [*self.table.c, *self.extra], self.fields, self.table.c.id)
        return page_of(connection, source, query, *self.base, *also)

    def change(self, connection: Connection, number: int, values: Record) -> bool:
        """Stores what of a record has changed; False when there is no such record."""
        if not values:
            return self.get(connection, number) is not None
        statement = update(self.table).where(self.table.c.id == number).values(values)
        return connection.execute(statement).rowcount > 0

    def remove(self, connection: Connection, *wanted: ColumnElement[bool]) -> int:
        """Deletes records; how many."""
        return connection.execute(delete(self.table).where(*wanted)).rowcount

    def _one(self, connection: Connection, statement: Any) -> Record | None:
        row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else dict(row)

    def _select(self) -> Any:
        return select(*self.table.c, *self.extra)
