"""docs/reference/commands.md from the command line itself."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from cli.main import app
from scripts.reference import MADE

HEAD = f"""\
# The command line

{MADE.format(source="the command line itself")} `stanchion COMMAND --help` says the same.

The exit code is 0 when all went well; 1 when the API refused, or a run that was watched did not complete; 2 for wrong
use. With `--json` a command prints one JSON document, errors too.
"""


def page() -> str:
    """The whole page."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="stanchion", title="`stanchion`")
    text = re.sub(r"^(#+) ", r"#\1 ", text, flags=re.MULTILINE)
    text = text.replace("```console\n$ ", "```text\n")
    return f"{HEAD}\n{text.strip()}\n"
