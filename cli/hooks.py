"""``stanchion hook``: addresses at which other systems start a playbook."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import emit, say, show_entries, using_api

app = typer.Typer(help="Create, list and delete hooks of a playbook.", no_args_is_help=True)


class Signature(StrEnum):
    """How deliveries are signed."""

    STANDARD = "standard"
    GITHUB = "github"
    NONE = "none"


Playbook = Annotated[str, typer.Argument(help="Id or slug of the playbook.")]


@app.command("create")
def create(
    playbook: Playbook,
    name: Annotated[str, typer.Argument(help="Who or what posts to it.")],
    signature: Annotated[Signature, typer.Option(help="How deliveries are signed.")] = Signature.STANDARD,
    secret: Annotated[str | None, typer.Option(help="A secret of the sender's own; a new one without it.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create a hook; its address and its secret are shown this once."""
    with using_api(url, token, as_json) as api:
        made = api.hooks.create(playbook, name, signature=signature.value, secret=secret)
    if as_json:
        emit(made)
        return
    say(f"{url.rstrip('/')}{made['url']}")
    if made["secret"]:
        say(made["secret"])


@app.command("list")
def list_hooks(
    playbook: Playbook,
    page: Page = 1,
    per_page: PerPage = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the hooks of a playbook, without their addresses."""
    with using_api(url, token, as_json) as api:
        found = api.hooks.page(playbook, page=page, per_page=per_page)
    if as_json:
        emit(found)
        return
    show_entries(("id", "name", "signature", "created_at", "created_by"), found["data"])


@app.command("delete")
def delete(
    playbook: Playbook,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of the hook.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Delete a hook at once."""
    with using_api(url, token, as_json) as api:
        api.hooks.delete(playbook, identity)
    if as_json:
        emit({"id": identity, "deleted": True})
    else:
        say(f"{identity} is deleted.")
