"""Errors of the Phantom interface: ``{"failed": true, "message": …}``, with the few codes that its clients know."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from api.phantom.wire import failure
from executions.errors import Refusal

KNOWN: Final = frozenset({400, 401, 403, 404, 405, 429, 500, 503})


def is_phantom(path: str) -> bool:
    """Whether a path belongs to the Phantom interface."""
    return path == "/rest" or path.startswith("/rest/")


def phantom_error(error: Refusal) -> Response:
    """``error`` as the interface answers it; what it has no code for is 400."""
    status = error.status if error.status in KNOWN else 400
    details = "; ".join(f"{detail.path}: {detail.message}" for detail in error.details[:20] if detail.path)
    message = f"{error.message} {details}" if details else error.message
    more = {name: value for name, value in error.extra.items() if name not in ("failed", "message")}
    response = failure(message, status, **more)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response
