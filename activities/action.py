"""What an action is: one class, with typed input and output, that can run and can rehearse.

To add one, subclass ``Action``, name its models, and list the class under the entry point group
``stanchion.actions``::

    class Lookup(Action[LookupInput, LookupOutput]):
        \"\"\"Looks an address up in the inventory.\"\"\"

        name = "inventory.lookup"
        title = "Look up an address"
        Input = LookupInput
        Output = LookupOutput
        safe = idempotent = True

        async def run(self, inputs: LookupInput, context: ActionContext) -> LookupOutput: ...
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from activities.egress import EgressPolicy
from activities.errors import ActionError
from activities.stores import Stores
from playbooks.actions import ActionSpec, Traits
from playbooks.record import Json

__all__ = ["Action", "ActionContext", "ActionError", "AnyAction", "InputModel", "OutputModel", "Rehearsal"]

RUNS_IN_DRY_RUN = "Only reads, so it runs for real in a dry run too, unless the run says dry_run_reads: false."


class InputModel(BaseModel):
    """Base of input models: an unknown field is an error, since it is most often a misspelt one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class OutputModel(BaseModel):
    """Base of output models."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What an action may know of the run that it is part of, and what it may use.

    ``attempt`` counts the playbook's attempts of this step from 1.  ``heartbeat`` may be called with progress details;
    the runner sends heartbeats by itself, so no action has to.  ``stores``: what outlives the run.  ``scrub``: a JSON
    value without the secrets of this call, for what is kept in a form in which nobody could find them any more.
    ``dry_run_reads``: a rehearsal may look at the real thing, as long as it changes nothing.
    """

    execution_id: str
    playbook_id: str
    asset_id: str
    step_id: str
    attempt: int = 1
    dry_run: bool = False
    dry_run_reads: bool = False
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    stores: Stores = field(default_factory=Stores)
    heartbeat: Callable[..., None] = lambda *details: None
    scrub: Callable[[Json], Json] = lambda value: value


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The answer of a dry run.

    ``would`` is one sentence; ``effects`` lists the changes, each an object with a ``kind``; ``output`` is the output
    predicted, None where nothing can be said.
    """

    would: str
    effects: list[dict[str, Json]] = field(default_factory=list)
    output: BaseModel | None = None


class Action(ABC, Generic[In, Out]):
    """Base of every action.  The docstring of a subclass is its description in the catalogue.

    ``safe``: only reads.  ``idempotent``: may be repeated.  ``quick``: done in well under a second.
    ``rehearsal``: one sentence on what its dry run does.

    For its page in the documentation (``scripts/action_pages.py``): ``errors`` has its codes and what each means,
    ``example`` is a step's parameters that a playbook may have, secrets and templates included.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    rehearsal: ClassVar[str] = RUNS_IN_DRY_RUN
    safe: ClassVar[bool] = False
    idempotent: ClassVar[bool] = False
    quick: ClassVar[bool] = False
    errors: ClassVar[Mapping[str, str]] = {}
    example: ClassVar[Mapping[str, Json]] = {}
    Input: type[In]
    Output: type[Out]

    @classmethod
    def traits(cls, parameters: Json) -> Traits:
        """What is true of a use with ``parameters``.

        Called with the parameters as written, templates included, when a playbook is compiled, and with the validated
        ones when the step runs.  Must promise nothing that a template could break.
        """
        return Traits(safe=cls.safe, idempotent=cls.idempotent, quick=cls.quick)

    @abstractmethod
    async def run(self, inputs: In, context: ActionContext) -> Out:
        """Do it.  Raises ``ActionError`` when it did not work; must end soon after it is cancelled."""

    async def rehearse(self, inputs: In, context: ActionContext) -> Rehearsal:
        """Say what ``run`` would do, touching nothing: no network, no disk.

        With ``context.dry_run_reads`` it may look, where that changes nothing; it answers also when it cannot look.
        This default is for actions that only read; every other one must have its own (``activities.catalogue``).
        """
        return Rehearsal(would=f"Would run {self.name}, which only reads.")

    @classmethod
    def has_rehearsal(cls) -> bool:
        """True when the class has a ``rehearse`` of its own."""
        return cls.rehearse is not Action.rehearse

    def spec(self) -> ActionSpec:
        """The entry of this action in the catalogue that the API serves and the compiler checks against."""
        return ActionSpec(
            name=self.name,
            title=self.title,
            description=inspect.getdoc(type(self)) or "",
            input_schema=self.Input.model_json_schema(mode="validation"),
            output_schema=self.Output.model_json_schema(mode="serialization"),
            rehearsal=self.rehearsal,
            traits=Traits(safe=self.safe, idempotent=self.idempotent, quick=self.quick),
            traits_for=self.traits,
        )


AnyAction = Action[Any, Any]
