"""The kinds of values that a definition is made of: durations, names, expressions."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema

MAX_DURATION = 366 * 86_400.0

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration(value: object) -> float:
    """Seconds from ``30s``, ``1h30m``, ``500ms`` or a number of seconds.  Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("this must be a duration such as 30s, 4h or 1h30m, or a number of seconds")
    if isinstance(value, str):
        if len(value) > 40 or not _DURATION.fullmatch(value):
            raise ValueError("this must be a duration such as 30s, 4h or 1h30m, or a number of seconds")
        value = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(value))
    if not 0 <= value <= MAX_DURATION:
        raise ValueError("a duration is between 0 and 366 days")
    return float(value)


def _positive(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError("this duration must be more than 0")
    return seconds


def _condition(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _duration_schema(least: str) -> WithJsonSchema:
    """The JSON Schema of a duration; ``least`` is the keyword that holds a number to 0."""
    return WithJsonSchema(
        {
            "anyOf": [{"type": "number", least: 0}, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}],
            "description": "A duration such as 30s, 4h, 1h30m or 500ms, or a number of seconds.",
        }
    )


Duration = Annotated[float, BeforeValidator(parse_duration), _duration_schema("minimum")]
PositiveDuration = Annotated[float, BeforeValidator(_positive), _duration_schema("exclusiveMinimum")]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200)]
StepId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
PlaybookId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Cel = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_condition)]


class Model(BaseModel):
    """Part of a definition: no unknown fields, no values of another type than the one that is asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)
