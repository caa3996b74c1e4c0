"""The rate limit: requests a minute of one token, or of one address where there is no good token.

A fixed window, aligned to the minute, counted in this process: with n processes of the API behind one address the
limit is up to n times as high.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from api.errors import RateLimited

WINDOW = 60
"""Seconds of one window."""

Scope = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a caller in this window; ``reset`` in seconds since the epoch."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The three headers that go out with every answer."""
        return [
            (b"x-ratelimit-limit", str(self.limit).encode()),
            (b"x-ratelimit-remaining", str(self.remaining).encode()),
            (b"x-ratelimit-reset", str(self.reset).encode()),
        ]


@dataclass(slots=True)
class Limiter:
    """Counts requests; ``limit`` of them are allowed in a window."""

    limit: int
    _window: int = 0
    _counts: dict[str, int] = field(default_factory=dict)

    def take(self, scope: Scope, principal_id: str | None) -> None:
        """Count one request of ``principal_id``, or of the client's address.

        Raises:
            RateLimited: it is one too many.
        """
        allowance, exceeded = self._count(f"token {principal_id}" if principal_id else f"from {address_of(scope)}")
        scope.setdefault("state", {})["allowance"] = allowance
        if exceeded:
            raise RateLimited(max(1, allowance.reset - int(time.time())))

    def allowance(self, scope: Scope) -> Allowance:
        """What ``take`` found for this request; one that reached no guarded route counts for its address."""
        found = scope.get("state", {}).get("allowance")
        return found if isinstance(found, Allowance) else self._count(f"from {address_of(scope)}")[0]

    def _count(self, key: str) -> tuple[Allowance, bool]:
        window = int(time.time()) // WINDOW
        if window != self._window:
            self._window = window
            self._counts.clear()
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        return Allowance(self.limit, max(0, self.limit - count), (window + 1) * WINDOW), count > self.limit


def address_of(scope: Scope) -> str:
    """The client's address; uvicorn has put that of a trusted proxy's header there."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
