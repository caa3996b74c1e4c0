"""Playbooks, to look at: the list, one of them with its flow, its revisions and what they changed."""

from __future__ import annotations

import asyncio

import yaml
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console import flow, lines
from api.console.backend import EXECUTIONS, PLAYBOOKS, Backend, path_of
from api.console.names import READS_EXECUTIONS, names_of
from api.console.pages import page
from api.console.sessions import SignedIn
from api.services import Services, ServicesDep
from executions.errors import NotFound
from playbooks.plan import Plan
from storage import playbooks
from storage.playbooks import RevisionRow

router = APIRouter(include_in_schema=False)


@router.get("/playbooks", name="console.playbooks")
async def playbooks_page(request: Request, visitor: SignedIn) -> Response:
    """List the playbooks; search and tag stand in the address."""
    given = {name: value for name in ("search", "tag") if (value := request.query_params.get(name))}
    backend = Backend(request, visitor)
    listed, every = await asyncio.gather(
        backend.get(PLAYBOOKS, page=request.query_params.get("page", "1"), **given),
        backend.get(PLAYBOOKS, per_page=100),
    )
    tags = sorted({tag for one in every["data"] for tag in one["tags"]})
    return page(request, visitor, "playbooks.html", listed=listed, given=given, tags=tags)


@router.get("/playbooks/{playbook_id}", name="console.playbook")
async def playbook_page(request: Request, services: ServicesDep, visitor: SignedIn, playbook_id: str) -> Response:
    """Show a playbook: what it does, how it flows, how it ran."""
    backend = Backend(request, visitor)
    playbook = await backend.get(path_of(PLAYBOOKS, playbook_id))
    row = await stored_revision(services, playbook["id"], playbook["revision"])
    recent = {"data": [], "meta": {"total": 0}}
    if visitor.may(*READS_EXECUTIONS):
        recent = await backend.get(EXECUTIONS, playbook_id=playbook["id"], per_page=5)
    return page(
        request,
        visitor,
        "playbook.html",
        playbook=playbook,
        drawing=flow.draw(Plan.model_validate(row.plan), row.definition),
        recent=recent,
        names=await names_of(services, visitor, recent["data"]),
        source=source_of(row),
    )


@router.get("/playbooks/{playbook_id}/revisions", name="console.revisions")
async def revisions_page(request: Request, services: ServicesDep, visitor: SignedIn, playbook_id: str) -> Response:
    """Show a playbook's revisions and, of two of them, the difference."""
    backend = Backend(request, visitor)
    playbook = await backend.get(path_of(PLAYBOOKS, playbook_id))
    number = request.query_params.get("page", "1")
    listed = await backend.get(path_of(PLAYBOOKS, playbook["id"], "revisions"), page=number)
    after = _number(request.query_params.get("after"), playbook["revision"])
    before = _number(request.query_params.get("before"), max(1, after - 1))
    old, new = await asyncio.gather(
        stored_revision(services, playbook["id"], before), stored_revision(services, playbook["id"], after)
    )
    return page(
        request,
        visitor,
        "revisions.html",
        playbook=playbook,
        listed=listed,
        before=before,
        after=after,
        lines=await asyncio.to_thread(lines.compared, source_of(old), source_of(new)),
    )


async def stored_revision(services: Services, playbook_id: str, number: int) -> RevisionRow:
    """A revision with its text, for a page whose playbook the interface has shown already.  Raises NotFound."""
    row = await services.database.read(playbooks.get_revision, playbook_id, number)
    if row is None:
        raise NotFound(f"The playbook {playbook_id} has no revision {number}.")
    return row


def source_of(row: RevisionRow) -> str:
    """The text of a revision as YAML: as it was sent, or made from the JSON that was."""
    if row.source_media_type.endswith("yaml"):
        return row.source
    return yaml.safe_dump(row.definition, sort_keys=False, allow_unicode=True, width=120)


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and 0 < len(text) < 10 else otherwise
