"""What the commands print: one JSON document for programs, tables and colours for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from stanchion_client import Detail, Stanchion, StanchionError

COLOURS = {
    "pending": "dim",
    "running": "cyan",
    "completed": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "cancelled": "magenta",
}
_WIDTH_OF_A_FILE = 200


@contextmanager
def using_api(url: str, token: str | None, as_json: bool) -> Iterator[Stanchion]:
    """The API for one command; an error of it is told and ends the command with exit code 1."""
    from cli.connecting import connect
    from stanchion_client import StanchionError

    try:
        with connect(url, token) as api:
            yield api
    except StanchionError as fault:
        tell_error(fault, as_json, url)
        raise typer.Exit(1) from fault


def tell_error(fault: StanchionError, as_json: bool, url: str) -> None:
    """The API's error: its document on stdout with ``--json``, otherwise sentences on stderr."""
    from stanchion_client import ApiError

    document = fault.document if isinstance(fault, ApiError) else _document(fault, url)
    if as_json:
        emit(document)
        return
    error = document["error"]
    complain(error.get("message") or fault.message)
    if error.get("code") == "conflict" and error.get("execution_id"):
        complain(f"  the running one: {error['execution_id']}")
    for detail in fault.details if isinstance(fault, ApiError) else ():
        complain("  " + place_of(detail) + detail.message)


def _document(fault: StanchionError, url: str) -> dict[str, Any]:
    from stanchion_client import ConnectionFailed
    from stanchion_client.wire import is_loopback

    is_absent = isinstance(fault, ConnectionFailed) and not fault.sent and is_loopback(url)
    message = f"{fault.message} Is `stanchion up` running?" if is_absent else fault.message
    return {"status": "error", "error": {"code": fault.code, "message": message}}


def place_of(detail: Detail) -> str:
    """Where a fault is: line and column where they are known, and the JSON Pointer."""
    line = f"line {detail.line}, column {detail.column or 1}: " if detail.line else ""
    return f"{line}{detail.path}: " if detail.path else line


def emit(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """One line for people on stdout."""
    print(clean(text), flush=True)


def complain(text: str) -> None:
    """One line for people on stderr."""
    print(clean(text), file=sys.stderr, flush=True)


def clean(value: Any) -> str:
    """``value`` as text that cannot move the cursor or colour the terminal: what it holds came from outside."""
    text = "" if value is None else str(value)
    return "".join(
        character if character.isprintable() or character in "\n\t" else f"\\x{ord(character):02x}"
        for character in text
    )


def console() -> Console:
    """A rich console on stdout; wide when it is not a terminal, so that no column is cut."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_A_FILE)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A plain table; cells that name a state are in its colour."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        cells = [clean(cell) for cell in row]
        made.add_row(*[Text(cell, style=COLOURS.get(cell, "")) for cell in cells])
    return made


def show_entries(fields: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> None:
    """Prints these fields of the entries as a table."""
    show(fields, [[entry.get(field) for field in fields] for entry in entries])


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table, or a line that says there is nothing."""
    if rows:
        console().print(table(columns, rows))
    else:
        say("Nothing found.")
