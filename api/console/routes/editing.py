"""Playbooks, to write: the editor, the check while somebody types, storing and deleting."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.backend import PLAYBOOKS, Backend, Refused, path_of
from api.console.pages import page, redirect
from api.console.routes.playbooks import source_of, stored_revision
from api.console.sessions import SignedIn
from api.services import ServicesDep
from executions.errors import Detail
from playbooks.record import Json

router = APIRouter(include_in_schema=False)

YAML: Final = "application/yaml"
STARTING_TEXT: Final = """\
name: My playbook
version: 1.0.0
description: What it does, in one sentence.
tags: []

parameters:
  type: object
  properties:
    text: {type: string, default: hello, description: What is said.}

steps:
  - id: say
    name: Say it
    action_ref: core.echo
    parameters: {text: "{{ parameters.text }} from {{ asset.name }}"}
"""


@router.get("/new-playbook", name="console.playbook_new")
async def new_page(request: Request, visitor: SignedIn) -> Response:
    """Show the editor with a playbook to begin with."""
    return _editor(request, visitor, None, STARTING_TEXT)


@router.post("/new-playbook", name="console.playbook_create")
async def create(request: Request, visitor: SignedIn) -> Response:
    """Store a new playbook, or show its faults where they are."""
    text = _text(visitor.form.get("source"))
    try:
        answered = await Backend(request, visitor).send("POST", PLAYBOOKS, text.encode(), media_type=YAML)
    except Refused as refused:
        return _editor(request, visitor, None, text, refused)
    return redirect(f"/playbooks/{answered.json()['id']}")


@router.get("/playbooks/{playbook_id}/edit", name="console.playbook_edit")
async def edit_page(request: Request, services: ServicesDep, visitor: SignedIn, playbook_id: str) -> Response:
    """Show the editor with the latest revision."""
    playbook = await Backend(request, visitor).get(path_of(PLAYBOOKS, playbook_id))
    row = await stored_revision(services, playbook["id"], playbook["revision"])
    return _editor(request, visitor, playbook, source_of(row))


@router.post("/playbooks/{playbook_id}/edit", name="console.playbook_replace")
async def replace(request: Request, visitor: SignedIn, playbook_id: str) -> Response:
    """Store the next revision, unless somebody else has stored one meanwhile."""
    backend = Backend(request, visitor)
    playbook = await backend.get(path_of(PLAYBOOKS, playbook_id))
    text, begun_at = _text(visitor.form.get("source")), visitor.form.get("revision")
    if begun_at != str(playbook["revision"]):
        return _editor(request, visitor, playbook, text, overtaken=begun_at)
    try:
        await backend.send("PUT", path_of(PLAYBOOKS, playbook["id"]), text.encode(), media_type=YAML)
    except Refused as refused:
        return _editor(request, visitor, playbook, text, refused)
    return redirect(f"/playbooks/{playbook['id']}")


@router.post("/check-playbook", name="console.playbook_check")
async def check(request: Request, visitor: SignedIn) -> Response:
    """The faults of the text as it stands in the editor."""
    text, faults = _text(visitor.form.get("source")), list[Detail]()
    try:
        path = path_of(PLAYBOOKS, "validate")
        await Backend(request, visitor).send("POST", path, text.encode(), media_type=YAML)
    except Refused as refused:
        if refused.status != 400:
            raise
        faults = refused.details or [Detail("", refused.message)]
    return page(request, visitor, "parts/faults.html", faults=faults)


@router.post("/playbooks/{playbook_id}/delete", name="console.playbook_delete")
async def delete(request: Request, visitor: SignedIn, playbook_id: str) -> Response:
    """Delete a playbook."""
    await Backend(request, visitor).delete(path_of(PLAYBOOKS, playbook_id))
    return redirect("/playbooks")


def _editor(
    request: Request,
    visitor: SignedIn,
    playbook: Json,
    text: str,
    refused: Refused | None = None,
    overtaken: str | None = None,
) -> Response:
    status = refused.status if refused else 409 if overtaken else 200
    faults = refused.details or [Detail("", refused.message)] if refused else []
    return page(
        request,
        visitor,
        "editor.html",
        status=status,
        playbook=playbook,
        text=text,
        faults=faults,
        overtaken=overtaken,
    )


def _text(submitted: str) -> str:
    # A browser sends the ends of lines of a form as CR and LF.
    return submitted.replace("\r\n", "\n")
