"""Bodies that hold one record or an array of them; in an array, an entry with an ``id`` changes that record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.phantom.wire import answer, number_in, read_body
from api.services import services_of
from executions.errors import BadRequest, Refusal
from playbooks.record import Json

MAX_BULK: Final = 1_000

Create = Callable[[Mapping[str, Json]], Awaitable[dict[str, Json]]]
Change = Callable[[int, Mapping[str, Json]], Awaitable[dict[str, Json]]]


async def one_or_many(request: Request, create: Create, change: Change | None = None) -> Response:
    """The answer to a body that is an object, or an array, which is answered with an array.  Raises BadRequest.

    Each entry is taken by itself: one that is refused says so in its place, and keeps no other from being stored.
    """
    body = await read_body(request)
    if isinstance(body, dict):
        return answer(await create(body))
    if not isinstance(body, list) or not body:
        raise BadRequest("The body must be a JSON object, or an array of them.")
    if len(body) > MAX_BULK:
        raise BadRequest(f"At most {MAX_BULK} records are taken with one request.")
    return answer([await _one(request, entry, create, change) for entry in body])


async def _one(request: Request, entry: Json, create: Create, change: Change | None) -> Json:
    try:
        if not isinstance(entry, dict):
            raise BadRequest("Each entry must be a JSON object.")
        number = number_in(entry, "id") if change is not None else None
        return await create(entry) if change is None or number is None else await change(number, entry)
    except Refusal as refusal:
        services_of(request).journal.refused(request, refusal.code)
        return {"failed": True, "message": refusal.message, **refusal.extra}
