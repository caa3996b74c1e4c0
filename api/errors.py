"""Every error that the API answers with, and the one shape they share.

The tree, each with its HTTP status and code (API.md, *Errors*)::

    ApiError                     500 internal
    ├── BadRequest               400 bad_request
    ├── Unauthorized             401 unauthorized
    ├── Forbidden                403 forbidden
    ├── NotApprover              403 forbidden
    ├── NotFound                 404 not_found
    ├── MethodNotAllowed         405 method_not_allowed
    ├── Conflict                 409 conflict
    │   ├── NotRunning           409 not_running
    │   └── NotWaiting           409 not_waiting
    ├── TooLarge                 413 too_large
    ├── UnsupportedMediaType     415 unsupported_media_type
    ├── ParametersInvalid        422 validation_error
    ├── IdempotencyMismatch      422 idempotency_mismatch
    ├── RateLimited              429 rate_limited
    └── Unavailable              503 unavailable
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from playbooks.faults import Fault
from playbooks.record import Json

MAX_DETAILS = 200
"""Faults that one answer lists; a definition with more is no use to read to its end."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One fault of a request: ``path`` is a JSON Pointer into it; ``line`` and ``column`` count from 1."""

    path: str
    message: str
    line: int | None = None
    column: int | None = None

    def as_json(self) -> dict[str, Json]:
        """The detail as it is answered: places that are not known are left out."""
        answer: dict[str, Json] = {"path": self.path, "message": self.message}
        if self.line is not None:
            answer["line"] = self.line
        if self.column is not None:
            answer["column"] = self.column
        return answer


class ApiError(Exception):
    """An answer that is an error.  ``headers`` go out with it; ``extra`` stands beside ``code`` in ``error``."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        details: Sequence[Detail] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class BadRequest(ApiError):
    """The request cannot be read: not JSON, a field missing, unknown or of a wrong type, a faulty definition."""

    status = 400
    code = "bad_request"


class Unauthorized(ApiError):
    """No token, or one that is malformed, unknown, revoked or expired."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """A good token that lacks the permission of the route; the answer names it."""

    status = 403
    code = "forbidden"

    def __init__(self, permission: str) -> None:
        super().__init__(f"The token lacks the permission {permission}.", extra={"permission": permission})


class NotApprover(ApiError):
    """A token that may run playbooks, and that the step's ``approvers`` do not name."""

    status = 403
    code = "forbidden"


class NotFound(ApiError):
    """A playbook, asset, execution, token, action or route that does not exist."""

    status = 404
    code = "not_found"


class MethodNotAllowed(ApiError):
    """The route exists, the method does not; ``Allow`` lists those that do."""

    status = 405
    code = "method_not_allowed"


class Conflict(ApiError):
    """The state of things forbids it; ``execution_id`` names the execution that stands in the way."""

    status = 409
    code = "conflict"

    def __init__(self, message: str, details: Sequence[Detail] = (), execution_id: str | None = None) -> None:
        super().__init__(message, details, extra={"execution_id": execution_id} if execution_id else None)


class NotRunning(Conflict):
    """A cancel of an execution that has completed or failed."""

    code = "not_running"


class NotWaiting(Conflict):
    """A decision on a step that waits for none, or for none any more."""

    code = "not_waiting"


class TooLarge(ApiError):
    """The body is larger than ``STANCHION_MAX_BODY_BYTES``."""

    status = 413
    code = "too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes.")


class UnsupportedMediaType(ApiError):
    """The body has a type that the route does not read."""

    status = 415
    code = "unsupported_media_type"


class ParametersInvalid(ApiError):
    """The parameters of a run violate the playbook's schema; ``details`` hold every violation."""

    status = 422
    code = "validation_error"


class IdempotencyMismatch(ApiError):
    """The ``Idempotency-Key`` was used before with another body."""

    status = 422
    code = "idempotency_mismatch"


class RateLimited(ApiError):
    """More requests than ``STANCHION_RATE_LIMIT`` allows."""

    status = 429
    code = "rate_limited"

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many requests; try again in {retry_after} s.", headers={"Retry-After": str(retry_after)})


class Unavailable(ApiError):
    """``dependency`` (``database`` or ``temporal``) cannot be reached, and nothing was done."""

    status = 503
    code = "unavailable"

    def __init__(self, dependency: str, reason: str, retry_after: int = 2) -> None:
        super().__init__(
            f"The {dependency} cannot be reached; nothing was changed.",
            [Detail("", f"{dependency}: {reason}")],
            headers={"Retry-After": str(retry_after)},
            extra={"dependency": dependency},
        )


def from_faults(faults: Iterable[Fault], prefix: str = "") -> list[Detail]:
    """The faults of a definition or of parameters as details, their pointers put under ``prefix``."""
    return [Detail(prefix + fault.path, fault.message, fault.line, fault.column) for fault in faults]


def error_response(error: ApiError) -> Response:
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
