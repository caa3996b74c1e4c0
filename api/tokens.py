"""Tokens: how they are made, hashed, and looked up.

A token is ``stn_`` and 43 url-safe characters (256 bits), so a plain SHA-256 is a safe hash: there is nothing to
guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from settings import Settings
from storage import tokens
from storage.clock import now_ms
from storage.database import Database
from storage.limits import Limits

Permission = Literal[
    "playbook:read",
    "playbook:write",
    "playbook:execute",
    "asset:read",
    "asset:write",
    "host:read",
    "host:write",
    "secret:write",
    "token:admin",
    "audit:read",
    "payload:decode",
]
PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)
PREFIX: Final = "stn_"
CACHE_SECONDS: Final = 1.0
CACHE_SIZE: Final = 10_000
_FORM = re.compile(r"stn_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: a token, by its id and name, with what it may do, and on what."""

    id: str
    name: str
    permissions: frozenset[str]
    limits: Limits | None = None


ADMIN: Final = Principal("admin", "admin", frozenset(PERMISSIONS))
"""The principal of ``STANCHION_ADMIN_TOKEN``."""


def new_token() -> str:
    """A fresh token; 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """SHA-256 of ``token`` in hexadecimal: all that is stored of it."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    expires_at: int | None
    until: float


@dataclass(slots=True)
class TokenCache:
    """Good tokens by their hash, believed for at most a second; a token revoked in this process is gone at once.

    Another process of the API therefore honours a revoked token for up to a second longer.
    """

    settings: Settings
    database: Database
    _known: dict[str, _Known] = field(default_factory=dict)

    async def find(self, token: str) -> tuple[Principal | None, str]:
        """The principal of ``token``; or None and why not, in words that give nothing away."""
        digest = token_hash(token)
        if self._is_admin(digest):
            return ADMIN, ""
        if not _FORM.fullmatch(token):
            return None, "The token is malformed."
        return await self.find_by_hash(digest)

    async def find_by_hash(self, digest: str) -> tuple[Principal | None, str]:
        """Like ``find``, for a token of which only the hash is known: that of a session of the console."""
        if self._is_admin(digest):
            return ADMIN, ""
        known = self._known.get(digest) or await self._load(digest)
        if known is None:
            return None, "The token is unknown or revoked."
        if known.expires_at is not None and known.expires_at <= now_ms():
            return None, "The token has expired."
        if known.until <= time.monotonic():
            del self._known[digest]
            return await self.find_by_hash(digest)
        return known.principal, ""

    def forget(self, token_id: str) -> None:
        """Drop the token ``token_id``, which was revoked."""
        for digest in [key for key, known in self._known.items() if known.principal.id == token_id]:
            del self._known[digest]

    async def _load(self, digest: str) -> _Known | None:
        row = await self.database.read(tokens.get_by_hash, digest)
        if row is None or row.revoked_at is not None:
            return None
        principal = Principal(row.id, row.name, frozenset(row.permissions), Limits.of_json(row.limits))
        known = _Known(principal, row.expires_at, time.monotonic() + CACHE_SECONDS)
        if len(self._known) >= CACHE_SIZE:
            self._known.clear()
        self._known[digest] = known
        return known

    def _is_admin(self, digest: str) -> bool:
        # Digests are compared, so that neither length nor content of the secret shows in the time taken.
        secret = self.settings.admin_token
        return secret is not None and hmac.compare_digest(token_hash(secret.get_secret_value()), digest)
