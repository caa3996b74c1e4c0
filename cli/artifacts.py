"""``stanchion artifact``: files that the steps of an execution have made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import complain, emit, say, show_entries, using_api

app = typer.Typer(help="List and download what the steps of an execution have made.", no_args_is_help=True)

Execution = Annotated[str, typer.Argument(metavar="EXECUTION", help="Id of the execution.")]


@app.command("list")
def list_artifacts(
    execution: Execution,
    page: Page = 1,
    per_page: PerPage = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the artifacts of an execution."""
    with using_api(url, token, as_json) as api:
        found = api.executions.artifacts_page(execution, page=page, per_page=per_page)
    if as_json:
        emit(found)
        return
    show_entries(("name", "media_type", "size", "step", "created_at"), found["data"])


@app.command("get")
def get(
    execution: Execution,
    name: Annotated[str, typer.Argument(help="Name of the artifact.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, - for stdout; else one of the same name.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Download an artifact; an existing file of the same name is not replaced unless it is named."""
    with using_api(url, token, as_json) as api:
        data = api.executions.artifact(execution, name)
    if output == Path("-"):
        sys.stdout.buffer.write(data)
        return
    # The API has found it, so its name is one file, here too.
    path = output or Path(name)
    try:
        with path.open("wb" if output else "xb") as file:
            file.write(data)
    except OSError as fault:
        complain(f"Cannot write {path}: {fault.strerror}.")
        raise typer.Exit(1) from fault
    written: dict[str, Any] = {"name": name, "file": str(path), "size": len(data)}
    if as_json:
        emit(written)
    else:
        say(str(path))
