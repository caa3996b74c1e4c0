"""What people type after ``-p``, ``--tag`` and ``--attribute``: ``name=value``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn


class ArgumentError(ValueError):
    """An argument that cannot be read; the message is a sentence for whoever typed it."""


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """``name=value`` of each of ``pairs``: JSON where the value is JSON, otherwise text; ``@file`` is a file's content.

    ``@@`` at the beginning stands for one ``@``.  Raises ``ArgumentError``.
    """
    return {name: _value(name, text) for name, text in _split(pairs).items()}


def parse_texts(pairs: Sequence[str]) -> dict[str, str]:
    """``name=value`` of each of ``pairs``, as text.  Raises ``ArgumentError``."""
    return _split(pairs)


def _split(pairs: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ArgumentError(f"{pair!r} is not of the form name=value")
        if name in found:
            raise ArgumentError(f"{name!r} is given twice")
        found[name] = text
    return found


def _value(name: str, text: str) -> Any:
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise ArgumentError(f"{name}: cannot read {text[1:]!r}: {fault}") from fault
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> NoReturn:
    # NaN and Infinity are Python's, not JSON's: they stay the text that was typed.
    raise ValueError(constant)
