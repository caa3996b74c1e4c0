"""Compiles a definition to what is stored and run: checked whole, every fault at once."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from playbooks.actions import Catalogue
from playbooks.check import Faults, declared_names
from playbooks.definition import parse_head
from playbooks.document import Document, pointer
from playbooks.faults import DefinitionError, Fault
from playbooks.load import Media, load, load_value
from playbooks.parameters import secret_names, to_schema
from playbooks.plan import Plan
from playbooks.planner import Planner
from playbooks.record import Json
from playbooks.triggers import check_trigger

MAX_PLAN = 4 * 1024 * 1024
"""Bytes of a plan as JSON: it travels in the workflow's input."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A checked definition, ready to be stored.  ``id`` is None where the author gave none."""

    id: str | None
    slug: str
    name: str
    version: str
    description: str
    tags: list[str]
    trigger: dict[str, Json]
    definition: dict[str, Json]
    parameters_schema: dict[str, Json]
    secret_parameters: list[str]
    plan: Plan
    paths: dict[int, str]
    """JSON Pointers of the steps in the definition, by their index in the plan."""


def compile_playbook(text: bytes, media: Media, catalogue: Catalogue) -> Compiled:
    """The compiled definition in ``text``.  Raises DefinitionError with every fault and its place."""
    return _compile(load(text, media), catalogue)


def compile_value(value: Json, catalogue: Catalogue) -> Compiled:
    """The compiled definition of a value that was parsed already.  Raises DefinitionError; places are paths only."""
    return _compile(load_value(value), catalogue)


def slug_of(name: str) -> str:
    """The slug of a name: lower-case ASCII letters and digits in words joined by ``-``, at most 64 characters."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:64].rstrip("-")


def _compile(document: Document, catalogue: Catalogue) -> Compiled:
    value = document.value
    if not isinstance(value, dict):
        raise DefinitionError([document.fault((), "a definition is an object")])
    faults = Faults(document)
    head, problems = parse_head(value)
    for path, message in problems:
        faults.add(path, message)
    schema, problems = to_schema(value.get("parameters"))
    for path, message in problems:
        faults.add(("parameters", *path), message)
    names = None if problems else declared_names(schema)
    if head is not None:
        check_trigger(head.trigger, None if problems else schema, faults)
    planner = Planner(value, head, faults, catalogue, names)
    plan = planner.plan()
    name = value.get("name")
    slug = slug_of(name) if isinstance(name, str) else ""
    if name and isinstance(name, str) and not slug:
        faults.add(("name",), "the name needs at least one letter or digit of ASCII, for its slug")
    if faults or head is None:
        raise DefinitionError(faults.listed())
    _check_size(plan)
    return Compiled(
        id=head.id,
        slug=slug,
        name=head.name,
        version=head.version,
        description=head.description,
        tags=head.tags,
        trigger=head.trigger.model_dump(exclude_none=True),
        definition=value,
        parameters_schema=schema,
        secret_parameters=secret_names(schema),
        plan=plan,
        paths={place.index: pointer(place.path) for place in planner.layout.places},
    )


def _check_size(plan: Plan) -> None:
    size = len(plan.model_dump_json().encode())
    if size > MAX_PLAN:
        raise DefinitionError([Fault("", f"the playbook compiles to {size} bytes; {MAX_PLAN} is the most")])
