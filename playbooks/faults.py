"""Faults in a definition: each with its place, all reported at once (FORMAT.md, *Checked when stored*)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; ``path`` is a JSON Pointer (RFC 6901), ``line`` and ``column`` count from 1 where there is a text."""

    path: str
    message: str
    line: int | None = None
    column: int | None = None


class DefinitionError(Exception):
    """A definition that cannot be stored; carries every fault that was found."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults[:5]))
        self.faults = faults
