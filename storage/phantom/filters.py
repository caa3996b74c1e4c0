"""Filters and orders of lists: parameterised expressions over fields that are declared, and no others.

A name that is not declared and an operator that does not exist raise UnknownField and BadFilter; a value reaches the
database as a parameter only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, ColumnElement, Double, String, and_, cast, func, literal, not_, or_, select

from storage.columns import storable
from storage.phantom.inside import inside

Kind = Literal["text", "number", "time", "flag", "json", "inside"]

OPERATORS: Final = (
    "exact", "iexact", "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith",
    "gt", "gte", "lt", "lte", "in", "range", "isnull", "regex", "iregex",
)  # fmt: skip


class UnknownField(Exception):
    """A field that the list does not have."""

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        super().__init__(f'Field "{name}" is not known here. Valid fields: {", ".join(valid)}')


class BadFilter(Exception):
    """An operator that does not exist, or a value that it can do nothing with."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a list: where it comes from, and what kind of value it has; times are ms since the epoch.

    ``inside`` is what a JSON object holds under some keys, compared as text.
    """

    column: ColumnElement[Any]
    kind: Kind = "text"
    key: ColumnElement[Any] | None = None
    """What is compared in place of ``column`` for equality, since it has an index."""
    is_object: bool = False
    """Whether there are fields inside of it: ``cef__sourceAddress``."""
    of: Fields | None = None
    """The fields of other records that belong to each of these: ``artifact__name`` of a container."""
    on: ColumnElement[bool] | None = None
    """How such a record belongs; it is enough that one of them fits."""
    choices: Sequence[str] = ()
    """What the field holds, in the order of the numbers by which clients may name it too, from 1."""


Fields = Mapping[str, Field]

_SIMPLE: Final[dict[str, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]]] = {
    "isnull": lambda column, value: column.is_(None) if value else column.is_not(None),
    "exact": lambda column, value: column.is_(None) if value is None else column == value,
    "in": lambda column, value: column.in_(value),
    "range": lambda column, value: and_(column >= value[0], column <= value[1]),
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """``field`` compared with ``value``, which is of the field's kind already."""

    field: str
    operator: str
    value: Any
    exclude: bool = False


def where(fields: Fields, conditions: Sequence[Condition]) -> list[ColumnElement[bool]]:
    """The conditions as SQL.  Raises UnknownField and BadFilter."""
    return [_condition(field_of(fields, one.field), one) for one in conditions]


def field_of(fields: Fields, name: str) -> Field:
    """The field of that name, or the one inside of an object; raises UnknownField."""
    found = fields.get(name)
    if found is not None:
        return found
    root, *keys = name.split("__")
    whole = fields.get(root)
    if whole is not None and whole.of is not None:
        return replace(field_of(whole.of, "__".join(keys)), on=whole.on)
    if whole is None or not whole.is_object or not all(keys):
        raise UnknownField(name, sorted(fields))
    return Field(inside(whole.column, keys), "inside")


def _condition(field: Field, one: Condition) -> ColumnElement[bool]:
    found = _compared(field, one.operator, one.value)
    if field.on is not None:
        found = _of_related(field.on, found)
        if one.operator == "isnull" and one.value:
            # Where there is no such record, there is no value either.
            found = or_(found, not_(_of_related(field.on)))
    # NULL fits no comparison, and so every exclusion.
    return func.coalesce(not_(found), literal(True)) if one.exclude else found


def _of_related(*wanted: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(literal(1)).where(*wanted).exists()


def _compared(field: Field, operator: str, value: Any) -> ColumnElement[bool]:
    if field.kind in ("text", "inside", "number"):
        value = _sent(value)
    simple = _SIMPLE.get(operator)
    if simple is not None:
        by_key = field.key is not None and operator in ("exact", "in")
        return simple(field.key if by_key and field.key is not None else field.column, value)
    return _of_text(field, operator, value)


def _sent(value: Any) -> Any:
    """Values as the databases take them, whatever the column is made for.

    Texts hold no NUL, so none can be equal to one that does.  Numbers go with a type of their own: made into that of a
    narrow column, Postgres would refuse a large one, and round one with a fraction.
    """
    if isinstance(value, (list, tuple)):
        return [_sent(one) for one in value]
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return literal(value, BigInteger() if isinstance(value, int) else Double())


def _of_text(field: Field, operator: str, value: Any) -> ColumnElement[bool]:
    text: ColumnElement[str] = field.column if field.kind in ("text", "inside") else cast(field.column, String)
    wanted = storable(str(value))
    if operator in ("regex", "iregex"):
        pattern = f"(?i){wanted}" if operator == "iregex" else wanted
        return text.regexp_match(pattern)
    if operator.startswith("i"):
        text, wanted, operator = func.lower(text), wanted.lower(), operator[1:]
    size = len(wanted)
    match operator:
        case "exact":
            return text == wanted
        case "contains":
            # LIKE differs between the databases in case and in what it escapes.
            return and_(text.is_not(None), func.replace(text, wanted, "") != text) if wanted else text.is_not(None)
        case "startswith":
            return func.substr(text, 1, size) == wanted
        case "endswith":
            return and_(func.length(text) >= size, func.substr(text, func.length(text) - size + 1) == wanted)
    raise BadFilter(f"there is no operator {operator}")
