"""One field of a record: ``/rest/container/<id>/<field>``; whatever is no list inside of the record."""

from __future__ import annotations

from starlette.requests import Request

from api.phantom.auth import Caller
from api.phantom.containers import ARTIFACT_RESOURCE, CONTAINER_RESOURCE
from api.phantom.notes import NOTE
from api.phantom.resources import Resource
from api.phantom.routing import READ, Rest
from api.services import Services
from playbooks.record import Json

rest = Rest()


def _put(path: str, resource: Resource) -> None:
    async def field(request: Request, services: Services, caller: Caller) -> Json:
        return await resource.field(request, services)

    rest.route("GET", path, READ)(field)


_put("/container/{number}/{field}", CONTAINER_RESOURCE)
_put("/artifact/{number}/{field}", ARTIFACT_RESOURCE)
_put("/note/{number}/{field}", NOTE)
