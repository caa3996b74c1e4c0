"""What the format's checks and the plan need to know of an action; the actions themselves live in ``activities``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from playbooks.record import Json


@dataclass(frozen=True, slots=True)
class Traits:
    """What may be done with an action.

    ``safe``: only reads.  ``idempotent``: may be repeated.  ``quick``: done in well under a second.
    """

    safe: bool = False
    idempotent: bool = False
    quick: bool = False


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One entry of the catalogue, without its code.

    ``traits_for`` takes the step's parameters as written (templates included) and says what is true of that use:
    an HTTP GET is safe, a POST is not.
    """

    name: str
    title: str
    description: str
    input_schema: Json
    output_schema: Json
    rehearsal: str
    traits: Traits
    traits_for: Callable[[Json], Traits] = field(repr=False, compare=False)


Catalogue = Mapping[str, ActionSpec]
