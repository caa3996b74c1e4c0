"""The steps of a definition laid out flat, depth first: who stands in which block, and who sees whom.

The layout is made of the raw definition, before any step is checked, so that every fault can be told with its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from playbooks.plan import Span
from playbooks.record import Json

Path = tuple[str | int, ...]

MAX_STEPS = 10_000
BODIES = {"parallel": "branches", "foreach": "steps", "while": "steps"}
"""The field that holds the steps of each type of block."""

LOOP_TYPES = frozenset({"foreach", "while"})


@dataclass(slots=True, eq=False)
class Place:
    """One step: its raw definition, where it stands in the text, and in which block.

    ``sequence`` numbers the list of steps that it belongs to: the playbook's own, a branch, the body of a loop.
    """

    index: int
    id: str
    raw: Json
    path: Path
    parent: Place | None
    sequence: int
    end: int = 0
    bodies: list[Span] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The type that the step claims to have."""
        return str(self.raw.get("type", "action")) if isinstance(self.raw, dict) else "action"

    @property
    def is_loop(self) -> bool:
        """True for a block whose steps may run more than once."""
        return self.kind in LOOP_TYPES

    def around(self) -> Iterator[Place]:
        """The blocks around the step, the innermost first."""
        block = self.parent
        while block is not None:
            yield block
            block = block.parent


@dataclass(slots=True)
class Layout:
    """All steps of a definition; ``always`` is where the steps of that list begin, or the number of steps."""

    places: list[Place] = field(default_factory=list)
    by_id: dict[str, Place] = field(default_factory=dict)
    repeated: list[tuple[Place, Place]] = field(default_factory=list)
    always: int = 0
    _sequences: int = 0

    @classmethod
    def of(cls, value: dict[str, Json]) -> Layout:
        """The layout of a whole definition."""
        layout = cls()
        layout._sequence(_steps(value.get("steps"), ("steps",)), None)
        layout.always = len(layout.places)
        layout._sequence(_steps(value.get("always"), ("always",)), None)
        return layout

    @property
    def is_full(self) -> bool:
        """True when there are more steps than a playbook may have; those beyond are not here."""
        return len(self.places) > MAX_STEPS

    def _sequence(self, steps: list[tuple[Path, Json]], parent: Place | None) -> Span:
        number, start = self._sequences, len(self.places)
        self._sequences += 1
        for path, raw in steps:
            if self.is_full:
                break
            place = Place(len(self.places), _id_of(raw, len(self.places)), raw, path, parent, number)
            self._add(place)
            place.bodies = [self._sequence(body, place) for body in _bodies(place)]
            place.end = len(self.places)
        return Span(start=start, stop=len(self.places))

    def _add(self, place: Place) -> None:
        self.places.append(place)
        first = self.by_id.setdefault(place.id, place)
        if first is not place:
            self.repeated.append((place, first))

    def sequences(self) -> list[list[Place]]:
        """The steps of each list of steps."""
        found: dict[int, list[Place]] = {}
        for place in self.places:
            found.setdefault(place.sequence, []).append(place)
        return list(found.values())

    def hidden(self, target: Place, reader: Reader) -> str | None:
        """Why ``reader`` cannot see the result of ``target``; None when it can."""
        if target is reader.own:
            return f"the step `{target.id}` cannot refer to itself"
        if target in reader.blocks:
            return f"the step `{target.id}` has not ended: this stands inside of it"
        if target.index >= reader.index:
            return f"the step `{target.id}` cannot have run yet: it comes later"
        inner = target
        while inner.parent is not None and inner.parent not in reader.blocks:
            inner = inner.parent
            if inner.is_loop:
                return f"the step `{target.id}` may run many times: its results are in steps['{inner.id}'].output"
        common = inner.parent
        if common is not None and common.kind == "parallel" and not reader.stands_in(common, inner.sequence):
            return f"the step `{target.id}` runs in another branch, at the same time"
        return None


@dataclass(frozen=True, slots=True)
class Reader:
    """Where an expression stands: it sees steps before ``index``, from inside of ``blocks``, innermost first."""

    index: int
    blocks: tuple[Place, ...] = ()
    own: Place | None = None

    @classmethod
    def at(cls, place: Place) -> Reader:
        """An expression of the step at ``place``."""
        return cls(place.index, tuple(place.around()), place)

    @classmethod
    def after_body(cls, place: Place) -> Reader:
        """The expression of a ``while``, which sees what the last iteration left."""
        return cls(place.end, (place, *place.around()))

    @property
    def chain(self) -> tuple[Place, ...]:
        """The step that it is of, where it is of one, and the blocks around."""
        return ((self.own,) if self.own else ()) + self.blocks

    @property
    def in_loop(self) -> bool:
        """True where ``item`` or ``index`` has a value."""
        return any(block.is_loop for block in self.blocks)

    @property
    def has_item(self) -> bool:
        """True inside of a ``foreach``."""
        return any(block.kind == "foreach" for block in self.blocks)

    def stands_in(self, block: Place, sequence: int) -> bool:
        """Whether the reader's way into ``block`` goes through the steps of that ``sequence``."""
        return any(place.parent is block and place.sequence == sequence for place in self.chain)


def _bodies(place: Place) -> list[list[tuple[Path, Json]]]:
    name = BODIES.get(place.kind)
    value = place.raw.get(name) if name and isinstance(place.raw, dict) else None
    if name is None or not isinstance(value, list):
        return []
    path = (*place.path, name)
    if name == "steps":
        return [_steps(value, path)]
    return [_branch(branch, (*path, number)) for number, branch in enumerate(value)]


def _branch(branch: Json, path: Path) -> list[tuple[Path, Json]]:
    """A branch is a list of steps, an object with such a list, or one step."""
    if isinstance(branch, dict) and "steps" in branch:
        return _steps(branch["steps"], (*path, "steps"))
    return _steps(branch, path) if isinstance(branch, list) else [(path, branch)]


def _steps(value: Any, path: Path) -> list[tuple[Path, Json]]:
    return [((*path, number), raw) for number, raw in enumerate(value)] if isinstance(value, list) else []


def _id_of(raw: Json, index: int) -> str:
    """The id of a step: its own, or ``act-001`` by position (seeds)."""
    own = raw.get("id") if isinstance(raw, dict) else None
    return own if isinstance(own, str) else f"act-{index + 1:03d}"
