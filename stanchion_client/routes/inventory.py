"""Assets, and what actions need to reach them: host keys and secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stanchion_client.messages import Call, Request, as_document, as_nothing, path_of
from stanchion_client.models import Asset, HostKey, Secret
from stanchion_client.paging import PER_PAGE, Listing, listing
from stanchion_client.routes import operation


def _asset(
    name: str,
    kind: str,
    hostname: str | None,
    ip: str | None,
    url: str | None,
    tags: Mapping[str, str] | None,
    attributes: Mapping[str, Any] | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": name, "type": kind, "hostname": hostname, "ip": ip, "url": url}
    fields |= {"tags": dict(tags or {}) or None, "attributes": dict(attributes or {}) or None}
    return {field: value for field, value in fields.items() if value is not None}


@operation("asset_create")
def create_asset(
    name: str,
    kind: str = "host",
    *,
    hostname: str | None = None,
    ip: str | None = None,
    url: str | None = None,
    tags: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    asset_id: str | None = None,
) -> Call[Asset]:
    """Add an asset; with ``asset_id`` it gets that id, and may be sent again without a second one being made."""
    body = _asset(name, kind, hostname, ip, url, tags, attributes) | ({"id": asset_id} if asset_id else {})
    return Call(Request("POST", path_of("assets"), body=body), as_document)


@operation("asset_list")
def list_assets(
    *,
    search: str | None = None,
    kind: str | None = None,
    tag: str | None = None,
    page: int = 1,
    per_page: int = PER_PAGE,
) -> Listing[Asset]:
    """Assets by name; ``search`` is part of name, hostname, ip or url, ``tag`` is ``key`` or ``key=value``."""
    query = {"search": search, "type": kind, "tag": tag}
    return listing(path_of("assets"), page, per_page, lambda one: one["id"], query)


@operation("asset_read")
def read_asset(asset_id: str) -> Call[Asset]:
    """Read an asset."""
    return Call(Request("GET", path_of("assets", asset_id)), as_document, repeatable=True)


@operation("asset_replace")
def replace_asset(
    asset_id: str,
    name: str,
    kind: str = "host",
    *,
    hostname: str | None = None,
    ip: str | None = None,
    url: str | None = None,
    tags: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Call[Asset]:
    """Store an asset as it shall be from now on: what is not given is empty then."""
    body = _asset(name, kind, hostname, ip, url, tags, attributes)
    return Call(Request("PUT", path_of("assets", asset_id), body=body), as_document, repeatable=True)


@operation("asset_delete")
def delete_asset(asset_id: str) -> Call[None]:
    """Delete an asset; its executions stay readable."""
    return Call(Request("DELETE", path_of("assets", asset_id)), as_nothing, repeatable=True, gone_is_done=True)


@operation("host_key_trust")
def trust_host_key(host: str, key: str, *, port: int = 22, replace: bool = False) -> Call[HostKey]:
    """Trust the SSH host key of a host; with ``replace`` its other keys are forgotten."""
    body = {"host": host, "port": port, "key": key, "replace": replace}
    return Call(Request("POST", path_of("host-keys"), body=body), as_document, repeatable=True)


@operation("host_key_list")
def list_host_keys(
    *, host: str | None = None, port: int | None = None, page: int = 1, per_page: int = PER_PAGE
) -> Listing[HostKey]:
    """The host keys that count; of one host where it is given."""
    return listing(path_of("host-keys"), page, per_page, lambda one: one["id"], {"host": host, "port": port})


@operation("host_key_forget")
def forget_host_key(key_id: str) -> Call[None]:
    """Forget a host key."""
    return Call(Request("DELETE", path_of("host-keys", key_id)), as_nothing, repeatable=True, gone_is_done=True)


@operation("secret_set")
def set_secret(name: str, value: str) -> Call[Secret]:
    """Set a secret of playbooks; nothing ever shows its value."""
    request = Request("PUT", path_of("secrets", name), body={"value": value})
    return Call(request, as_document, repeatable=True)


@operation("secret_list")
def list_secrets(*, page: int = 1, per_page: int = PER_PAGE) -> Listing[Secret]:
    """The names of the secrets."""
    return listing(path_of("secrets"), page, per_page, lambda one: one["name"], {})


@operation("secret_delete")
def delete_secret(name: str) -> Call[None]:
    """Delete a secret at once."""
    return Call(Request("DELETE", path_of("secrets", name)), as_nothing, repeatable=True, gone_is_done=True)
