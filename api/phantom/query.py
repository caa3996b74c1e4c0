"""The query of a list: pages, order, and ``_filter_…`` and ``_exclude_…`` (Phantom's *Query for Data*).

Values are written as Django's lists want them: strings quoted with " or ', numbers bare or quoted, ``True`` or
``true``, lists ``[1, 2]`` or ``(1, 2)``.  A bare word is taken as a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import Any, Final

from starlette.requests import Request

from api.phantom.wire import parse_time
from executions.errors import BadRequest
from storage.columns import storable
from storage.phantom.filters import OPERATORS, BadFilter, Condition, Field, Fields, UnknownField, field_of
from storage.phantom.records import Query

PAGE_SIZE: Final = 10
LARGEST_PAGE: Final = 10**6
MAX_CONDITIONS: Final = 50
MAX_VALUES: Final = 1_000
MAX_TEXT: Final = 4_096

_PREFIXES: Final = (("_filter_", False), ("_exclude_", True))
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?", re.ASCII)
_WORDS: Final = {"true": True, "false": False, "none": None, "null": None}
_ORDERED: Final = ("gt", "gte", "lt", "lte")
_LISTS: Final = ("in", "range")
_UNORDERED: Final = ("flag", "json", "inside")
_FOR_TEXT: Final = frozenset(OPERATORS) - {"exact", "gt", "gte", "lt", "lte", "in", "range", "isnull"}


def list_query(request: Request, fields: Fields, without: Container[str] = ()) -> Query:
    """What a list is asked for, but for the parameters ``without``.

    Raises BadRequest, which for an unknown field names the valid ones.
    """
    params = request.query_params
    try:
        conditions = _conditions(request, fields, without)
        sort = _plain(params.get("sort"))
        if sort is not None and field_of(fields, sort).on is not None:
            raise BadFilter(f'"{sort}" gives no order: there may be several of them.')
    except (UnknownField, BadFilter) as error:
        raise BadRequest(str(error)) from error
    order = (_plain(params.get("order")) or "asc").lower()
    if order not in ("asc", "desc"):
        raise BadRequest('"order" must be asc or desc.')
    return Query(
        conditions=conditions,
        sort=sort,
        descending=order == "desc",
        page=_whole(params.get("page"), "page", 0),
        size=_whole(params.get("page_size"), "page_size", PAGE_SIZE),
    )


def _conditions(request: Request, fields: Fields, without: Container[str]) -> list[Condition]:
    found: list[Condition] = []
    for name, value in request.query_params.multi_items():
        for prefix, exclude in _PREFIXES:
            if name.startswith(prefix) and name not in without:
                found.append(_condition(name.removeprefix(prefix), value, fields, exclude))
    if len(found) > MAX_CONDITIONS:
        raise BadFilter(f"A list has at most {MAX_CONDITIONS} filters.")
    return found


def _condition(name: str, text: str, fields: Fields, exclude: bool) -> Condition:
    operator = "exact"
    if name not in fields:
        stem, _, last = name.rpartition("__")
        if stem and last in OPERATORS:
            name, operator = stem, last
    name = _own_name(name, fields)
    field = field_of(fields, name)
    value = _parsed(f"[{text}]" if operator in _LISTS and _is_bare_list(text) else text)
    return Condition(name, operator, _value(field, name, operator, value), exclude)


def _own_name(name: str, fields: Fields) -> str:
    """The field that is meant: ``container__id`` and ``container__pk`` are ``container``, as in Django."""
    stem, _, last = name.rpartition("__")
    return stem if name not in fields and last in ("id", "pk") and stem in fields else name


def _is_bare_list(text: str) -> bool:
    """Whether several values stand side by side without brackets: ``__in=1,2``."""
    text = text.strip()
    return "," in text and text[0] not in "[(\"'"


def _value(field: Field, name: str, operator: str, value: Any) -> Any:
    if operator == "isnull":
        if value in (0, 1):
            value = bool(value)
        if not isinstance(value, bool):
            raise BadFilter(f'"{name}__isnull" needs True or False.')
        return value
    if operator in _LISTS:
        values = value if isinstance(value, list) else [value]
        if operator == "range" and len(values) != 2:
            raise BadFilter(f'"{name}__range" needs two values.')
        found = [_of_kind(field, name, one) for one in values]
        if operator == "range" and (None in found or field.kind in _UNORDERED):
            raise BadFilter(f'"{name}__range" needs two values that have an order.')
        return [one for one in found if one is not None]
    if isinstance(value, list) and field.kind != "json":
        raise BadFilter(f'"{name}" is compared with one value; for several there is {name}__in.')
    if operator in _FOR_TEXT:
        text = _text(value)
        if operator.endswith("regex"):
            _check_pattern(name, text)
        return text
    found = _of_kind(field, name, value)
    if operator in _ORDERED and (found is None or field.kind in _UNORDERED):
        raise BadFilter(f'"{name}" has no order: {name}__{operator} means nothing with this value.')
    return found


def _of_kind(field: Field, name: str, value: Any) -> Any:
    """``value`` as the field has it.  Raises BadFilter."""
    if value is None:
        return None
    match field.kind:
        case "number":
            if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
                value = _number(value.strip())
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadFilter(f'"{name}" is a number.')
            return value
        case "flag":
            if isinstance(value, str) and value.lower() in ("true", "false"):
                value = value.lower() == "true"
            if value in (0, 1):
                value = bool(value)
            if not isinstance(value, bool):
                raise BadFilter(f'"{name}" is True or False.')
            return value
        case "time":
            try:
                return parse_time(_text(value))
            except (ValueError, OverflowError):
                raise BadFilter(f'"{name}" is a time such as 2016-01-15T22:15:55Z.') from None
    return value if field.kind == "json" else _chosen(field, _text(value))


def _chosen(field: Field, text: str) -> str:
    """What ``text`` names: one of the field's choices may be named by its number."""
    if field.choices and text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= len(field.choices):
        return field.choices[int(text) - 1]
    return text


