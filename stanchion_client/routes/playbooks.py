"""Playbooks, their revisions, schedules and hooks; and the actions that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from stanchion_client.messages import Answer, Call, Request, as_document, as_nothing, path_of
from stanchion_client.models import (
    Action,
    Hook,
    HookCreated,
    LeftOut,
    Playbook,
    PlaybookSummary,
    Revision,
    Schedule,
    Valid,
)
from stanchion_client.paging import PER_PAGE, Listing, listing
from stanchion_client.routes import operation

YAML = "application/yaml"
Definition = Mapping[str, Any] | str | bytes
"""A playbook as an object, or as the text of one: YAML, or JSON, which is YAML too."""


def _sent(method: str, path: str, definition: Definition, media_type: str) -> Request:
    if isinstance(definition, Mapping):
        return Request(method, path, body=dict(definition))
    content = definition.encode() if isinstance(definition, str) else definition
    return Request(method, path, content=content, headers={"Content-Type": media_type})


@operation("playbook_create")
def create(definition: Definition, *, media_type: str = YAML) -> Call[Playbook]:
    """Store a playbook; ``media_type`` is that of a definition that is given as text.

    Raises:
        BadRequest: ``details`` are all its faults, with line and column where it was text.
        Conflict: its id or its name is taken.
    """
    return Call(_sent("POST", path_of("playbooks"), definition, media_type), as_document)


@operation("playbook_validate")
def validate(definition: Definition, *, media_type: str = YAML) -> Call[Valid]:
    """Check a definition as if it were stored.  Raises what ``create`` raises."""
    return Call(_sent("POST", path_of("playbooks", "validate"), definition, media_type), as_document, repeatable=True)


@operation("playbook_replace")
def replace(playbook: str, definition: Definition, *, media_type: str = YAML) -> Call[Playbook]:
    """Store a new revision; runs that are under way keep theirs.  Raises what ``create`` raises."""
    return Call(_sent("PUT", path_of("playbooks", playbook), definition, media_type), as_document)


@operation("playbook_read")
def read(playbook: str) -> Call[Playbook]:
    """Read a playbook by its id or slug."""
    return Call(Request("GET", path_of("playbooks", playbook)), as_document, repeatable=True)


@operation("playbook_list")
def list_all(
    *, search: str | None = None, tag: str | None = None, page: int = 1, per_page: int = PER_PAGE
) -> Listing[PlaybookSummary]:
    """Playbooks by name; ``search`` is part of name, slug or description, ``tag`` exactly a tag."""
    return listing(path_of("playbooks"), page, per_page, lambda one: one["id"], {"search": search, "tag": tag})


@operation("playbook_delete")
def delete(playbook: str) -> Call[None]:
    """Delete a playbook; its executions stay readable.

    Raises:
        Conflict: one of them is under way.
    """
    return Call(Request("DELETE", path_of("playbooks", playbook)), as_nothing, repeatable=True, gone_is_done=True)


@operation("playbook_revisions")
def revisions(playbook: str, *, page: int = 1, per_page: int = PER_PAGE) -> Listing[Revision]:
    """The revisions of a playbook, newest first."""
    return listing(path_of("playbooks", playbook, "revisions"), page, per_page, lambda one: one["revision"], {})


@operation("playbook_revision")
def revision(playbook: str, number: int) -> Call[Playbook]:
    """A playbook as it was in one of its revisions."""
    path = path_of("playbooks", playbook, "revisions", str(number))
    return Call(Request("GET", path), as_document, repeatable=True)


@operation("playbook_schedule")
def schedule(playbook: str) -> Call[Schedule]:
    """When a playbook with a schedule runs next, and what came of its last times."""
    return Call(Request("GET", path_of("playbooks", playbook, "schedule")), as_document, repeatable=True)


@operation("schema_playbook")
def schema() -> Call[dict[str, Any]]:
    """The JSON Schema of a definition."""
    return Call(Request("GET", path_of("schemas", "playbook.json")), as_document, repeatable=True)


@operation("hook_create")
def create_hook(
    playbook: str,
    name: str,
    *,
    signature: Literal["standard", "github", "none"] = "standard",
    secret: str | None = None,
) -> Call[HookCreated]:
    """Make an address at which another system starts the playbook; it is shown this once."""
    body = {"name": name, "signature": signature} | ({"secret": secret} if secret else {})
    return Call(Request("POST", path_of("playbooks", playbook, "hooks"), body=body), as_document)


@operation("hook_list")
def list_hooks(playbook: str, *, page: int = 1, per_page: int = PER_PAGE) -> Listing[Hook]:
    """The hooks of a playbook, newest first."""
    return listing(path_of("playbooks", playbook, "hooks"), page, per_page, lambda one: one["id"], {})


@operation("hook_delete")
def delete_hook(playbook: str, hook_id: str) -> Call[None]:
    """Take a hook away, at once."""
    request = Request("DELETE", path_of("playbooks", playbook, "hooks", hook_id))
    return Call(request, as_nothing, repeatable=True, gone_is_done=True)


@operation("action_list")
def list_actions(*, page: int = 1, per_page: int = PER_PAGE) -> Listing[Action]:
    """The actions that steps can run, by name."""
    return listing(path_of("actions"), page, per_page, lambda one: one["name"], {})


def actions_left_out() -> Call[list[LeftOut]]:
    """Plug-ins that are installed with the API and cannot be used, and why."""
    return Call(Request("GET", path_of("actions"), {"per_page": 1}), _left_out, repeatable=True)


def _left_out(answer: Answer) -> list[LeftOut]:
    found: list[LeftOut] = answer.json()["left_out"]
    return found


@operation("action_read")
def read_action(name: str) -> Call[Action]:
    """One action, with the JSON Schema of what it takes and gives."""
    return Call(Request("GET", path_of("actions", name)), as_document, repeatable=True)
