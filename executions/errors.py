"""Why something that was asked for is not done, whoever asks.

Each with its code, and with the HTTP status that says the same (API.md, *Errors*); ``api.errors`` adds those that only
HTTP knows::

    Refusal                      500 internal
    ├── BadRequest               400 bad_request
    ├── NotApprover              403 forbidden
    ├── NotFound                 404 not_found
    ├── Conflict                 409 conflict
    │   ├── NotRunning           409 not_running
    │   └── NotWaiting           409 not_waiting
    ├── TooLarge                 413 too_large
    ├── ParametersInvalid        422 validation_error
    ├── IdempotencyMismatch      422 idempotency_mismatch
    └── Unavailable              503 unavailable
        └── Overloaded           503 unavailable
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from playbooks.faults import Fault
from playbooks.record import Json


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


class Refusal(Exception):
    """What was asked for is not done.  ``extra`` says more in fields of their own; ``headers`` are for HTTP."""

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


class BadRequest(Refusal):
    """The request cannot be read: not JSON, a field missing, unknown or of a wrong type, a faulty definition."""

    status = 400
    code = "bad_request"


class NotApprover(Refusal):
    """A token that may run playbooks, and that the step's ``approvers`` do not name."""

    status = 403
    code = "forbidden"


class NotFound(Refusal):
    """A playbook, asset, execution, token, action or route that does not exist."""

    status = 404
    code = "not_found"


class Conflict(Refusal):
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


class TooLarge(Refusal):
    """The body is larger than ``STANCHION_MAX_BODY_BYTES``."""

    status = 413
    code = "too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes.")


class ParametersInvalid(Refusal):
    """The parameters of a run violate the playbook's schema; ``details`` hold every violation."""

    status = 422
    code = "validation_error"


class IdempotencyMismatch(Refusal):
    """The ``Idempotency-Key`` was used before with another body."""

    status = 422
    code = "idempotency_mismatch"


class Unavailable(Refusal):
    """``dependency`` (``database``, ``temporal`` or ``worker``) cannot be reached; the message says what was done."""

    status = 503
    code = "unavailable"

    def __init__(self, dependency: str, reason: str, retry_after: int = 2, so_far: str = "nothing was changed") -> None:
        super().__init__(
            f"The {dependency} cannot be reached; {so_far}.",
            [Detail("", f"{dependency}: {reason}")],
            headers={"Retry-After": str(retry_after)},
            extra={"dependency": dependency},
        )


class Overloaded(Unavailable):
    """More starts at once than this process takes; nothing was done, and a start may be tried again.

    A kind of Unavailable: whoever tries again after 503 does the right thing.
    """

    def __init__(self, retry_after: int) -> None:
        Refusal.__init__(
            self,
            f"Too many starts are waiting; nothing was changed. Try again in {retry_after} s.",
            headers={"Retry-After": str(retry_after)},
            extra={"dependency": "starts"},
        )


def from_faults(faults: Iterable[Fault], prefix: str = "") -> list[Detail]:
    """The faults of a definition or of parameters as details, their pointers put under ``prefix``."""
    return [Detail(prefix + fault.path, fault.message, fault.line, fault.column) for fault in faults]
