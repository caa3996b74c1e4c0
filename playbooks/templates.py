"""Renders templates: JSON values with ``{{ expression }}`` in their strings.

A compiled template is ``[value, slots]``: the value as it was written, and for each string in it that holds a
template ``[path, kind, what]``, where ``path`` is the list of keys and indexes that leads to it:

* ``[path, "value", tree]``: the string is one whole template and becomes the value itself, of its own type;
* ``[path, "text", parts]``: a part is a string, ``["x", tree]`` or ``["secret", name]``.

``playbooks.parsing`` compiles them.  A secret is never looked up here: its place is told beside the value, by path,
so that no text in the data can forge one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from playbooks.contract import SecretPart, SecretSlot
from playbooks.document import pointer
from playbooks.evaluation import Budget, EvaluationError, evaluate
from playbooks.plan import Template
from playbooks.record import Json

MASK = "***"
"""What stands in a rendered value where a secret will be."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered value, and the places in it where the worker puts secrets."""

    value: Json
    secrets: list[SecretSlot] = field(default_factory=list)


def constant(value: Json) -> Template:
    """The template of a value without templates in it."""
    return [value, []]


def render(template: Template, names: Mapping[str, Json], budget: Budget | None = None) -> Rendered:
    """The value of ``template`` over ``names``, within ``budget`` for all of it.  Raises EvaluationError.

    The result may share parts with the template and with ``names``: it is to be read, not changed.
    """
    value, slots = template
    if not slots:
        return Rendered(value)
    budget = budget or Budget()
    result = [_copy(value)]
    secrets: list[SecretSlot] = []
    for path, kind, what in slots:
        try:
            whole = kind == "value"
            filled = evaluate(what, names, budget, len(path)) if whole else _text(path, what, names, budget, secrets)
        except EvaluationError as error:
            raise type(error)(f"{pointer(path) or 'the template'}: {error}") from None
        _put(result, path, filled)
    return Rendered(result[0], secrets)


def as_text(value: Json) -> str:
    """``value`` within a longer text: strings as they are, null as nothing, everything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _text(
    path: list[str | int], parts: list[Json], names: Mapping[str, Json], budget: Budget, secrets: list[SecretSlot]
) -> str:
    pieces: list[SecretPart] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(SecretPart(text=part))
        elif part[0] == "secret":
            pieces.append(SecretPart(secret=part[1]))
        else:
            pieces.append(SecretPart(text=as_text(evaluate(part[1], names, budget))))
    budget.take(sum(len(piece.text or MASK) for piece in pieces))
    if any(piece.secret is not None for piece in pieces):
        secrets.append(SecretSlot(pointer=pointer(path), parts=pieces))
    return "".join(MASK if piece.text is None else piece.text for piece in pieces)


def _copy(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _put(root: list[Json], path: list[str | int], value: Json) -> None:
    container: Json = root
    key: str | int = 0
    for following in path:
        container, key = container[key], following
    container[key] = value
