"""The catalogue of actions: what a playbook's steps can do."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from api.auth import guard
from api.models import Answer, AnyValue, Listing, Meta
from api.openapi import answers
from api.query import Page, PerPage
from api.services import ServicesDep
from executions.errors import NotFound
from playbooks.actions import ActionSpec

router = APIRouter(prefix="/api/actions", tags=["actions"], dependencies=[guard("playbook:read")])


class ActionAnswer(Answer):
    """One action, with the JSON Schema of what it takes and of what it gives."""

    name: str
    title: str
    description: str
    safe: bool = Field(description="It only reads. An action for which that depends on its parameters says false.")
    idempotent: bool = Field(description="It may be repeated, so a lost worker's work is taken up by another.")
    quick: bool = Field(description="It takes well under a second.")
    dry_run: str = Field(description="What its dry run does.")
    input_schema: dict[str, AnyValue]
    output_schema: dict[str, AnyValue]


class LeftOutAnswer(Answer):
    """A plug-in whose action is not offered."""

    plug_in: str = Field(description="Name of its entry point in the group `stanchion.actions`.")
    reason: str = Field(description="Why: what it raised, or the rule that it breaks.")


class ActionListing(Listing[ActionAnswer]):
    """One page of the actions, and what is missing."""

    left_out: list[LeftOutAnswer] = Field(
        description="Plug-ins that are installed with this API and cannot be used; the same on every page. A worker "
        "that leaves one out says so in its log."
    )


@router.get("", name="action.list", responses=answers())
async def list_actions(services: ServicesDep, page: Page = 1, per_page: PerPage = 20) -> ActionListing:
    """List the actions that the workers know, by name."""
    names = sorted(services.catalogue)
    shown = names[(page - 1) * per_page : page * per_page]
    return ActionListing(
        data=[_answer(services.catalogue[name]) for name in shown],
        meta=Meta(total=len(names), page=page, per_page=per_page),
        left_out=[LeftOutAnswer(plug_in=one.plug_in, reason=one.reason) for one in services.left_out],
    )


@router.get("/{name}", name="action.read", responses=answers(404))
async def read_action(services: ServicesDep, name: str) -> ActionAnswer:
    """Read one action by its name."""
    spec = services.catalogue.get(name)
    if spec is None:
        raise NotFound(f"There is no action {name!r}.")
    return _answer(spec)


def _answer(spec: ActionSpec) -> ActionAnswer:
    return ActionAnswer(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        safe=spec.traits.safe,
        idempotent=spec.traits.idempotent,
        quick=spec.traits.quick,
        dry_run=spec.rehearsal,
        input_schema=spec.input_schema,
        output_schema=spec.output_schema,
    )
