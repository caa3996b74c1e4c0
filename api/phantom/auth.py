"""Who asks: user and password (Basic, RFC 7617), ``ph-auth-token``, or the token as password of an empty user."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from api.errors import Forbidden, Unauthorized
from api.limits import address_of
from api.phantom.closed import ClosedRuns
from api.phantom.passwords import Passwords
from api.tokens import CACHE_SECONDS, PERMISSIONS, Principal, token_hash
from executions.combining import Combined
from executions.errors import NotFound, Refusal
from settings import Settings
from storage.clock import now_ms
from storage.database import Database
from storage.phantom import users
from storage.phantom.users import UserRow

if TYPE_CHECKING:
    from api.services import Services

CHALLENGE: Final = 'Basic realm="Stanchion", charset="UTF-8"'
ALLOWED: Final = frozenset(PERMISSIONS) - {"token:admin", "payload:decode"}
"""What the user and the token of the settings may do."""

MAX_USERS: Final = 1_000

USER_ID: Final = "user:"
"""How the id of who came with a name and a password begins."""

SETTINGS_TOKEN: Final = Principal("phantom-token", "automation", ALLOWED)


class TokenMayNotDelete(Refusal):
    """Phantom deletes for users only, not for what runs by itself."""

    status = 403
    code = "forbidden"

    def __init__(self) -> None:
        super().__init__("DELETE needs a user and a password; a token may not delete.")


class LimitedToken(Refusal):
    """The labels of the native interface say nothing of containers."""

    status = 403
    code = "forbidden"

    def __init__(self) -> None:
        super().__init__("A token that is limited to playbooks or assets cannot be used here.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the number that the interface knows them by."""

    principal: Principal
    number: int


@dataclass(slots=True)
class Gate:
    """Lets callers in; the interface is off until there is somebody who could be let in."""

    settings: Settings
    database: Database
    passwords: Passwords = field(default_factory=Passwords)
    closed: ClosedRuns = field(default_factory=ClosedRuns)
    reading: Combined[Any] = field(default_factory=Combined)
    """Of runs, by their numbers."""
    _is_on: bool = False
    _users: dict[str, tuple[UserRow, float]] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    async def enter(self, request: Request, services: Services, permissions: Sequence[str]) -> Caller:
        """The caller, who has one of ``permissions``.

        Raises NotFound while the interface is off, Unauthorized, Forbidden; RateLimited while passwords are guessed.
        """
        await self._check_on()
        principal = await self._principal(request, services)
        if services.limiter is not None:
            services.limiter.take(request.scope, principal.id if principal else None)
        if principal is None:
            services.journal.denied(request, None, "unauthorized")
            raise _unauthorized()
        request.state.principal = principal
        if not principal.permissions.intersection(permissions):
            services.journal.denied(request, principal, "forbidden")
            raise Forbidden(" or ".join(permissions))
        if principal.limits is not None:
            services.journal.denied(request, principal, "limited")
            raise LimitedToken
        if request.method == "DELETE" and not principal.id.startswith(USER_ID):
            services.journal.denied(request, principal, "forbidden")
            raise TokenMayNotDelete
        return Caller(principal, await self._number(principal))

    async def _check_on(self) -> None:
        if self._is_on:
            return
        given = self.settings
        configured = given.phantom_token is not None or None not in (given.phantom_user, given.phantom_password)
        self._is_on = configured or await self.database.read(users.is_anybody)
        if not self._is_on:
            raise NotFound("The Phantom interface is off: it has no user and no token yet.")

    async def _principal(self, request: Request, services: Services) -> Principal | None:
        found = _basic(request)
        is_user = found is not None and found[0] != ""
        token = token_of(request)
        # Clients add a user to the token of their session where a token may not: to delete.
        if found is not None and is_user and (token is None or request.method == "DELETE"):
            return await self._of_user(*found, address_of(request.scope))
        return None if token is None else await self._of_token(token, services)

    async def _of_token(self, token: str, services: Services) -> Principal | None:
        secret = self.settings.phantom_token
        if secret is not None and _same(secret.get_secret_value(), token):
            return SETTINGS_TOKEN
        principal, _ = await services.tokens.find(token)
        return principal

    async def _of_user(self, username: str, password: str, address: str) -> Principal | None:
        name, secret = self.settings.phantom_user, self.settings.phantom_password
        if name is not None and secret is not None and _same(name, username):
            return Principal(f"{USER_ID}{name}", name, ALLOWED) if _same(secret.get_secret_value(), password) else None
        row = await self._user(username)
        kept = row.password_hash if row else None
        if not await self.passwords.check(username, password, kept, address) or row is None:
            return None
        self._numbers.setdefault(f"{USER_ID}{username}", row.id)
        return Principal(f"{USER_ID}{username}", username, frozenset(row.permissions))

    async def _user(self, username: str) -> UserRow | None:
        """The user, believed for at most a second, as tokens are; one removed in this process is gone at once."""
        known = self._users.get(username)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        row = await self.database.read(users.find, username)
        if row is not None:
            if len(self._users) >= MAX_USERS:
                self._users.clear()
            self._users[username] = (row, time.monotonic() + CACHE_SECONDS)
        return row

    def forget(self) -> None:
        """Drops what is remembered of users: one was removed."""
        self._users.clear()

    async def _number(self, principal: Principal) -> int:
        known = self._numbers.get(principal.id)
        if known is None:
            known = await self.database.write(users.number_of, principal.id, principal.name, now_ms())
            self._numbers[principal.id] = known
        return known


def token_of(request: Request) -> str | None:
    """The token that somebody came with, if any."""
    header = request.headers.get("ph-auth-token")
    if header is not None:
        return header.strip()
    found = _basic(request)
    return found[1] if found is not None and not found[0] else None


def is_own_token(request: Request, token: str) -> bool:
    """Whether ``token`` is the one that somebody came with."""
    own = token_of(request)
    return own is not None and _same(own, token)


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        content = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # as the `requests` library writes it
    username, colon, password = text.partition(":")
    return (username, password) if colon else None


def _same(secret: str, given: str) -> bool:
    # Digests are compared, so that neither length nor content of the secret shows in the time taken.
    return hmac.compare_digest(token_hash(secret), token_hash(given))


def _unauthorized() -> Unauthorized:
    error = Unauthorized("Authentication failed: a user and password, or a ph-auth-token, is required.")
    error.headers["WWW-Authenticate"] = CHALLENGE
    return error
