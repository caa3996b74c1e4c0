"""What a command prints, held against what its page shows: ids, times and durations are patterns."""

from __future__ import annotations

import re

_PATTERNS = (
    (re.compile(r"\b(exec|pb|ast|stn|wh)[-_][0-9a-zA-Z_-]{20,}"), r"\1-…"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "…"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?"), "…"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), r"… \2"),
    (re.compile(r"\s+"), " "),
)
_UNDER_WAY = re.compile(r"^\d+ .* running$")
"""A line of `--watch` that says only that a step has begun: a quick one is over before anybody looks."""


def lines(text: str) -> list[str]:
    """The lines of ``text`` that can be compared."""
    made = []
    for line in text.splitlines():
        for pattern, put in _PATTERNS:
            line = pattern.sub(put, line)
        if line.strip() and not _UNDER_WAY.match(line.strip()):
            made.append(line.strip())
    return made


def difference(shown: str, printed: str) -> str | None:
    """None where ``printed`` is what the page has ``shown``; else both, to be read.

    In what is shown, ``…`` stands for anything in a line, and alone for any number of lines.
    """
    expected, actual = lines(shown), lines(printed)
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in expected
    )
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)):
        return None
    return "\n".join(
        ["the page shows", *(f"  {line}" for line in expected), "printed was", *(f"  {x}" for x in actual)]
    )
