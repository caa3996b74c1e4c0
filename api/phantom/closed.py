"""Answers about runs that have closed, kept for a moment: only names beside such a run can change any more."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from starlette.responses import Response

SECONDS: Final = 2.0
SIZE: Final = 500
LARGEST: Final = 64 * 1024
"""Bytes of an answer that is kept."""


@dataclass(slots=True)
class ClosedRuns:
    """The latest answers, by the number of their run."""

    _kept: OrderedDict[int, tuple[Response, float]] = field(default_factory=OrderedDict)

    def get(self, number: int) -> Response | None:
        """The answer about a run, when there is one that is fresh."""
        found = self._kept.get(number)
        if found is None or found[1] < time.monotonic():
            return None
        return found[0]

    def put(self, number: int, answer: Response) -> None:
        """Keeps an answer."""
        if len(answer.body) > LARGEST:
            return
        self._kept[number] = (answer, time.monotonic() + SECONDS)
        self._kept.move_to_end(number)
        if len(self._kept) > SIZE:
            self._kept.popitem(last=False)
