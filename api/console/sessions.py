"""Who is signed in: a cookie, a row in the database, and the token that was signed in with.

The cookie holds 256 random bits; the database holds its hash and that of the token.  A token that is revoked or
expires ends its sessions with it, in every process of the API.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from api.body import read_bytes
from api.services import Services, services_of
from api.tokens import Principal, token_hash
from executions.errors import BadRequest, Refusal
from storage import audit, sessions
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.sessions import SessionRow

COOKIE: Final = "stanchion_session"
LIFETIME_SECONDS: Final = 12 * 3600
CSRF_FIELD: Final = "csrf"
MAX_FIELDS: Final = 5_000
ENCODED: Final = 3
"""How many times as long as a text its form can be, since each byte may be escaped."""


class SignInNeeded(Exception):
    """The page is for those who are signed in."""


class Forged(Refusal):
    """A form that does not come from a page of this session."""

    status = 403
    code = "forged"

    def __init__(self) -> None:
        super().__init__("This form comes from another site, or from an earlier session. Load the page anew.")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a submitted form, in their order; a name may stand several times."""

    fields: Sequence[tuple[str, str]]

    def get(self, name: str) -> str:
        """The last value of a field, or an empty text."""
        return next((value for field, value in reversed(self.fields) if field == name), "")

    def has(self, name: str) -> bool:
        """Whether the field was sent."""
        return any(field == name for field, _ in self.fields)

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for field, value in self.fields if field == name]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page, and the proof that forms of the session carry."""

    principal: Principal
    csrf: str
    id_hash: str
    form: Form

    def may(self, *permissions: str) -> bool:
        """Whether the token has one of these permissions: what it may not do is not shown."""
        return bool(self.principal.permissions.intersection(permissions))


async def signed_in(request: Request) -> Visitor:
    """The visitor of a page; of a form, after its proof.

    Raises:
        SignInNeeded: no session, or one that has ended.
        Forged: a form that was not made for this session.
    """
    cookie = request.cookies.get(COOKIE)
    found = await _find(services_of(request), cookie) if cookie else None
    if cookie is None or found is None:
        raise SignInNeeded
    request.state.principal = found
    csrf, form = _proof(cookie), Form([])
    if request.method != "GET":
        refuse_foreign(request)
        form = await read_form(request)
        if not hmac.compare_digest(form.get(CSRF_FIELD).encode(), csrf.encode()):
            raise Forged
    request.state.visitor = visitor = Visitor(found, csrf, _hash(cookie), form)
    return visitor


SignedIn = Annotated[Visitor, Depends(signed_in)]


async def begin(request: Request, response: Response, principal: Principal, token: str) -> None:
    """Start a session for the good ``token``; ``response`` sets the cookie."""
    cookie, now = secrets.token_urlsafe(32), now_ms()
    session = SessionRow(
        id_hash=_hash(cookie),
        token_hash=token_hash(token),
        created_at=now,
        expires_at=now + LIFETIME_SECONDS * 1000,
    )
    request.state.principal = principal
    services = services_of(request)
    entry = services.journal.entry(request, "session.create", "session", None)
    await services.database.write(_begin, session, entry)
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIE, cookie, max_age=LIFETIME_SECONDS, path="/", secure=secure, httponly=True, samesite="strict"
    )


async def end(request: Request, response: Response, visitor: Visitor) -> None:
    """End the session at once, here and in the browser."""
    services = services_of(request)
    entry = services.journal.entry(request, "session.delete", "session", None)
    await services.database.write(_end, visitor.id_hash, entry)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    response.headers["Clear-Site-Data"] = '"cache"'


async def read_form(request: Request) -> Form:
    """The fields of the form in the body.

    Raises:
        TooLarge: the body is larger than a form of the largest text that the interface takes.
        BadRequest: it is no form, or has too many fields.
    """
    limit = services_of(request).settings.max_body_bytes * ENCODED
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadRequest("The page takes forms only.")
    try:
        text = (await read_bytes(request, limit)).decode("ascii")
        return Form(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise BadRequest("The form cannot be read.") from error


def refuse_foreign(request: Request) -> None:
    """Raise Forged for a form that a page of another site has sent (Fetch Metadata; ``Origin`` where that lacks)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise Forged
        return
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Forged


async def _find(services: Services, cookie: str) -> Principal | None:
    session = await services.database.read(sessions.get, _hash(cookie))
    if session is None or session.expires_at <= now_ms():
        return None
    principal, _ = await services.tokens.find_by_hash(session.token_hash)
    return principal


def _begin(connection: Connection, session: SessionRow, entry: NewAudit) -> None:
    sessions.create(connection, session)
    audit.append(connection, entry)


def _end(connection: Connection, id_hash: str, entry: NewAudit) -> None:
    sessions.remove(connection, id_hash)
    audit.append(connection, entry)


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _proof(cookie: str) -> str:
    # Whoever has the cookie can make it, and nobody else; it says nothing of the cookie.
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()
