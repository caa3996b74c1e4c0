"""The intelligence in the database: each source taken whole or not at all, and read by CVE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.intel.epss import read_epss
from storage.intel.faults import IntelFault
from storage.intel.kev import read_kev
from storage.intel.nvd import read_nvd
from storage.intel.reading import Reading, beginning
from storage.tables import intel_epss, intel_kev, intel_nvd, intel_sources

Source = Literal["kev", "epss", "nvd"]

SOURCES: Final[tuple[Source, ...]] = get_args(Source)

READERS: Final = {"kev": read_kev, "epss": read_epss, "nvd": read_nvd}
TABLES: Final[Mapping[Source, Table]] = {"kev": intel_kev, "epss": intel_epss, "nvd": intel_nvd}

SNAPSHOTS: Final = frozenset({"kev", "epss"})
"""Sources whose file holds everything: what it no longer has goes.  NVD's pages and files each hold a part."""

_CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """What was read of a source last; ``as_of`` (of which moment it speaks) and ``synced_at`` in ms since the epoch."""

    source: str
    origin: list[str]
    version: str
    as_of: int | None
    synced_at: int
    entries: int
    sample: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Files of one source; ``origin`` has the address of each as it may be shown.

    ``force`` takes also a snapshot that is older than what is stored, or has less than half of its entries.
    """

    source: Source
    files: tuple[Path, ...]
    origin: tuple[str, ...]
    sample: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of some CVEs, by CVE, as rows of the tables; and of when."""

    kev: dict[str, dict[str, Any]] = field(default_factory=dict)
    epss: dict[str, dict[str, Any]] = field(default_factory=dict)
    nvd: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: list[SourceRow] = field(default_factory=list)


def detect(path: Path) -> Source:
    """The source that the file is of, by its beginning.  Raises ``IntelFault`` when it is of none."""
    begin = beginning(path)
    if begin.startswith((b"#", b"cve,")):
        return "epss"
    if begin.startswith(b"{"):
        if b'"NVD_CVE"' in begin or b'"resultsPerPage"' in begin:
            return "nvd"
        if b'"catalogVersion"' in begin or b'"cveID"' in begin:
            return "kev"
    raise IntelFault("", "this is neither KEV's JSON, nor EPSS's CSV, nor NVD's JSON of version 2.0")


def check(delivery: Delivery) -> int:
    """How many entries the files have.  Raises ``IntelFault`` for the first thing that is wrong; changes nothing."""
    found = 0
    for path, origin in zip(delivery.files, delivery.origin, strict=True):
        with _told(origin):
            found += sum(1 for _ in READERS[delivery.source](path).rows)
    if not found and delivery.source in SNAPSHOTS:
        raise IntelFault(delivery.origin[0], "there is no entry in it")
    return found


def take(connection: Connection, delivery: Delivery, at: int) -> SourceRow:
    """Store what the files hold, at the moment ``at`` (ms).  Raises ``IntelFault``; the caller rolls back."""
    before = _claim(connection, delivery, at)
    table = TABLES[delivery.source]
    if delivery.sample and before is not None and not before.sample:
        return before
    if delivery.source in SNAPSHOTS or (before is not None and before.sample):
        connection.execute(delete(table))
    as_of, version, read = None, "", 0
    for path, origin in zip(delivery.files, delivery.origin, strict=True):
        with _told(origin):
            reading = READERS[delivery.source](path)
            _refuse_older(delivery, reading, before)
            read += _put(connection, table, reading.rows)
        as_of = reading.as_of if as_of is None else max(as_of, reading.as_of or as_of)
        version = reading.version
    entries = connection.execute(select(func.count()).select_from(table)).scalar_one()
    if delivery.source in SNAPSHOTS:
        _refuse_smaller(delivery, entries, before)
    elif before is not None and not before.sample and before.as_of is not None:
        as_of = max(before.as_of, as_of or 0)
    row = SourceRow(
        source=delivery.source,
        origin=list(delivery.origin),
        version=version[:200],
        as_of=as_of,
        synced_at=at,
        entries=entries,
        sample=delivery.sample,
    )
    _upsert(connection, intel_sources, ("source",), [_values(row)])
    return row


def sources(connection: Connection) -> list[SourceRow]:
    """What was read last of each source that was ever read."""
    return [SourceRow(**row._mapping) for row in connection.execute(select(intel_sources))]


def look_up(connection: Connection, cves: Sequence[str]) -> Known:
    """What is stored of ``cves``, which are in capitals."""
    known = Known(sources=sources(connection))
    for source, found in (("kev", known.kev), ("epss", known.epss), ("nvd", known.nvd)):
        table = TABLES[source]  # type: ignore[index]
        for row in connection.execute(select(table).where(table.c.cve.in_(cves))):
            found[row.cve] = dict(row._mapping)
    return known


def _claim(connection: Connection, delivery: Delivery, at: int) -> SourceRow | None:
    """The source's row before, locked: a second sync of it waits here until the first has committed."""
    placeholder = SourceRow(
        source=delivery.source, origin=[], version="", as_of=None, synced_at=at, entries=-1, sample=False
    )
    _upsert(connection, intel_sources, ("source",), [_values(placeholder)], keep=True)
    locked = select(intel_sources).where(intel_sources.c.source == delivery.source).with_for_update()
    row = SourceRow(**connection.execute(locked).one()._mapping)
    return None if row.entries < 0 else row


def _refuse_older(delivery: Delivery, reading: Reading, before: SourceRow | None) -> None:
    if delivery.force or delivery.source not in SNAPSHOTS or before is None or before.sample:
        return
    if before.as_of is not None and reading.as_of is not None and reading.as_of < before.as_of:
        raise IntelFault("", "this is older than what is stored; --force takes it all the same")


def _refuse_smaller(delivery: Delivery, entries: int, before: SourceRow | None) -> None:
    if delivery.force or before is None or before.sample or entries * 2 >= before.entries:
        return
    told = f"it has {entries} entries, where {before.entries} are stored; --force takes it all the same"
    raise IntelFault(delivery.origin[0], told)


def _put(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> int:
    read = 0
    while chunk := list(islice(rows, _CHUNK)):
        _upsert(connection, table, ("cve",), chunk)
        read += len(chunk)
    return read


def _upsert(
    connection: Connection, table: Table, key: tuple[str, ...], rows: Iterable[dict[str, Any]], keep: bool = False
) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    if keep:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    else:
        others = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in key}
        # An older page of NVD must not undo a newer one, in whatever order they come.
        newer = statement.excluded.modified >= table.c.modified if "modified" in table.c else None
        statement = statement.on_conflict_do_update(index_elements=key, set_=others, where=newer)
    connection.execute(statement, list(rows))


def _values(row: SourceRow) -> dict[str, Any]:
    return {one.name: getattr(row, one.name) for one in fields(row)}


@contextmanager
def _told(origin: str) -> Iterator[None]:
    """Names the file in a fault."""
    try:
        yield
    except IntelFault as fault:
        raise IntelFault(f"{origin}, {fault.place}" if fault.place else origin, fault.message) from None
