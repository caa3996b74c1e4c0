"""``stanchion token``: who may use the API, and for what."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import emit, say, show_entries, using_api

app = typer.Typer(help="Create, list and revoke tokens.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    permission: Annotated[
        list[str], typer.Option("--permission", help="playbook:read, playbook:execute … (repeat it).")
    ],
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339, such as 2027-01-01T00:00:00Z.")] = None,
    playbook: Annotated[
        list[str] | None, typer.Option("--playbook", help="Slug of a playbook that it is limited to (repeat it).")
    ] = None,
    playbook_tag: Annotated[
        list[str] | None, typer.Option("--playbook-tag", help="Tag of playbooks that it is limited to (repeat it).")
    ] = None,
    asset_tag: Annotated[
        list[str] | None,
        typer.Option("--asset-tag", help="Tag of assets that it is limited to: key, or key=value (repeat it)."),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create a token; it is shown this once."""
    limits = {"playbooks": playbook, "playbook_tags": playbook_tag, "asset_tags": asset_tag}
    given = {name: labels for name, labels in limits.items() if labels}
    with using_api(url, token, as_json) as api:
        made = api.tokens.create(name, permission, expires_at=expires_at, limits=given)
    if as_json:
        emit(made)
    else:
        say(made["token"])


@app.command("list")
def list_tokens(
    page: Page = 1, per_page: PerPage = 20, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """List tokens, without what they are."""
    with using_api(url, token, as_json) as api:
        found = api.tokens.page(page=page, per_page=per_page)
    if as_json:
        emit(found)
        return
    fields = ("id", "name", "created_at", "expires_at", "revoked_at", "permissions")
    show_entries(fields, [{**one, "permissions": ", ".join(one["permissions"])} for one in found["data"]])


@app.command("revoke")
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of the token.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token at once."""
    with using_api(url, token, as_json) as api:
        api.tokens.revoke(identity)
    if as_json:
        emit({"id": identity, "revoked": True})
    else:
        say(f"{identity} is revoked.")
