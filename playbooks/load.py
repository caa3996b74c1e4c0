"""Reads the text of a definition, JSON or YAML, into a ``Document``; hostile text gets a fault, never harm.

YAML is a subset of YAML 1.2 with its core schema: one document, no anchors, aliases or tags, keys are text and are
not repeated, ``on``, ``yes`` and dates are text.  JSON is RFC 8259 with the same limits, and no key twice.
"""

from __future__ import annotations

import re
from typing import Literal

from playbooks.document import MAX_DEPTH, MAX_NODES, Document
from playbooks.faults import DefinitionError, Fault
from playbooks.load_json import read_json
from playbooks.load_yaml import read_yaml
from playbooks.record import Json

Media = Literal["json", "yaml"]

_BAD = re.compile("[\x00\ud800-\udfff]")


def load(text: bytes, media: Media) -> Document:
    """The document in ``text``.  Raises DefinitionError."""
    decoded = _decode(text)
    return read_json(decoded) if media == "json" else read_yaml(decoded)


def load_value(value: Json) -> Document:
    """A document of a value that was parsed elsewhere, held to the same limits.  Raises DefinitionError."""
    pending: list[tuple[Json, int]] = [(value, 0)]
    nodes = 0
    while pending:
        item, depth = pending.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise DefinitionError([Fault("", f"nested deeper than {MAX_DEPTH} levels")])
        if nodes > MAX_NODES:
            raise DefinitionError([Fault("", f"more than {MAX_NODES} values")])
        if isinstance(item, dict):
            pending.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list):
            pending.extend((part, depth + 1) for part in item)
        elif reason := scalar_fault(item):
            raise DefinitionError([Fault("", reason)])
    return Document(value)


def scalar_fault(value: Json) -> str | None:
    """Why a scalar cannot be taken: beyond 64 bits, not a finite number, not Unicode text; None when it can."""
    if isinstance(value, str):
        return "text may not hold NUL or half a surrogate pair" if _BAD.search(value) else None
    if isinstance(value, float):
        return None if value - value == 0 else "a number must be finite"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "an integer must fit in 64 bits"
    return None


def _decode(text: bytes) -> str:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8").removeprefix("\ufeff")
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        raise DefinitionError([Fault("", "the text is not UTF-8", line, column)]) from None
    decoded = decoded.removeprefix("\ufeff")
    if not decoded.strip():
        raise DefinitionError([Fault("", "the text is empty")])
    if (offset := decoded.find("\x00")) >= 0:
        raise DefinitionError([Document(None, decoded, offset).fault((), "the text holds a NUL character")])
    return decoded
