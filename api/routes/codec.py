"""The codec that Temporal's Web UI and CLI ask to show encrypted payloads, by Temporal's remote codec protocol."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from starlette.responses import Response
from temporalio.api.common.v1 import Payloads

from api.auth import guard
from api.body import read_bytes
from api.openapi import BODY_ERRORS, answers
from api.services import Services, ServicesDep
from engine.codec import EncryptionCodec, EncryptionKeyError, parse_keys
from executions.errors import BadRequest, NotFound

router = APIRouter(tags=["codec"])

PERMISSION: Final = "payload:decode"
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of one request: Temporal takes payloads of 2 MiB, and asks for several at once."""

Operation = Annotated[Literal["encode", "decode"], Path(description="What is to be done with the payloads.")]
Token = Annotated[str, Path(min_length=1, max_length=200, description="A token with the permission payload:decode.")]

_PAYLOADS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "payloads": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "metadata": {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
                    "data": {"type": "string", "format": "byte"},
                },
            },
        }
    },
}
_CONTENT: Final = {"content": {"application/json": {"schema": _PAYLOADS}}}
_EXTRA: Final[dict[str, Any]] = {"requestBody": {"required": True, **_CONTENT}}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "As many payloads, in the same order.", **_CONTENT},
    **answers(404, *BODY_ERRORS),
}


@router.post(
    "/api/codec/{operation}",
    name="codec.use",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_EXTRA,
    dependencies=[guard(PERMISSION)],
)
async def use_codec(request: Request, services: ServicesDep, operation: Operation) -> Response:
    """Encrypt or decrypt payloads of Temporal with `STANCHION_ENCRYPTION_KEY`; what is not encrypted passes.

    For `temporal --codec-endpoint https://…/api/codec --codec-auth "Bearer <token>"`. What is decrypted is shown as it
    is: secret parameters are not masked, so give the permission to few. Payloads over 256 KiB are kept elsewhere; of
    these the reference is shown.
    """
    return await _answer(request, services, operation)


@router.post(
    "/api/codec/with/{token}/{operation}",
    name="codec.use_with_token",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra={**_EXTRA, "security": []},
)
async def use_codec_with_token(request: Request, services: ServicesDep, token: Token, operation: Operation) -> Response:
    """The same with the token in the address, for the Web UI, which can send no header of its own.

    404 for a token that is unknown or lacks the permission. Pages of the Web UI may ask (`STANCHION_TEMPORAL_UI_URL`),
    and of `STANCHION_CORS_ORIGINS`, no others. Make a token for this alone, and let it expire.
    """
    request.scope["path_params"] = {"operation": operation}  # from here on the token stands in no log
    principal, _ = await services.tokens.find(token)
    if services.limiter is not None:
        services.limiter.take(request.scope, principal.id if principal else None)
    if principal is None or PERMISSION not in principal.permissions:
        services.journal.denied(request, principal, "unknown codec token")
        raise NotFound("There is no such codec.")
    request.state.principal = principal
    return await _answer(request, services, operation)


async def _answer(request: Request, services: Services, operation: str) -> Response:
    content = await read_bytes(request, LARGEST)
    if not content.lstrip().startswith(b"{"):
        raise BadRequest("The body must be a JSON object.")
    try:
        # In a thread, as below: it takes seconds for the largest.
        given = await asyncio.to_thread(Parse, content, Payloads(), ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The body holds no payloads of Temporal in JSON.") from error
    key = services.settings.encryption_key
    payloads = list(given.payloads)
    if key is not None:
        codec = EncryptionCodec(parse_keys(key.get_secret_value()))
        try:
            payloads = await (codec.encode if operation == "encode" else codec.decode)(payloads)
        except EncryptionKeyError as error:
            raise BadRequest(f"A payload cannot be decrypted: {error}.") from error
    text = await asyncio.to_thread(MessageToJson, Payloads(payloads=payloads), indent=None)
    return Response(text, media_type="application/json")
