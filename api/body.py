"""Request bodies: read here and not by FastAPI, since 401 and 403 come before anything is said of a body.

A body is bounded while it streams in, has a type that the route reads, is strict JSON (``playbooks.load``) and fits
its model; every fault is answered with its JSON Pointer.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from api.errors import UnsupportedMediaType
from api.query import pointer_part
from api.services import services_of
from executions.errors import BadRequest, Detail, TooLarge, from_faults
from playbooks.faults import DefinitionError
from playbooks.load import load
from playbooks.record import Json

PARSED_AT_ONCE: Final = 16 * 1024
"""Bytes of JSON that are parsed on the event loop; it takes half a second for the largest body."""

workers: Final = ThreadPoolExecutor(2, thread_name_prefix="definitions")
"""Parse and compile what is large.  Few, so that a flood of hostile bodies waits for itself only."""

KEY: Final = "[key]"
"""What Pydantic puts into the place of a fault that is in an object's name and not in its value."""

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""The pattern of a name: at least one character that is not a space, and no control character."""

Media = Literal["json", "yaml"]
Model = TypeVar("Model", bound=BaseModel)

_MEDIA: dict[str, Media] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
}
YAML_TYPES = [name for name, media in _MEDIA.items() if media == "yaml"]


class Body(BaseModel):
    """Base of the request models: a field that is not known, or of another type, is a fault."""

    model_config = ConfigDict(extra="forbid", strict=True)


async def read_json(request: Request, model: type[Model]) -> Model:
    """The body of ``request`` as ``model``.

    Raises:
        UnsupportedMediaType: a ``Content-Type`` other than JSON (absent is taken as JSON).
        TooLarge: more bytes than the setting allows.
        BadRequest: no body, not JSON, not an object, or not what ``model`` asks for.
    """
    _media(request, ("json",))
    return to_model(await _parse(await read_bytes(request)), model)


async def read_optional_json(request: Request, model: type[Model]) -> Model | None:
    """Like ``read_json``; None where the request has no body."""
    content = await read_bytes(request)
    if not content.strip():
        return None
    _media(request, ("json",))
    return to_model(await _parse(content), model)


async def read_definition(request: Request) -> tuple[bytes, Media]:
    """The text of a playbook as sent, and whether it is JSON or YAML by its ``Content-Type``.

    Raises:
        UnsupportedMediaType, TooLarge: see ``read_json``.
        BadRequest: there is no body.
    """
    media = _media(request, ("json", "yaml"))
    content = await read_bytes(request)
    if not content.strip():
        raise BadRequest("The request has no body.")
    return content, media


async def read_bytes(request: Request, limit: int | None = None) -> bytes:
    """The body of ``request``, given up as soon as it is known to be too large.

    Raises:
        TooLarge: more bytes than ``limit``, which is ``STANCHION_MAX_BODY_BYTES`` unless given.
    """
    limit = limit or services_of(request).settings.max_body_bytes
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 15 or int(announced) > limit):
        raise TooLarge(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json(content: bytes) -> Json:
    """The JSON value of ``content``.

    Raises:
        BadRequest: no content, or not strict JSON.
    """
    if not content.strip():
        raise BadRequest("The request has no body.")
    try:
        return load(content, "json").value
    except DefinitionError as error:
        raise BadRequest("The body is not valid JSON.", from_faults(error.faults)) from error


async def parse_body(request: Request, content: bytes) -> Json:
    """The JSON value of a body that was read already.

    Raises:
        UnsupportedMediaType: a ``Content-Type`` other than JSON (absent is taken as JSON).
        BadRequest: not strict JSON.
    """
    _media(request, ("json",))
    return await _parse(content)


async def _parse(content: bytes) -> Json:
    if len(content) <= PARSED_AT_ONCE:
        return parse_json(content)
    return await asyncio.get_running_loop().run_in_executor(workers, parse_json, content)


def to_model(value: Json, model: type[Model]) -> Model:
    """``value`` as ``model``.

    Raises:
        BadRequest: with every field that is missing, unknown or of a wrong type.
    """
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.", [Detail("", "must be an object")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise BadRequest("The body does not have the expected form.", model_details(error.errors())) from error


def model_details(errors: Any) -> list[Detail]:
    """Pydantic's errors as details, their places as JSON Pointers."""
    return [
        Detail(
            "".join("/" + pointer_part(part) for part in error["loc"] if part != KEY),
            ("the name: " if KEY in error["loc"] else "") + _sentence(error["type"], error["msg"]),
        )
        for error in errors
    ]


def _sentence(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "this field is required"
        case "extra_forbidden":
            return "unknown field"
        case "value_error":
            return message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _media(request: Request, accepted: tuple[Media, ...]) -> Media:
    header = request.headers.get("content-type", "").strip()
    if not header:
        return "json"
    name, _, rest = header.partition(";")
    media = _MEDIA.get(name.strip().lower())
    charset = rest.strip().lower().replace('"', "").replace(" ", "")
    if media is None or media not in accepted or charset not in ("", "charset=utf-8", "charset=utf8"):
        readable = " or ".join(known for known, media in _MEDIA.items() if media in accepted)
        raise UnsupportedMediaType(
            f"This route reads {readable} in UTF-8, not {header!r}.",
            headers={"Accept": ", ".join(known for known, media in _MEDIA.items() if media in accepted)},
        )
    return media
