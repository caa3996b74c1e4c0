"""A playbook on its way from the wire to the database."""

from __future__ import annotations

import asyncio
import zoneinfo
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final

from starlette.requests import Request

from api.body import YAML_TYPES, Media, read_definition, workers
from api.openapi import PLAYBOOK, REF
from api.paths import RESERVED
from api.services import services_of
from executions.errors import BadRequest, Conflict, Detail, NotFound, from_faults
from executions.targets import asset_named
from playbooks.actions import Catalogue
from playbooks.compile import Compiled, compile_playbook, compile_value
from playbooks.faults import DefinitionError
from playbooks.load import load
from playbooks.record import Json
from playbooks.triggers import SCHEDULE
from storage.clock import now_ms
from storage.playbooks import NewPlaybook, PlaybookRow

ANSWERED: Final = frozenset({"slug", "revision", "created_at", "updated_at"})
"""What an answer adds to a definition; it may stay in one that was read, changed and is sent back."""


@dataclass(frozen=True, slots=True)
class Source:
    """A definition as it was sent, and compiled."""

    text: bytes
    media: Media
    compiled: Compiled


def definition_body() -> dict[str, Any]:
    """``openapi_extra`` of a route that takes a playbook."""
    by_schema = {"schema": {"$ref": REF.format(model=PLAYBOOK)}}
    as_text = {"schema": {"type": "string", "description": "The same, as YAML."}}
    content = {"application/json": by_schema, **dict.fromkeys(YAML_TYPES, as_text)}
    return {"requestBody": {"required": True, "content": content}}


async def compile_body(request: Request, stored: PlaybookRow | None = None) -> Source:
    """The playbook in the body of ``request``, compiled in a thread beside the event loop.

    ``stored`` is the playbook that it is to replace.

    Raises:
        UnsupportedMediaType, TooLarge: see ``api.body``.
        BadRequest: with every fault of the definition and its place.
    """
    text, media = await read_definition(request)
    work = partial(_compile, text, media, services_of(request).catalogue)
    try:
        compiled = await asyncio.get_running_loop().run_in_executor(workers, work)
    except DefinitionError as error:
        raise BadRequest("The definition has faults.", from_faults(error.faults)) from error
    for place, value in (("/id", compiled.id), ("/name", compiled.slug)):
        if value in RESERVED:
            raise BadRequest("The definition has faults.", [Detail(place, f"{value} is a word of the interface")])
    own = {compiled.id, compiled.slug} | ({stored.id, stored.slug} if stored else set())
    pinner = services_of(request).executions.starter.pinner
    plan = await pinner.resolved(compiled.plan, compiled.paths, frozenset(name for name in own if name))
    await _check_trigger(request, compiled.trigger)
    return Source(text, media, replace(compiled, plan=plan))


async def _check_trigger(request: Request, trigger: dict[str, Json]) -> None:
    """What of a schedule can only be checked here: that its asset and its time zone exist."""
    if trigger["event"] != SCHEDULE:
        return
    faults: list[Detail] = []
    zones = _time_zones()
    if zones and trigger.get("timezone", "UTC") not in zones:
        faults.append(Detail("/trigger/timezone", f"there is no time zone {trigger['timezone']}"))
    try:
        await asset_named(services_of(request).database, trigger["asset"])
    except (NotFound, Conflict) as error:
        faults.append(Detail("/trigger/asset", error.message))
    if faults:
        raise BadRequest("The definition has faults.", faults)


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    """Those of this machine; they are read from hundreds of files."""
    return frozenset(zoneinfo.available_timezones())


def _compile(text: bytes, media: Media, catalogue: Catalogue) -> Compiled:
    try:
        return compile_playbook(text, media, catalogue)
    except DefinitionError as error:
        if not any(fault.path.removeprefix("/") in ANSWERED for fault in error.faults):
            raise
    value = {name: part for name, part in load(text, media).value.items() if name not in ANSWERED}
    return compile_value(value, catalogue)


def new_playbook(source: Source, playbook_id: str, by: str) -> NewPlaybook:
    """What the database is given to store of ``source``."""
    compiled = source.compiled
    return NewPlaybook(
        id=playbook_id,
        slug=compiled.slug,
        name=compiled.name,
        description=compiled.description,
        trigger=compiled.trigger,
        tags=compiled.tags,
        version=compiled.version,
        definition=compiled.definition,
        source=source.text.decode(),
        source_media_type=f"application/{source.media}",
        parameters_schema=compiled.parameters_schema,
        secret_parameters=compiled.secret_parameters,
        plan=compiled.plan.model_dump(mode="json"),
        steps=[
            {
                "id": step.id,
                "name": step.name,
                "type": step.type,
                "action": getattr(step, "action", None),
                "parent": step.parent,
            }
            for step in compiled.plan.steps
        ],
        created_at=now_ms(),
        created_by=by,
    )
