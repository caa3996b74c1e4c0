"""What a rerun keeps of the loops of an earlier run: results of the items that are the same again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from playbooks.record import Json


def digest(item: Json) -> str:
    """Tells whether an item of a later run is the same."""
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:16]


def unchanged(results: Mapping[int, Json], digests: Mapping[int, str], items: Sequence[Json]) -> dict[int, Json]:
    """The ``results`` of an earlier run whose item stands at the same place in ``items``.

    Where it is not known what a result was made from (runs before 2026-11-28), its place alone counts.
    """
    found = {number: result for number, result in results.items() if number < len(items)}
    return {number: found[number] for number in found if digests.get(number) in (None, digest(items[number]))}
