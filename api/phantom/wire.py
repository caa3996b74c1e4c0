"""How the Phantom interface writes and reads: times, answers, bodies of any type, flags without a value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api.body import PARSED_AT_ONCE, read_bytes, workers
from executions.errors import BadRequest
from playbooks.faults import DefinitionError
from playbooks.load import load
from playbooks.record import Json

LARGEST: Final = 2**31 - 1
"""Largest number of a record."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_EARLIEST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LATEST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_FALSE: Final = frozenset({"false", "0", "no", "off", "none", "null"})


def time_of(milliseconds: int | None) -> str | None:
    """``2016-01-15T22:15:55.171000Z``, as records have it; None stays None."""
    if milliseconds is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def message_time(milliseconds: int | None) -> str | None:
    """``2016-01-15T22:15:55.252+00:00``, as ``message`` has it: without trailing zeros; None stays None."""
    if milliseconds is None:
        return None
    seconds, rest = divmod(milliseconds, 1000)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds").removesuffix("+00:00")
    fraction = f".{rest:03}".rstrip("0") if rest else ""
    return f"{text}{fraction}+00:00"


def parse_time(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time or date; without an offset it is UTC.

    Raises ValueError, also for a moment that in UTC lies outside the years 1 to 9999: it could not be shown again.
    """
    moment = datetime.fromisoformat(text.strip().upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    found = (moment - _EPOCH) // _MILLISECOND
    if not _EARLIEST <= found <= _LATEST:
        raise ValueError(f"{text} is out of range")
    return found


def pretty_time(milliseconds: int, now: int) -> str:
    """How long ago a time was, or how far ahead it is, in words."""
    seconds = abs(now - milliseconds) // 1000
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        count = seconds // size
        if count:
            words = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{words} ago" if milliseconds <= now else f"in {words}"
    return "now"


def answer(content: Json, status: int = 200) -> Response:
    """An answer in JSON."""
    text = json.dumps(content, ensure_ascii=False, separators=(", ", ": "))
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


def failure(message: str, status: int, **more: Json) -> Response:
    """An error: ``{"failed": true, "message": …}``."""
    return answer({"failed": True, "message": message, **more}, status)


def flag(request: Request, name: str) -> bool:
    """Whether a flag of the query is set: ``?pretty``, ``?pretty=1``, ``?pretty=True``, but not ``?pretty=false``."""
    value = request.query_params.get(name)
    return value is not None and value.strip("\"'").lower() not in _FALSE


async def read_body(request: Request) -> Json:
    """The JSON in the body, whatever its ``Content-Type`` says: ``curl -d`` calls it a form.

    Raises TooLarge, BadRequest.
    """
    content = await read_bytes(request)
    if not content.strip():
        raise BadRequest("The request has no body; JSON is needed.")
    if len(content) <= PARSED_AT_ONCE:
        return _parsed(content)
    return await asyncio.get_running_loop().run_in_executor(workers, _parsed, content)


async def read_object(request: Request) -> dict[str, Json]:
    """The JSON object in the body.  Raises TooLarge, BadRequest."""
    body = await read_body(request)
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body


def json_in(text: str) -> Json:
    """The value of JSON inside of a string, held to the limits of a body.  Raises ValueError."""
    try:
        return load(text.encode("utf-8", "replace"), "json").value
    except DefinitionError as error:
        raise ValueError(error.faults[0].message) from error


def _parsed(content: bytes) -> Json:
    try:
        return load(content, "json").value
    except DefinitionError as error:
        fault = error.faults[0]
        raise BadRequest(f"The body is not valid JSON: {fault.message} (line {fault.line}).") from error


def number_in(body: Mapping[str, Any], *names: str) -> int | None:
    """The number under the first of ``names`` that is there: a number, or digits in a string.  Raises BadRequest."""
    for name in names:
        value = body.get(name)
        if value is None or value == "":
            continue
        number = as_number(value)
        if number is None:
            raise BadRequest(f'"{name}" must be a number.')
        return number
    return None


def as_number(value: object) -> int | None:
    """The number of a record that ``value`` is, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal() and len(value) < 12:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= LARGEST else None


def truth_of(value: object, name: str) -> bool:
    """A truth value as clients write one.  Raises BadRequest."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    raise BadRequest(f'"{name}" must be true or false.')
