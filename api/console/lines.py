"""The difference of two texts, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

CONTEXT = 4
"""Lines that are shown around a change."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its numbers before and after, and whether it is ``same``, ``added``, ``removed`` or a ``gap``."""

    kind: str
    before: int | None
    after: int | None
    text: str


def compared(before: str, after: str) -> list[Line]:
    """The lines that differ, each with its surroundings; empty where the texts are the same."""
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    found: list[Line] = []
    for number, group in enumerate(matcher.get_grouped_opcodes(CONTEXT)):
        if number or group[0][1]:
            found.append(Line("gap", None, None, ""))
        for tag, first, last, start, stop in group:
            found.extend(_lines(tag, old, new, (first, last), (start, stop)))
    return found


def _lines(tag: str, old: list[str], new: list[str], before: tuple[int, int], after: tuple[int, int]) -> Iterator[Line]:
    if tag == "equal":
        for offset in range(before[1] - before[0]):
            yield Line("same", before[0] + offset + 1, after[0] + offset + 1, old[before[0] + offset])
        return
    for index in range(*before):
        yield Line("removed", index + 1, None, old[index])
    for index in range(*after):
        yield Line("added", None, index + 1, new[index])
