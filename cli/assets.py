"""``stanchion asset``: what playbooks run on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import emit, say, show_entries, using_api

if TYPE_CHECKING:
    from stanchion_client import Stanchion

app = typer.Typer(help="Add and list assets.", no_args_is_help=True)

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
Pairs = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE")]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the asset.")],
    kind: Annotated[str, typer.Option("--type", help="What it is: host, website, repository …")] = "host",
    hostname: str | None = None,
    ip: str | None = None,
    address: Annotated[str | None, typer.Option("--asset-url", help="URL of the asset.")] = None,
    tag: Pairs = None,
    attribute: Pairs = None,
    identity: Annotated[str | None, typer.Option("--id", help="A UUID; made when absent.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Add an asset."""
    from cli.values import ArgumentError, parse_pairs, parse_texts

    try:
        tags, attributes = parse_texts(tag or []), parse_pairs(attribute or [])
    except ArgumentError as fault:
        raise typer.BadParameter(str(fault)) from fault
    with using_api(url, token, as_json) as api:
        made = api.assets.create(
            name,
            kind,
            hostname=hostname,
            ip=ip,
            url=address,
            tags=tags,
            attributes=attributes,
            asset_id=identity,
        )
    if as_json:
        emit(made)
    else:
        say(made["id"])


@app.command("list")
def list_assets(
    search: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    page: Page = 1,
    per_page: PerPage = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List assets."""
    with using_api(url, token, as_json) as api:
        found = api.assets.page(search=search, page=page, per_page=per_page)
    if as_json:
        emit(found)
    else:
        show_entries(("id", "name", "type", "hostname", "ip", "url"), found["data"])


def asset_id(api: Stanchion, name_or_id: str) -> str:
    """The id of the asset; a name is looked up.  Raises ``NotFound`` unless exactly one asset has the name."""
    from stanchion_client import NotFound

    if _UUID.fullmatch(name_or_id):
        return name_or_id
    named = [asset["id"] for asset in api.assets.list(search=name_or_id) if asset["name"] == name_or_id]
    if len(named) != 1:
        count = "No asset has" if not named else f"{len(named)} assets have"
        raise NotFound(f"{count} the name {name_or_id!r}; give the asset's id.", 404)
    return named[0]
