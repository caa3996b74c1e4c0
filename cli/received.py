"""What the demo's servers on this machine have received, shared between their thread and the one that looks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Received:
    """One request: method, path with query, and its body, decoded where it is JSON."""

    method: str
    path: str
    body: Any

    @property
    def changes(self) -> bool:
        """True unless the request only reads."""
        return self.method not in SAFE


class Inbox:
    """What came, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[Received] = []

    def received(self) -> list[Received]:
        """What came since the last ``clear``, in order."""
        with self._lock:
            return list(self._received)

    def clear(self) -> None:
        """Forgets what came."""
        with self._lock:
            self._received.clear()

    def record(self, request: Received) -> int:
        """Keeps ``request``; returns how many there are now."""
        with self._lock:
            self._received.append(request)
            return len(self._received)
