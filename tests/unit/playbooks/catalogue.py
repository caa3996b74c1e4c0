"""A small catalogue of actions, so that the tests of the format depend on no real one; and what tests ask of it."""

from __future__ import annotations

from playbooks.actions import ActionSpec, Catalogue, Traits
from playbooks.compile import Compiled, compile_playbook
from playbooks.faults import DefinitionError, Fault
from playbooks.load import Media
from playbooks.record import Json

ANY: Json = {"type": "object"}
TICKET: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title"],
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "priority": {"type": "integer", "minimum": 1, "maximum": 5},
        "labels": {"type": "array", "items": {"type": "string"}},
        "fields": {"type": "object", "additionalProperties": {"type": "string"}},
        "key": {"type": "string"},
    },
}


def _ticket_traits(parameters: Json) -> Traits:
    return Traits(idempotent="key" in parameters)


def _spec(name: str, title: str, schema: Json, traits: Traits) -> ActionSpec:
    def always(parameters: Json) -> Traits:
        return traits

    return ActionSpec(name, title, title, schema, ANY, "Nothing is done.", traits, always)


_QUICK = Traits(safe=True, idempotent=True, quick=True)

CATALOGUE: Catalogue = {
    "core.echo": _spec("core.echo", "Echo", ANY, _QUICK),
    "core.set": _spec("core.set", "Set variables", ANY, _QUICK),
    "ticket.open": ActionSpec(
        "ticket.open", "Open a ticket", "", TICKET, ANY, "Nothing is opened.", Traits(), _ticket_traits
    ),
}


def compiled(text: str, media: Media = "yaml") -> Compiled:
    """The compiled definition, which has no fault."""
    return compile_playbook(text.encode(), media, CATALOGUE)


def faults_of(text: str | bytes, media: Media = "yaml") -> list[Fault]:
    """All faults of a definition; none when it compiles."""
    try:
        compile_playbook(text.encode() if isinstance(text, str) else text, media, CATALOGUE)
    except DefinitionError as error:
        return error.faults
    return []
