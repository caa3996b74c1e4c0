"""Answers about executions that have closed, kept in memory: of these nothing can change any more."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

SIZE = 32 * 1024 * 1024
"""Bytes that are kept."""

LARGEST = 256 * 1024
"""Bytes of an answer that is kept; a larger one is rare, and costs its reader more than our making it."""


@dataclass(slots=True)
class ClosedAnswers:
    """Bodies of answers by execution id; the ones that were not asked for longest go first."""

    _kept: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _size: int = 0

    def get(self, execution_id: str) -> bytes | None:
        """The body, if it is kept."""
        body = self._kept.get(execution_id)
        if body is not None:
            self._kept.move_to_end(execution_id)
        return body

    def clear(self) -> None:
        """Drops all: some may have been deleted."""
        self._kept.clear()
        self._size = 0

    def put(self, execution_id: str, body: bytes) -> None:
        """Keeps the body of an answer about an execution that has closed."""
        if len(body) > LARGEST or execution_id in self._kept:
            return
        self._kept[execution_id] = body
        self._size += len(body)
        while self._size > SIZE:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)
