"""How the pages write times, durations, sizes and values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from markupsafe import Markup

from executions.errors import Detail
from playbooks.record import Json

SHOWN_CHARACTERS = 20_000
"""Of a value that a page shows; the interface has it whole."""


def moment(iso: str | None) -> Markup | str:
    """A time in UTC, which the page's script turns into the reader's own."""
    if iso is None:
        return "–"
    when = datetime.fromisoformat(iso)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        iso, when.strftime("%Y-%m-%d %H:%M:%S UTC"), when.strftime("%d %b %Y, %H:%M UTC")
    )


def duration(milliseconds: int | None) -> str:
    """``840 ms``, ``1.2 s``, ``3 min 4 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, rest = divmod(int(seconds), 60)
    hours, rest_minutes = divmod(minutes, 60)
    if minutes < 60:
        return _two(minutes, "min", rest, "s")
    if hours < 48:
        return _two(hours, "h", rest_minutes, "min")
    return _two(hours // 24, "d", hours % 24, "h")


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"


def size(count: int) -> str:
    """``12 B``, ``3.4 KiB``, ``1.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024 / 1024:.1f} MiB"


def pretty(value: Json) -> str:
    """A value as indented JSON, cut where it is too long for a page."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}\n… {len(text) - SHOWN_CHARACTERS} characters more"


def short(text: str, characters: int = 12) -> str:
    """The beginning of an id."""
    return text if len(text) <= characters else text[:characters] + "…"


def typed(value: Json) -> str:
    """A value in a field for JSON: what was typed there, or the value as JSON."""
    return str(value) if isinstance(value, str) else pretty(value)


def milliseconds(started: str, finished: str) -> int:
    """The time between two moments of the interface."""
    return int((datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds() * 1000)


def faults_json(faults: Iterable[Detail]) -> str:
    """Faults for the editor's script."""
    return json.dumps([fault.as_json() for fault in faults])
