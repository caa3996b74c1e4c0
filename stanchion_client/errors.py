"""Every error that the client raises::

    StanchionError
    ├── ConnectionFailed             no answer came
    ├── WaitTimeout                  the execution had not ended in the time that it was waited for
    └── ApiError                     the API, or something in front of it, refused
        ├── BadRequest               400 bad_request
        ├── Unauthorized             401 unauthorized
        ├── Forbidden                403 forbidden
        ├── NotFound                 404 not_found
        ├── Conflict                 409 conflict
        │   ├── NotRunning           409 not_running
        │   └── NotWaiting           409 not_waiting
        ├── TooLarge                 413 too_large
        ├── UnsupportedMediaType     415 unsupported_media_type
        ├── ParametersInvalid        422 validation_error
        │   └── IdempotencyMismatch  422 idempotency_mismatch
        ├── RateLimited              429 rate_limited
        └── Unavailable              503 unavailable

A code that this version does not know is raised as the class of its status, and a status that it does not know as
``ApiError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from stanchion_client.models import Execution


@dataclass(frozen=True, slots=True)
class Detail:
    """One fault: ``path`` is a JSON Pointer; ``line`` and ``column`` count from 1 where a text was sent."""

    path: str
    message: str
    line: int | None = None
    column: int | None = None


class StanchionError(Exception):
    """Base of all; ``message`` is a sentence for people, ``code`` is for programs."""

    code: str = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConnectionFailed(StanchionError):
    """No answer came.  ``sent``: the request may have arrived all the same."""

    code = "unreachable"

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class WaitTimeout(StanchionError):
    """The execution had not ended in time; it goes on.  ``execution`` is how it was seen last, if it was."""

    code = "wait_timeout"

    def __init__(self, message: str, execution: Execution | None) -> None:
        super().__init__(message)
        self.execution = execution


class ApiError(StanchionError):
    """An answer that is no success.

    ``status`` is the HTTP status, ``document`` the whole answer in the API's one shape, ``request_id`` what the API's
    log has of the request, and ``retry_after`` the seconds after which the API wants to be asked again.
    """

    expected_code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        status: int,
        document: Mapping[str, Any] | None = None,
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        error = {"code": self.expected_code, "message": message, "details": []}
        shaped: dict[str, Any] = {"status": "error", "error": error}
        self.status = status
        self.document: Mapping[str, Any] = document if document is not None else shaped
        self.code = str(self.document["error"].get("code", self.expected_code))
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        told = [f"{detail.path}: {detail.message}" if detail.path else detail.message for detail in self.details]
        return "\n  ".join([self.message, *told])

    @property
    def details(self) -> list[Detail]:
        """What is wrong where."""
        found = self.document["error"].get("details") or []
        return [
            Detail(str(one.get("path", "")), str(one.get("message", "")), one.get("line"), one.get("column"))
            for one in found
        ]

    @property
    def is_of_the_api(self) -> bool:
        """Whether the API itself answered, and no proxy before it: then 429 and 503 say what has become of it."""
        return self.code in ("rate_limited", "unavailable")


class BadRequest(ApiError):
    """The request cannot be read, or a definition has faults: ``details`` are all of them."""

    expected_code = "bad_request"


class Unauthorized(ApiError):
    """No token, or one that is malformed, unknown, revoked or expired."""

    expected_code = "unauthorized"


class Forbidden(ApiError):
    """The token lacks a permission, or may not decide this step."""

    expected_code = "forbidden"

    @property
    def permission(self) -> str | None:
        """The permission that the token lacks."""
        return _text(self, "permission")


class NotFound(ApiError):
    """There is no such thing, or the token may not know of it."""

    expected_code = "not_found"


class Conflict(ApiError):
    """The state of things forbids it."""

    expected_code = "conflict"

    @property
    def execution_id(self) -> str | None:
        """The execution that stands in the way."""
        return _text(self, "execution_id")


class NotRunning(Conflict):
    """A cancel of an execution that has completed or failed."""

    expected_code = "not_running"


class NotWaiting(Conflict):
    """A decision on a step that waits for none; where no answer came to an earlier try, for none any more."""

    expected_code = "not_waiting"


class TooLarge(ApiError):
    """The body is larger than the API takes."""

    expected_code = "too_large"


class UnsupportedMediaType(ApiError):
    """The body has a type that the route does not read."""

    expected_code = "unsupported_media_type"


class ParametersInvalid(ApiError):
    """The parameters of a run violate the playbook's schema: ``details`` are all violations."""

    expected_code = "validation_error"


class IdempotencyMismatch(ParametersInvalid):
    """The idempotency key was used before with another body."""

    expected_code = "idempotency_mismatch"


class RateLimited(ApiError):
    """More requests than are allowed."""

    expected_code = "rate_limited"


class Unavailable(ApiError):
    """Something that the API depends on is away; nothing was done, unless ``message`` says what may come of it yet.

    That is so of a start which Temporal was sent and did not confirm: with an Idempotency-Key it may begin all the
    same, and the same request with the same key finds it; without one, it is cancelled should it begin.
    """

    expected_code = "unavailable"

    @property
    def dependency(self) -> str | None:
        """What is away: ``database``, ``temporal``, ``worker`` or ``starts``."""
        return _text(self, "dependency")


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: ParametersInvalid,
    429: RateLimited,
    503: Unavailable,
}
_BY_CODE: dict[str, type[ApiError]] = {
    **{kind.expected_code: kind for kind in _BY_STATUS.values()},
    **{kind.expected_code: kind for kind in (NotRunning, NotWaiting, IdempotencyMismatch)},
}


def error_class(status: int, code: str | None) -> type[ApiError]:
    """The class of an answer with this status and code."""
    of_status = _BY_STATUS.get(status, ApiError)
    of_code = _BY_CODE.get(code or "", of_status)
    return of_code if issubclass(of_code, of_status) else of_status


def _text(error: ApiError, name: str) -> str | None:
    value = error.document["error"].get(name)
    return None if value is None else str(value)
