"""Every error that the API answers with, and the one shape they share (API.md, *Errors*).

Those of ``executions.errors``, and what only HTTP knows::

    Refusal
    ├── Unauthorized             401 unauthorized
    ├── Forbidden                403 forbidden
    ├── MethodNotAllowed         405 method_not_allowed
    ├── UnsupportedMediaType     415 unsupported_media_type
    └── RateLimited              429 rate_limited
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from executions.errors import Detail, Refusal
from playbooks.record import Json

MAX_DETAILS = 200
"""Faults that one answer lists; a definition with more is no use to read to its end."""


UNNAMED: Final = "error"
"""The code of an error of HTTP itself that has no other."""


class Unauthorized(Refusal):
    """No token, or one that is malformed, unknown, revoked or expired."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Refusal):
    """A good token that lacks the permission of the route; the answer names it."""

    status = 403
    code = "forbidden"

    def __init__(self, permission: str) -> None:
        super().__init__(f"The token lacks the permission {permission}.", extra={"permission": permission})


class MethodNotAllowed(Refusal):
    """The route exists, the method does not; ``Allow`` lists those that do."""

    status = 405
    code = "method_not_allowed"


class UnsupportedMediaType(Refusal):
    """The body has a type that the route does not read."""

    status = 415
    code = "unsupported_media_type"


class RateLimited(Refusal):
    """More requests than ``STANCHION_RATE_LIMIT`` allows."""

    status = 429
    code = "rate_limited"

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many requests; try again in {retry_after} s.", headers={"Retry-After": str(retry_after)})


def error_codes() -> list[str]:
    """Every code that the native interface answers with."""
    found = [Refusal]
    for kind in found:
        found += kind.__subclasses__()
    others = ("api.phantom.", "api.console.")
    return sorted({kind.code for kind in found if not kind.__module__.startswith(others)} | {UNNAMED})


def error_response(error: Refusal) -> Response:
    """``error`` in the one shape, with its status and headers."""
    return shaped(error.status, error.code, error.message, error.details, error.headers, error.extra)


def shaped(
    status: int,
    code: str,
    message: str,
    details: Sequence[Detail] = (),
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Json] | None = None,
) -> Response:
    """An error answer: ``{"status": "error", "error": {"code", "message", "details", …}}``."""
    listed = [detail.as_json() for detail in details[:MAX_DETAILS]]
    if len(details) > MAX_DETAILS:
        listed.append({"path": "", "message": f"and {len(details) - MAX_DETAILS} more"})
    error: dict[str, Any] = {"code": code, "message": message, "details": listed, **(extra or {})}
    content = json.dumps({"status": "error", "error": error}, separators=(",", ":")).encode()
    return Response(content, status, dict(headers or {}), media_type="application/json")
