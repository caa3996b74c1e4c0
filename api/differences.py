"""The structured difference of two JSON values."""

from __future__ import annotations

from api.query import pointer_part
from playbooks.record import Json

LIMIT = 1_000
"""Differences that are listed for one pair of values."""

_ABSENT = object()


def differences(left: Json, right: Json) -> list[dict[str, Json]]:
    """Where ``left`` and ``right`` differ: ``path`` (JSON Pointer), ``kind`` (added, removed, changed), both values."""
    found: list[dict[str, Json]] = []
    waiting: list[tuple[str, Json, Json]] = [("", left, right)]
    while waiting and len(found) < LIMIT:
        path, one, other = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            names = [*one, *(name for name in other if name not in one)]
            waiting.extend(
                (f"{path}/{pointer_part(name)}", one.get(name, _ABSENT), other.get(name, _ABSENT))
                for name in reversed(names)
            )
        elif isinstance(one, list) and isinstance(other, list):
            for index in reversed(range(max(len(one), len(other)))):
                waiting.append((f"{path}/{index}", _item(one, index), _item(other, index)))
        elif not _same(one, other):
            found.append(_difference(path, one, other))
    return found


def _item(values: list[Json], index: int) -> Json:
    return values[index] if index < len(values) else _ABSENT


def _same(one: Json, other: Json) -> bool:
    # 1 and true are equal in Python, and two things in JSON.
    return one is other or (isinstance(one, bool) == isinstance(other, bool) and bool(one == other))


def _difference(path: str, left: Json, right: Json) -> dict[str, Json]:
    if left is _ABSENT:
        return {"path": path, "kind": "added", "right": right}
    if right is _ABSENT:
        return {"path": path, "kind": "removed", "left": left}
    return {"path": path, "kind": "changed", "left": left, "right": right}
