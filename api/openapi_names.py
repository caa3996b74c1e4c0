"""The names that a generated client has for what the interface speaks of.

Models are named after what they are in this code (``StepAnswer``, ``Listing[AssetAnswer]``); whoever writes a client
thinks of a ``Step`` and of an ``AssetPage``.
"""

from __future__ import annotations

import re
from typing import Final

from playbooks.record import Json

_SCHEMAS: Final = "#/components/schemas/"
_LISTING: Final = re.compile(r"Listing_(\w+?)(?:Answer)?_")
_KEPT: Final = frozenset({"ErrorAnswer", "TokenLimitsAnswer"})
"""Without their ending these would be another thing's name."""


def rename_schemas(document: dict[str, Json]) -> dict[str, Json]:
    """``document`` with the names of its schemas, and what refers to them, as clients are to see them."""
    schemas = document["components"]["schemas"]
    names = {name: _name(name) for name in schemas}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two schemas would have one name: {sorted(names.values())}")
    document["components"]["schemas"] = {
        names[name]: {**schema, **({"title": names[name]} if "title" in schema else {})}
        for name, schema in schemas.items()
    }
    renamed: dict[str, Json] = _referring(document, {_SCHEMAS + name: _SCHEMAS + new for name, new in names.items()})
    return renamed


def definition_part(name: str) -> str:
    """The name of a part of a playbook's definition: ``StepDefinition``, ``ActionStepDefinition``."""
    if name[0].islower():
        return f"{name.title()}StepDefinition"
    return f"{name.removesuffix('Definition')}Definition"


def _name(name: str) -> str:
    if listing := _LISTING.fullmatch(name):
        return f"{listing[1].removesuffix('Answer')}Page"
    return name if name in _KEPT else name.removesuffix("Answer")


def _referring(value: Json, places: dict[str, str]) -> Json:
    """``value`` with its references pointed to the new places."""
    if isinstance(value, list):
        return [_referring(part, places) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        key: places.get(part, part) if key == "$ref" and isinstance(part, str) else _referring(part, places)
        for key, part in value.items()
    }
