"""Tokens, users, the audit trail, and whether the API is ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stanchion_client.messages import Answer, Call, Request, as_document, as_nothing, path_of
from stanchion_client.models import Audit, DependencyState, Token, TokenCreated, User
from stanchion_client.paging import PER_PAGE, Listing, listing
from stanchion_client.routes import operation


@operation("token_create")
def create_token(
    name: str,
    permissions: Sequence[str],
    *,
    expires_at: str | None = None,
    limits: Mapping[str, Sequence[str]] | None = None,
) -> Call[TokenCreated]:
    """Make a token, which is shown this once.

    Args:
        name: who or what it is for.
        permissions: such as ``playbook:read``.
        expires_at: RFC 3339.
        limits: ``playbooks``, ``playbook_tags`` and ``asset_tags`` that it is limited to.
    """
    body: dict[str, Any] = {"name": name, "permissions": list(permissions)}
    if expires_at:
        body["expires_at"] = expires_at
    if limits:
        body["limits"] = {label: list(values) for label, values in limits.items()}
    return Call(Request("POST", path_of("tokens"), body=body), as_document)


@operation("token_list")
def list_tokens(*, page: int = 1, per_page: int = PER_PAGE) -> Listing[Token]:
    """Tokens without their secrets, newest first; revoked ones too."""
    return listing(path_of("tokens"), page, per_page, lambda one: one["id"], {})


@operation("token_revoke")
def revoke_token(token_id: str) -> Call[None]:
    """Revoke a token at once."""
    return Call(Request("DELETE", path_of("tokens", token_id)), as_nothing, repeatable=True, gone_is_done=True)


@operation("user_create")
def create_user(username: str, password: str, permissions: Sequence[str]) -> Call[User]:
    """Make a user of the Phantom interface."""
    body = {"username": username, "password": password, "permissions": list(permissions)}
    return Call(Request("POST", path_of("users"), body=body), as_document)


@operation("user_list")
def list_users(*, page: int = 1, per_page: int = PER_PAGE) -> Listing[User]:
    """The users of the Phantom interface."""
    return listing(path_of("users"), page, per_page, lambda one: one["id"], {})


@operation("user_delete")
def delete_user(user_id: int) -> Call[None]:
    """Remove a user at once."""
    return Call(Request("DELETE", path_of("users", str(user_id))), as_nothing, repeatable=True, gone_is_done=True)


@operation("audit_list")
def list_audit(
    *,
    actor: str | None = None,
    action: str | None = None,
    object_type: str | None = None,
    object_id: str | None = None,
    since: str | None = None,
    page: int = 1,
    per_page: int = PER_PAGE,
) -> Listing[Audit]:
    """What was done and what was refused, newest first; ``since`` is RFC 3339."""
    query = {"actor": actor, "action": action, "object_type": object_type, "object_id": object_id, "since": since}
    return listing(path_of("audit"), page, per_page, lambda one: one["id"], query)


@operation("health_ready")
def dependencies() -> Call[list[DependencyState]]:
    """What the API depends on, and whether that is there; workers too."""
    return Call(Request("GET", "/readyz"), _dependencies, repeatable=True, also=frozenset({503}))


def _dependencies(answer: Answer) -> list[DependencyState]:
    document = answer.json() or {}
    found: list[DependencyState] = document.get("dependencies") or document.get("error", {}).get("dependencies") or []
    return found
