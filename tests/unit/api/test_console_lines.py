"""The difference of two texts as the console shows it."""

from __future__ import annotations

import random

from api.console.lines import MAX_LINES, compared


def shown(before: str, after: str) -> list[tuple[str, str]]:
    """Kind and text of each line."""
    return [(line.kind, line.text) for line in compared(before, after)]


def test_a_change_has_its_surroundings() -> None:
    """What is far from a change is left out, and said to be."""
    before = "\n".join(f"line {number}" for number in range(20))
    found = shown(before, before.replace("line 10", "changed"))
    context = [("same", f"line {number}") for number in range(6, 10)]
    after = [("same", f"line {number}") for number in range(11, 15)]
    assert found == [("gap", ""), *context, ("removed", "line 10"), ("added", "changed"), *after]
    assert shown(before, before) == []


def test_hostile_texts_are_compared_as_others_are() -> None:
    """Long texts of few lines that differ everywhere would keep a comparison busy for days; they are shown as far as
    a page can be read."""
    chance = random.Random(7)
    texts = ["".join(f"{chance.randrange(30)}\n" for _ in range(100_000)) for _ in range(2)]
    assert len(compared(*texts)) == MAX_LINES + 1
    same = "a\n" * 200_000
    assert shown(same, f"b\n{same}") == [("added", "b"), *[("same", "a")] * 4]
