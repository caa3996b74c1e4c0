"""``stanchion hook``: addresses at which other systems start a playbook."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from cli.options import DEFAULT_URL, AsJson, Token, Url
from cli.output import emit, say, show, using_api

app = typer.Typer(help="Create, list and delete hooks of a playbook.", no_args_is_help=True)

Playbook = Annotated[str, typer.Argument(help="Id or slug of the playbook.")]


def _path(playbook: str) -> str:
    return f"/api/playbooks/{quote(playbook, safe='')}/hooks"


@app.command("create")
def create(
    playbook: Playbook,
    name: Annotated[str, typer.Argument(help="Who or what posts to it.")],
    signature: Annotated[str, typer.Option(help="standard, github or none.")] = "standard",
    secret: Annotated[str | None, typer.Option(help="A secret of the sender's own; a new one without it.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create a hook; its address and its secret are shown this once."""
    body = {"name": name, "signature": signature} | ({"secret": secret} if secret else {})
    with using_api(url, token, as_json) as api:
        made = api.post(_path(playbook), body)
    if as_json:
        emit(made)
        return
    say(f"{url.rstrip('/')}{made['url']}")
    if made["secret"]:
        say(made["secret"])


@app.command("list")
def list_hooks(playbook: Playbook, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """List the hooks of a playbook, without their addresses."""
    with using_api(url, token, as_json) as api:
        found = api.get(_path(playbook))
    if as_json:
        emit(found)
        return
    fields = ("id", "name", "signature", "created_at", "created_by")
    show(fields, [[one[field] for field in fields] for one in found["data"]])


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
        api.delete(f"{_path(playbook)}/{quote(identity, safe='')}")
    if as_json:
        emit({"id": identity, "deleted": True})
    else:
        say(f"{identity} is deleted.")
