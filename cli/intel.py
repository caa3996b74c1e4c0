"""``stanchion intel``: what is known of vulnerabilities, brought into the database, and how old it is.

Works on the database of the settings itself, as ``stanchion migrate`` does: a source has 250,000 entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DATA, AsJson, DataDir
from cli.output import complain, emit, say, show

if TYPE_CHECKING:
    from settings import Settings
    from storage.database import Database
    from storage.intel.store import SourceRow

app = typer.Typer(help="Keep what is known of vulnerabilities up to date.", no_args_is_help=True)

FIELDS = ("source", "entries", "as_of", "synced_at", "sample", "version", "origin")


class Source(StrEnum):
    """A source of intelligence."""

    KEV = "kev"
    EPSS = "epss"
    NVD = "nvd"


@app.command("sync")
def sync(
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE-OR-URL]…", help="What to read; where the sources publish when there is none."),
    ] = None,
    source: Annotated[Source | None, typer.Option(help="Only this source; else told by the file's beginning.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Load the small shipped sample, to try things out.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take a file that is older, or has less than half of what is stored.")
    ] = False,
    nvd_api_key: Annotated[
        str | None, typer.Option(envvar="STANCHION_NVD_API_KEY", show_envvar=True, help="Makes NVD ten times faster.")
    ] = None,
    data_dir: DataDir = DATA,
    as_json: AsJson = False,
) -> None:
    """Read CISA KEV, FIRST EPSS and NIST NVD into the database, each source whole or not at all."""
    if sample and places:
        raise typer.BadParameter("the sample is no file to be given with others")
    faults: list[dict[str, Any]] = []
    with _database(data_dir, as_json) as (database, config):
        if sample:
            from engine.intel_sync import load_sample

            rows = load_sample(database)
        else:
            rows, faults = _read(database, config, source, places or [], force, nvd_api_key, as_json)
    if as_json:
        emit({"data": [document(row) for row in rows], "errors": faults})
    else:
        for row in rows:
            say(f"{row.source}: {row.entries} entries as of {_time(row.as_of)}, from {', '.join(row.origin[:3])}")
        for fault in faults:
            complain(f"{fault['source'] or 'intel'}: {fault['message']} Nothing of it was changed.")
    if faults:
        raise typer.Exit(1)


@app.command("status")
def status(data_dir: DataDir = DATA, as_json: AsJson = False) -> None:
    """Show what is stored of each source, of when it is, and where it came from."""
    from storage.intel.store import sources

    with _database(data_dir, as_json) as (database, _):
        rows = [document(row) for row in sorted(database.read_sync(sources), key=lambda row: row.source)]
    if as_json:
        emit({"data": rows})
    else:
        show(FIELDS, [[_cell(row[name]) for name in FIELDS] for row in rows])


def document(row: SourceRow) -> dict[str, Any]:
    """What is told of a source."""
    return {
        "source": row.source,
        "entries": row.entries,
        "as_of": _time(row.as_of),
        "synced_at": _time(row.synced_at),
        "sample": row.sample,
        "version": row.version,
        "origin": row.origin,
    }


def _read(
    database: Database,
    config: Settings,
    source: Source | None,
    places: list[str],
    force: bool,
    key: str | None,
    quiet: bool,
) -> tuple[list[SourceRow], list[dict[str, Any]]]:
    import asyncio

    from activities.egress import EgressPolicy
    from activities.errors import ActionError
    from engine.intel_sync import Reach, wanted_of
    from engine.intel_sync import sync as read
    from storage.intel.faults import IntelFault

    reach = Reach(EgressPolicy.parse(config.egress_allow), key, progress=(lambda _: None) if quiet else complain)
    rows: list[SourceRow] = []
    faults: list[dict[str, Any]] = []
    try:
        wanted = wanted_of(source.value if source else None, places, force)
    except IntelFault as fault:
        return [], [{"source": None, "code": "invalid_file", "message": f"{fault}."}]
    for one in wanted:
        try:
            rows.append(asyncio.run(read(database, one, reach)))
        except IntelFault as fault:
            faults.append({"source": one.source, "code": "invalid_file", "message": f"{fault}."})
        except ActionError as error:
            faults.append({"source": one.source, "code": error.code, "message": error.message})
    return rows, faults


@contextmanager
def _database(data_dir: Path, as_json: bool) -> Iterator[tuple[Database, Settings]]:
    """The database of the settings, once it is what this version needs; otherwise the command ends with 1."""
    from settings import Settings
    from storage.database import Database
    from storage.errors import DatabaseUnavailable
    from storage.migrate import current_revision
    from storage.migrations import HEAD

    config = Settings(data_dir=data_dir)
    file = config.data_dir / "stanchion.sqlite"
    if config.database_url is None and not file.exists():
        _refuse(f"There is no database at {file}. Start Stanchion once, or give its --data-dir.", as_json)
    database = Database(config.database)
    try:
        if database.read_sync(current_revision) != HEAD:
            _refuse("The database is not of this version: `stanchion migrate` brings it there.", as_json)
        yield database, config
    except DatabaseUnavailable as fault:
        _refuse(fault.detail, as_json)
    finally:
        database.close()


def _refuse(message: str, as_json: bool) -> None:
    if as_json:
        emit({"status": "error", "error": {"code": "database_unavailable", "message": message}})
    else:
        complain(message)
    raise typer.Exit(1)


def _time(ms: int | None) -> str | None:
    from datetime import UTC, datetime

    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value[:3]) + (f" and {len(value) - 3} more" if len(value) > 3 else "")
    return "yes" if value is True else "no" if value is False else str(value)
