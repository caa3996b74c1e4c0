"""The difference of two texts, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

CONTEXT = 4
"""Lines that are shown around a change."""

MAX_LINES = 5_000
"""Lines of a difference that are shown."""

MATCHED = 25_000_000
"""Lines before a change times lines after it, up to which what they have in common is looked for."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its numbers before and after, and whether it is ``same``, ``added``, ``removed`` or a ``gap``."""

    kind: str
    before: int | None
    after: int | None
    text: str


class _Matcher(difflib.SequenceMatcher[str]):
    """Python's own, which alone would take hours for texts that were made for it."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        super().__init__(None, old, new)
        self._old, self._new = old, new

    def get_opcodes(self) -> list[Any]:
        """The changes: what both ends have in common aside, and as one where there is too much to be compared."""
        old, new = self._old, self._new
        head = _in_common(old, new)
        first, second = old[head:], new[head:]
        tail = _in_common(first[::-1], second[::-1])
        first, second = first[: len(first) - tail], second[: len(second) - tail]
        middle: list[Any] = [("replace", 0, len(first), 0, len(second))]
        if len(first) * len(second) <= MATCHED:
            middle = difflib.SequenceMatcher(None, first, second).get_opcodes()
        whole = [
            ("equal", 0, head, 0, head),
            *((tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in middle),
            ("equal", len(old) - tail, len(old), len(new) - tail, len(new)),
        ]
        return [one for one in whole if one[1] < one[2] or one[3] < one[4]]


def compared(before: str, after: str) -> list[Line]:
    """The lines that differ, each with its surroundings; empty where the texts are the same.

    Of a difference of more than ``MAX_LINES`` lines the first are given, and a gap.
    """
    old, new = before.splitlines(), after.splitlines()
    found: list[Line] = []
    for number, group in enumerate(_Matcher(old, new).get_grouped_opcodes(CONTEXT)):
        if number or group[0][1]:
            found.append(Line("gap", None, None, ""))
        for tag, first, last, start, stop in group:
            lines = _lines(tag, old, new, (first, last), (start, stop))
            found.extend(islice(lines, MAX_LINES + 1 - len(found)))
            if len(found) > MAX_LINES:
                return [*found[:MAX_LINES], Line("gap", None, None, "")]
    return found


def _in_common(one: list[str], other: list[str]) -> int:
    """How many lines at the beginning are the same."""
    pairs = zip(one, other, strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _lines(tag: str, old: list[str], new: list[str], before: tuple[int, int], after: tuple[int, int]) -> Iterator[Line]:
    if tag == "equal":
        for offset in range(before[1] - before[0]):
            yield Line("same", before[0] + offset + 1, after[0] + offset + 1, old[before[0] + offset])
        return
    for index in range(*before):
        yield Line("removed", index + 1, None, old[index])
    for index in range(*after):
        yield Line("added", None, index + 1, new[index])
