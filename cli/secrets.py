"""``stanchion secret``: secrets of playbooks, kept encrypted in the database."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import complain, emit, say, show_entries, using_api

app = typer.Typer(help="Set, list and delete secrets of playbooks.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The name after `secrets.` in a playbook.")]


@app.command("set")
def set_secret(name: Name, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Set a secret: its value comes from stdin, or is asked for, and is never shown."""
    value = _value(name)
    with using_api(url, token, as_json) as api:
        stored = api.secrets.set(name, value)
    if as_json:
        emit(stored)
    else:
        say(f"{name} is set.")


@app.command("list")
def list_secrets(
    page: Page = 1, per_page: PerPage = 20, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """List the names of the secrets."""
    with using_api(url, token, as_json) as api:
        found = api.secrets.page(page=page, per_page=per_page)
    if as_json:
        emit(found)
        return
    show_entries(("name", "updated_at", "updated_by"), found["data"])


@app.command("delete")
def delete(name: Name, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Delete a secret at once."""
    with using_api(url, token, as_json) as api:
        api.secrets.delete(name)
    if as_json:
        emit({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted.")


def _value(name: str) -> str:
    """The value, without the line break that ends it.

    Never an argument: every process of a machine can read those, and the shell remembers them.
    """
    if sys.stdin.isatty():
        value: str = typer.prompt(name, hide_input=True, confirmation_prompt=True)
        return value
    value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        complain("There is nothing on stdin: pipe the secret in, or run this in a terminal.")
        raise typer.Exit(2)
    return value
