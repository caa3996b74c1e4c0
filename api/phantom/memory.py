"""Lists that are computed: the same filters, order and pages as those of the database, over records in memory."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import re2
from sqlalchemy import literal

from api.phantom.wire import parse_time
from storage.phantom.filters import Condition, Field, Fields, Kind
from storage.phantom.records import Query, Record

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_TEXT: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "exact": operator.eq,
    "contains": operator.contains,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


def declared(kinds: Mapping[str, Kind]) -> Fields:
    """The fields of a list in memory."""
    return {name: Field(literal(None), kind) for name, kind in kinds.items()}


def page_of(rows: Sequence[Record], fields: Fields, query: Query) -> tuple[list[Record], int]:
    """One page of ``rows``, and how many match."""
    found = [row for row in rows if all(_fits(row, fields, one) for one in query.conditions)]
    key = query.sort or "id"
    found.sort(key=lambda row: (row.get(key) is not None, _sortable(row.get(key)), row["id"]), reverse=query.descending)
    if not query.size:
        return found, len(found)
    return found[query.page * query.size : (query.page + 1) * query.size], len(found)


def _fits(row: Record, fields: Fields, one: Condition) -> bool:
    value, kind = row.get(one.field), fields[one.field].kind
    if kind == "time" and isinstance(value, str):
        value = parse_time(value)
    if kind == "text" and value is not None:
        value = _text(value)
    return _compared(value, one) is not one.exclude


def _compared(value: Any, one: Condition) -> bool:
    wanted = one.value
    match one.operator:
        case "isnull":
            return (value is None) is bool(wanted)
        case "exact":
            return bool(value == wanted)
        case "in":
            return value in wanted
        case _ if value is None:
            return False
        case "range":
            return bool(wanted[0] <= value <= wanted[1])
    if one.operator in _COMPARE:
        return _COMPARE[one.operator](value, wanted)
    text, sought, name = _text(value), str(wanted), one.operator
    if name in ("regex", "iregex"):
        return re2.search(f"(?i){sought}" if name == "iregex" else sought, text) is not None
    if name.startswith("i"):
        text, sought, name = text.lower(), sought.lower(), name[1:]
    return _TEXT[name](text, sought)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _sortable(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return (0, value, "")
    return (1, 0, str(value))
