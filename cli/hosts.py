"""``stanchion host``: which host keys count, so that no playbook speaks to a server that only pretends to be one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_URL, AsJson, Token, Url
from cli.output import complain, emit, say, show_entries, using_api

if TYPE_CHECKING:
    from stanchion_client import Stanchion
    from stanchion_client.models import HostKey

app = typer.Typer(help="Trust, list and forget the SSH host keys of hosts.", no_args_is_help=True)

Place = Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="As playbooks name it; [2001:db8::1]:22 for IPv6.")]


@app.command("trust")
def trust(
    place: Place,
    fingerprint: Annotated[
        list[str] | None, typer.Option(help="Trust without asking what has this fingerprint, SHA256:… (repeat it).")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="Take the keys of this .pub or known_hosts file instead of asking the host.", exists=True),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Trust without asking: only on a network that you trust.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Forget the host's other keys.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show the host keys of an SSH server and trust them, once you have compared the fingerprints."""
    host, port = split_place(place)
    keys = _keys_in(key_file) if key_file is not None else _ask(host, port)
    if fingerprint:
        keys = {shown: key for shown, key in keys.items() if shown in fingerprint}
        if not keys:
            complain(f"{place} has no key with that fingerprint. Nothing is trusted.")
            raise typer.Exit(1)
    with using_api(url, token, as_json) as api:
        known = {one["fingerprint"] for one in _stored(api, host, port)}
        _show(keys, known, as_json)
        if not (yes or fingerprint or typer.confirm(f"Trust these keys of {place}?", err=True)):
            complain("Nothing is trusted.")
            raise typer.Exit(1)
        made = _trust(api, host, port, list(keys.values()), replace)
    if as_json:
        emit({"data": made})
    else:
        say(f"{len(made)} {'key' if len(made) == 1 else 'keys'} of {place} trusted.")


@app.command("list")
def list_keys(
    place: Annotated[str | None, typer.Argument(metavar="[HOST[:PORT]]", help="Only this host's.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the host keys that count."""
    with using_api(url, token, as_json) as api:
        found = _stored(api, *split_place(place)) if place else _stored(api, None, None)
    if as_json:
        emit({"data": found})
        return
    show_entries(("host", "port", "algorithm", "fingerprint", "created_at"), found)


@app.command("forget")
def forget(place: Place, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Forget every key of a host: it is not spoken to until it is trusted again."""
    host, port = split_place(place)
    with using_api(url, token, as_json) as api:
        found = _stored(api, host, port)
        for one in found:
            api.host_keys.forget(one["id"])
    if as_json:
        emit({"forgotten": [one["fingerprint"] for one in found]})
    else:
        say(f"{len(found)} {'key' if len(found) == 1 else 'keys'} of {place} forgotten.")
    if not found:
        raise typer.Exit(1)


def split_place(place: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port``, ``2001:db8::1`` or ``[2001:db8::1]:port``; 22 where none is given."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        port = rest.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    else:
        host, port = place, ""
    if not host or (port and not (port.isdigit() and 0 < int(port) < 65536)):
        raise typer.BadParameter(f"{place!r} is no HOST[:PORT]")
    return host, int(port or 22)


def _ask(host: str, port: int) -> dict[str, str]:
    """The keys that the server shows, by fingerprint."""
    import asyncio

    from activities.hosts.scan import shown_keys

    try:
        return asyncio.run(shown_keys(host, port))
    except (OSError, TimeoutError) as error:
        complain(f"Cannot read the host keys of {host} port {port}: {str(error) or 'it does not answer'}.")
        raise typer.Exit(1) from error


def _keys_in(file: Path) -> dict[str, str]:
    from activities.hosts.scan import fingerprint_of
    from activities.hosts.target import public_key_of

    keys = [key for line in file.read_text("utf-8", "replace").splitlines() if (key := public_key_of(line))]
    if not keys:
        complain(f"{file} holds no public key.")
        raise typer.Exit(1)
    return {fingerprint_of(key): key for key in keys}


def _stored(api: Stanchion, host: str | None, port: int | None) -> list[HostKey]:
    return list(api.host_keys.list(host=host, port=port))


def _trust(api: Stanchion, host: str, port: int, keys: list[str], replace: bool) -> list[HostKey]:
    # The first one clears the place; the others join it.
    return [
        api.host_keys.trust(host, key, port=port, replace=replace and number == 0) for number, key in enumerate(keys)
    ]


def _show(keys: dict[str, str], known: set[str], as_json: bool) -> None:
    tell = complain if as_json else say
    for fingerprint, key in keys.items():
        tell(f"{key.partition(' ')[0]:<20} {fingerprint}{'  (trusted already)' if fingerprint in known else ''}")
    if known and not known & set(keys):
        complain("THE HOST HAS OTHER KEYS THAN BEFORE. It was set up anew, or somebody sits in between.")
