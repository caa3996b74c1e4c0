"""``stanchion asset``: what playbooks run on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import emit, say, show, using_api

if TYPE_CHECKING:
    from cli.http import Api

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
    body: dict[str, Any] = {"name": name, "type": kind, "hostname": hostname, "ip": ip, "url": address, "id": identity}
    body |= {"tags": tags or None, "attributes": attributes or None}
    with using_api(url, token, as_json) as api:
        made = api.post("/api/assets", {field: value for field, value in body.items() if value is not None})
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
        found = api.get("/api/assets", {"search": search, "page": page, "per_page": per_page})
    if as_json:
        emit(found)
    else:
        fields = ("id", "name", "type", "hostname", "ip", "url")
        show(fields, [[asset.get(field) for field in fields] for asset in found["data"]])


def asset_id(api: Api, name_or_id: str) -> str:
    """The id of the asset; a name is looked up.  Raises ``ApiError`` unless exactly one asset has the name."""
    from cli.http import ApiError

    if _UUID.fullmatch(name_or_id):
        return name_or_id
    found = api.get("/api/assets", {"search": name_or_id, "per_page": 100})
    named = [str(asset["id"]) for asset in found["data"] if asset["name"] == name_or_id]
    if len(named) != 1:
        count = "No asset has" if not named else f"{len(named)} assets have"
        message = f"{count} the name {name_or_id!r}; give the asset's id."
        raise ApiError(message, None, {"status": "error", "error": {"code": "not_found", "message": message}})
    return named[0]
