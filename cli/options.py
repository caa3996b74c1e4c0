"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8080"

Url = Annotated[str, typer.Option("--url", envvar="STANCHION_URL", help="Where the API is.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="STANCHION_TOKEN",
        show_envvar=True,
        help="Token of the API; for one on this machine, that of the data folder is the default.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Page = Annotated[int, typer.Option("--page", min=1, help="Page of the list, from 1.")]
PerPage = Annotated[int, typer.Option("--per-page", min=1, max=100, help="Entries on a page.")]
DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="STANCHION_DATA_DIR", help="Folder of everything that is kept.")
]
DATA = Path("data")
