"""Calls to Temporal's frontend: deadlines, and errors told apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.service import RPCError, RPCStatusCode

from engine.errors import TemporalUnavailable

T = TypeVar("T")

TIMEOUT = timedelta(seconds=5)
"""Longest wait for one answer of the frontend."""

_AWAY = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
}
_NOT_SENT = ("tcp connect error", "connection refused", "dns error", "failed to lookup")


async def call(method: Callable[..., Awaitable[T]], request: Any, *, retry: bool = True) -> T:
    """Calls ``method`` with ``request``.

    Raises TemporalUnavailable when no answer comes, and RPCError for an answer that is an error.
    """
    try:
        return await method(request, retry=retry, timeout=TIMEOUT)
    except RPCError as error:
        if error.status not in _AWAY:
            raise
        never_sent = error.status is RPCStatusCode.RESOURCE_EXHAUSTED or _is_connect_error(str(error))
        raise TemporalUnavailable(f"{error.status.name.lower()}: {error.message}", sent=not never_sent) from error
    except RuntimeError as error:
        # A lazy client that cannot make its first connection raises this, before anything is sent.
        raise TemporalUnavailable(str(error)) from error


def _is_connect_error(text: str) -> bool:
    lowered = text.lower()
    return any(mark in lowered for mark in _NOT_SENT)
