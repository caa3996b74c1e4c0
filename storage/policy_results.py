"""Results of comparisons with policies: the last ones of each asset, for the next one to be held against."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.tables import policy_results

KEPT = 50
"""Results of one asset, baseline and subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResultRow:
    """A result; ``outcomes`` by the name of the rule, ``at`` in ms since the epoch."""

    asset_id: str
    baseline: str
    subject: str
    execution_id: str
    step: str
    at: int
    score: float | None
    digest: str
    outcomes: dict[str, str]


_p = policy_results.c
_FIELDS = [field.name for field in fields(PolicyResultRow)]
_columns = [_p[name] for name in _FIELDS]
_same = (
    _p.asset_id == bindparam("of_asset"),
    _p.baseline == bindparam("with_baseline"),
    _p.subject == bindparam("about"),
)
_of_step = (_p.execution_id == bindparam("of_run"), _p.step == bindparam("of_step"))
_OWN = select(_p.id).where(*_of_step)
_LAST = select(*_columns).where(*_same).order_by(_p.id.desc()).limit(1)
_BEFORE = select(*_columns).where(*_same, _p.id < bindparam("own")).order_by(_p.id.desc()).limit(1)
_OLDEST_KEPT = select(_p.id).where(*_same).order_by(_p.id.desc()).offset(KEPT - 1).limit(1)
_FORGET = delete(policy_results).where(*_same, _p.id < bindparam("oldest"))
_sqlite, _postgresql = sqlite.insert(policy_results), postgresql.insert(policy_results)
_CHANGING = [name for name in _FIELDS if name not in {"execution_id", "step", "at"}]
# A step that is repeated has the place of its first attempt: what came before that is what it is held against.
_PUT = {
    "sqlite": _sqlite.on_conflict_do_update(
        index_elements=[_p.execution_id, _p.step], set_={name: _sqlite.excluded[name] for name in _CHANGING}
    ).returning(_p.id),
    "postgresql": _postgresql.on_conflict_do_update(
        index_elements=[_p.execution_id, _p.step], set_={name: _postgresql.excluded[name] for name in _CHANGING}
    ).returning(_p.id),
}


def keep(connection: Connection, new: PolicyResultRow) -> PolicyResultRow | None:
    """Store the result of a step, in the place of an earlier one of the same step; the one before it, or None."""
    values = {name: getattr(new, name) for name in _FIELDS}
    own = connection.execute(_PUT[connection.dialect.name], values).scalar_one()
    key = {"of_asset": new.asset_id, "with_baseline": new.baseline, "about": new.subject}
    before = connection.execute(_BEFORE, {**key, "own": own}).one_or_none()
    oldest = connection.execute(_OLDEST_KEPT, key).scalar()
    if oldest is not None:
        connection.execute(_FORGET, {**key, "oldest": oldest})
    return None if before is None else _row(before)


def last(
    connection: Connection, asset_id: str, baseline: str, subject: str, execution_id: str, step: str
) -> PolicyResultRow | None:
    """The last result before that of this step, or None."""
    key = {"of_asset": asset_id, "with_baseline": baseline, "about": subject}
    own = connection.execute(_OWN, {"of_run": execution_id, "of_step": step}).scalar()
    found = connection.execute(_LAST, key) if own is None else connection.execute(_BEFORE, {**key, "own": own})
    row = found.one_or_none()
    return None if row is None else _row(row)


def _row(row: Row[Any]) -> PolicyResultRow:
    return PolicyResultRow(**row._asdict())
