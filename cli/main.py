"""Entry of the command ``stanchion``.

The first output comes within 0.4 s: nothing heavy is imported before a command runs, help is plain text (rich would
take 0.25 s), and before the command there are only flags: for other options typer would load pydantic (0.25 s).
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import artifacts, assets, audit, backup, hooks, hosts, intel, playbooks, runs, secrets, server, tokens

GROUPS = {
    "playbook": playbooks.app,
    "asset": assets.app,
    "token": tokens.app,
    "hook": hooks.app,
    "artifact": artifacts.app,
    "host": hosts.app,
    "secret": secrets.app,
    "audit": audit.app,
    "intel": intel.app,
}
FLAGS = {"help": False, **{name: {"help": False} for name in GROUPS}}

app = typer.Typer(
    name="stanchion",
    help="Durable security playbooks on Temporal: rehearsed, conflict-free, cancellable, never lost.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    # Defaults of their own keep the help flags of commands that have commands away from pydantic too.
    context_settings={"help_option_names": ["-h", "--help"], "default_map": FLAGS},
)
for server_command in server.COMMANDS:
    app.command()(server_command)
for backup_command in backup.COMMANDS:
    app.command()(backup_command)
for run_command in runs.COMMANDS:
    app.command()(run_command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"stanchion {version('stanchion')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Durable security playbooks on Temporal: rehearsed, conflict-free, cancellable, never lost."""


def main() -> None:
    """Runs the command; exit code 1 when a watched run failed or the API refused, 2 for wrong use."""
    try:
        app()
    except SystemExit as end:
        if "temporalio" in sys.modules:
            from engine.processes import leave

            leave(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


if __name__ == "__main__":
    main()
