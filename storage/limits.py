"""What a token that is limited by labels sees: playbooks by slug, id or tag, assets by tag, executions by both.

The labels are those of now.  A deleted playbook or asset keeps the ones that it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from sqlalchemy import ColumnElement, Connection, and_, or_, select, true

from playbooks.record import Json
from storage.playbooks import get as get_playbook
from storage.tables import asset_tags, assets, executions, playbook_tags, playbooks


@dataclass(frozen=True, slots=True)
class Limits:
    """What there is for a token; where nothing is said of playbooks, or of assets, there is every one.

    A playbook is seen when it is named, or has one of the tags.  A tag of an asset is ``key`` or ``key=value``.
    """

    playbooks: tuple[str, ...] = ()
    playbook_tags: tuple[str, ...] = ()
    asset_tags: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, value: Json) -> Self | None:
        """The limits that were stored; None for a token without."""
        if not isinstance(value, Mapping):
            return None
        return cls(**{str(name): tuple(str(one) for one in labels or ()) for name, labels in value.items()})

    def as_json(self) -> dict[str, Json]:
        """The limits as they are stored and told."""
        return {name: list(labels) for name, labels in asdict(self).items()}


def seen_playbooks(limits: Limits) -> ColumnElement[bool]:
    """The condition on the table of playbooks."""
    if not limits.playbooks and not limits.playbook_tags:
        return true()
    tagged = select(playbook_tags.c.playbook_id).where(playbook_tags.c.tag.in_(limits.playbook_tags))
    named = or_(playbooks.c.slug.in_(limits.playbooks), playbooks.c.id.in_(limits.playbooks))
    return or_(named, playbooks.c.id.in_(tagged))


def seen_assets(limits: Limits) -> ColumnElement[bool]:
    """The condition on the table of assets."""
    if not limits.asset_tags:
        return true()
    return assets.c.id.in_(select(asset_tags.c.asset_id).where(or_(*map(_is_tag, limits.asset_tags))))


def seen_executions(limits: Limits) -> ColumnElement[bool]:
    """The condition on the table of executions: of a playbook that is seen, on an asset that is seen."""
    conditions: list[ColumnElement[bool]] = []
    if limits.playbooks or limits.playbook_tags:
        conditions.append(executions.c.playbook_id.in_(select(playbooks.c.id).where(seen_playbooks(limits))))
    if limits.asset_tags:
        conditions.append(executions.c.asset_id.in_(select(assets.c.id).where(seen_assets(limits))))
    return and_(true(), *conditions)


def sees_playbook(connection: Connection, limits: Limits, id_or_slug: str) -> bool:
    """Whether there is this playbook for the token; a deleted one by its id only."""
    row = get_playbook(connection, id_or_slug, include_deleted=True)
    found = select(playbooks.c.id).where(playbooks.c.id == (row.id if row else None), seen_playbooks(limits))
    return connection.execute(found).first() is not None


def sees_asset(connection: Connection, limits: Limits, asset_id: str) -> bool:
    """Whether there is this asset for the token."""
    found = select(assets.c.id).where(assets.c.id == asset_id, seen_assets(limits))
    return connection.execute(found).first() is not None


def sees_execution(connection: Connection, limits: Limits, execution_id: str) -> bool:
    """Whether there is this execution for the token."""
    found = select(executions.c.id).where(executions.c.id == execution_id, seen_executions(limits))
    return connection.execute(found).first() is not None


def _is_tag(tag: str) -> ColumnElement[bool]:
    key, equals, value = tag.partition("=")
    has = asset_tags.c.key == key
    return and_(has, asset_tags.c.value == value) if equals else has
