"""Says what pydantic found in the words of the format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

Problem = tuple[tuple[str | int, ...], str]

_SENTENCES: Mapping[str, str] = {
    "missing": "this is required",
    "extra_forbidden": "this field is unknown",
    "string_type": "this must be text",
    "bool_type": "this must be true or false",
    "int_type": "this must be an integer",
    "float_type": "this must be a number",
    "dict_type": "this must be an object",
    "model_type": "this must be an object",
    "model_attributes_type": "this must be an object",
    "list_type": "this must be a list",
    "string_pattern_mismatch": "this must match {pattern}",
    "literal_error": "this must be {expected}",
    "string_too_short": "this must have at least {min_length} characters",
    "string_too_long": "this must have at most {max_length} characters",
    "too_short": "this must have at least {min_length} items",
    "too_long": "this must have at most {max_length} items",
    "greater_than": "this must be more than {gt}",
    "greater_than_equal": "this must be {ge} or more",
    "less_than": "this must be less than {lt}",
    "less_than_equal": "this must be {le} or less",
    "finite_number": "this must be a finite number",
}


def problems_of(error: ValidationError) -> list[Problem]:
    """Every problem of ``error`` with its path."""
    return [
        (tuple(detail["loc"]), _sentence(detail)) for detail in error.errors(include_url=False, include_input=False)
    ]


def _sentence(detail: Any) -> str:
    sentence = _SENTENCES.get(detail["type"])
    if sentence is None:
        message: str = detail["msg"]
        return message.removeprefix("Value error, ")
    return sentence.format_map(detail.get("ctx", {}))