def _parsed(text: str) -> Any:
    """The value that ``text`` stands for.  Raises BadFilter."""
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise BadFilter(f"A value has at most {MAX_TEXT} characters.")
    if len(text) >= 2 and text[0] in "[(" and text[-1] in "])":
        return [_scalar(part.strip()) for part in _parts(text[1:-1])]
    return _scalar(text)


def _scalar(text: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return _unquoted(text)
    if _NUMBER.fullmatch(text):
        return _number(text)
    return _WORDS.get(text.lower(), text) if text else ""


def _parts(text: str) -> list[str]:
    """What stands between the commas of a list; a comma inside quotes is none."""
    found, start, quote = [], 0, ""
    for position, character in enumerate(text):
        if quote:
            if character == quote and text[position - 1] != "\\":
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == ",":
            found.append(text[start:position])
            start = position + 1
    found.append(text[start:])
    if len(found) > MAX_VALUES:
        raise BadFilter(f"A list of values has at most {MAX_VALUES}.")
    return [part for part in found if part.strip()]


def _unquoted(text: str) -> str:
    if text[0] == '"':
        try:
            value = json.loads(text)
        except ValueError:
            value = text[1:-1]
        return storable(value) if isinstance(value, str) else text[1:-1]
    return text[1:-1].replace("\\'", "'")


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _check_pattern(name: str, pattern: str) -> None:
    import re2

    try:
        re2.compile(pattern)
    except re2.error as error:
        raise BadFilter(f'"{name}__regex" is not a pattern: {error}') from None


def _plain(text: str | None) -> str | None:
    return None if text is None else text.strip().strip("\"'") or None


def _whole(text: str | None, name: str, default: int) -> int:
    plain = _plain(text)
    if plain is None:
        return default
    if not plain.isascii() or not plain.isdecimal() or len(plain) > 9:
        raise BadRequest(f'"{name}" must be a number, 0 or more.')
    return int(plain)
