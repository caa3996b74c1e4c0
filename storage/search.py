"""Searching text whatever its case: folded here, since the two databases fold differently."""

from __future__ import annotations


def fold(*texts: str | None) -> str:
    """The texts in one, for comparing whatever their case, in any script (Unicode case folding)."""
    return "\n".join(text.casefold() for text in texts if text)
