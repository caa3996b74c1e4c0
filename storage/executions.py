"""Executions: the row that stands before Temporal is asked, and what lists and the sweep need to know.

``state`` is NULL until it is final.  ``closed_at`` is NULL until the workflow has closed and its whole record is
here; between an accepted cancel and that moment a run has a state already and is not closed.  How a row becomes
final is in ``storage.settlement``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, false, func, not_, or_, select
from sqlalchemy import insert as insert_into
from sqlalchemy.dialects import postgresql, sqlite

from playbooks.record import ErrorInfo, Json
from playbooks.states import State
from storage.phantom import runs as phantom_runs
from storage.settlement import freeze_cancelled, note_cancel, settle, settle_outside
from storage.tables import execution_io, executions, idempotency_keys

__all__ = [
    "ExecutionRow",
    "ExecutionSummary",
    "IdempotencyKey",
    "Inserted",
    "NewExecution",
    "Repeated",
    "discard",
    "forget_keys",
    "freeze_cancelled",
    "get",
    "get_io",
    "get_iterations",
    "get_vars",
    "has_open",
    "insert",
    "list_executions",
    "note_cancel",
    "oldest_open",
    "open_executions",
    "settle",
    "settle_outside",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """A run that is about to be started; ``created_at`` in ms since the epoch."""

    id: str
    created_at: int
    created_by: str
    playbook_id: str
    revision: int
    asset_id: str
    asset: dict[str, Json]
    parameters: dict[str, Json]
    dry_run: bool
    workflow_id: str
    dry_run_reads: bool = True
    source: str = "api"
    parent_id: str | None = None
    parent_step: str | None = None
    rerun_of: str | None = None
    rerun_from: str | None = None
    context: dict[str, Json] | None = None
    pinned: dict[str, int] | None = None
    """The revisions of the sub-playbooks, by their ids."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The ``Idempotency-Key`` of a request: unique for one principal; ``body_hash`` tells another body apart."""

    principal: str
    key: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class Inserted:
    """The row was written; ``number`` is its place in the order of all executions."""

    number: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """The key was used before, at ``created_at`` (ms), and nothing was written."""

    execution_id: str
    body_hash: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSummary:
    """An execution as lists show it; times in ms since the epoch."""

    id: str
    number: int
    created_at: int
    created_by: str
    source: str
    playbook_id: str
    revision: int
    asset_id: str
    dry_run: bool
    dry_run_reads: bool
    workflow_id: str
    workflow_run_id: str | None
    state: State | None
    started_at: int | None
    finished_at: int | None
    error: ErrorInfo | None
    record: list[Json] | None
    """Compact step rows of ``playbooks.progress``; None until the run is final."""
    cancelled_at: int | None
    cancelled_by: str | None
    cancel_reason: str | None
    closed_at: int | None
    parent_id: str | None
    """The execution that started this one as a sub-playbook, in its step ``parent_step``."""
    parent_step: str | None
    rerun_of: str | None
    """The execution that this one repeats; with ``rerun_from`` "failed" it keeps what was completed there."""
    rerun_from: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRow(ExecutionSummary):
    """An execution with all that the database knows of it, except its steps' inputs and outputs."""

    asset: dict[str, Json]
    parameters: dict[str, Json]
    outputs: Json
    context: dict[str, Json] | None
    pinned: dict[str, int] | None
    """The revisions of the sub-playbooks, by their ids; None for a run that a parent started, and without any."""


HOOK = "hook:"
"""How the principals of hooks begin."""

_c = executions.c
_FIELDS = [field.name for field in fields(ExecutionRow)]
_NEW_FIELDS = [field.name for field in fields(NewExecution)]
_SUMMARY_FIELDS = [field.name for field in fields(ExecutionSummary)]
_columns = [_c[name] for name in _FIELDS]
_summary_columns = [_c[name] for name in _SUMMARY_FIELDS]

_INSERT = insert_into(executions).returning(_c.number)
_GET = select(*_columns).where(_c.id == bindparam("execution_id"))
_own_io = execution_io.c.number == select(_c.number).where(_c.id == bindparam("execution_id")).scalar_subquery()
_GET_IO = select(execution_io.c.io).where(_own_io)
_GET_ITERATIONS = select(execution_io.c.iterations).where(_own_io)
_GET_VARS = select(execution_io.c.vars).where(_own_io)
_GET_KEY = select(idempotency_keys.c.execution_id, idempotency_keys.c.body_hash, idempotency_keys.c.created_at).where(
    idempotency_keys.c.principal == bindparam("for_principal"), idempotency_keys.c.key == bindparam("for_key")
)
_DISCARD = delete(executions).where(_c.id == bindparam("execution_id"), _c.state.is_(None), _c.closed_at.is_(None))
_IS_DISCARDED = select(_c.number).where(_c.id == bindparam("execution_id"), _c.state.is_(None), _c.closed_at.is_(None))
_DISCARD_KEY = delete(idempotency_keys).where(idempotency_keys.c.execution_id == bindparam("for_execution"))
_HAS_KEY = select(idempotency_keys.c.key).where(idempotency_keys.c.execution_id == bindparam("for_execution"))
_of_hook = idempotency_keys.c.principal.startswith(HOOK)
_FORGET_KEYS = delete(idempotency_keys).where(
    idempotency_keys.c.created_at < bindparam("before"),
    or_(not_(_of_hook), idempotency_keys.c.created_at < bindparam("hooks_before")),
)
_OPEN = (
    select(*_summary_columns)
    .where(_c.closed_at.is_(None), _c.created_at < bindparam("created_before"), _c.number > bindparam("after"))
    .order_by(_c.number)
    .limit(bindparam("at_most"))
)
_playbook_by_value = _c.playbook_id.concat("")
"""The playbook's id where its index must not be used: SQLite keeps no statistics and would take it for the best."""

_OLDEST_OPEN = select(func.min(_c.created_at)).where(_c.closed_at.is_(None))
_HAS_OPEN = select(_c.number).where(_c.closed_at.is_(None), _playbook_by_value == bindparam("for_playbook")).limit(1)
# ON CONFLICT rather than a caught error: an error would end the whole transaction on Postgres.
_INSERT_KEY = {
    "sqlite": sqlite.insert(idempotency_keys).on_conflict_do_nothing().returning(idempotency_keys.c.key),
    "postgresql": postgresql.insert(idempotency_keys).on_conflict_do_nothing().returning(idempotency_keys.c.key),
}


def insert(connection: Connection, new: NewExecution, idempotency: IdempotencyKey | None = None) -> Inserted | Repeated:
    """Write the row of a run before Temporal is asked to start it, and remember the key it came with.

    Of simultaneous calls with one key one inserts; the others wait for it and get ``Repeated``.
    """
    if idempotency is not None and (earlier := _claim(connection, idempotency, new)) is not None:
        return earlier
    values = {name: getattr(new, name) for name in _NEW_FIELDS}
    return Inserted(connection.execute(_INSERT, values).scalar_one())


def discard(connection: Connection, execution_id: str) -> bool:
    """Delete a run that Temporal refused to start, and its key; False when it is final or was never there."""
    if not connection.execute(_IS_DISCARDED, {"execution_id": execution_id}).first():
        return False
    phantom_runs.discard(connection, execution_id)
    if connection.execute(_DISCARD, {"execution_id": execution_id}).rowcount == 0:
        return False
    connection.execute(_DISCARD_KEY, {"for_execution": execution_id})
    return True


def find_key(connection: Connection, idempotency: IdempotencyKey) -> Repeated | None:
    """What a key was used for before, with whatever body; None for a new one."""
    named = {"for_principal": idempotency.principal, "for_key": idempotency.key}
    row = connection.execute(_GET_KEY, named).one_or_none()
    return None if row is None else Repeated(row.execution_id, row.body_hash, row.created_at)


def has_key(connection: Connection, execution_id: str) -> bool:
    """Whether the request for this execution may come again, with its idempotency key."""
    return connection.execute(_HAS_KEY, {"for_execution": execution_id}).first() is not None


def forget_keys(connection: Connection, before: int, hooks_before: int | None = None) -> int:
    """Delete the idempotency keys that were used before this moment (ms); how many they were.

    Those of hooks, by which replays are known, stay until ``hooks_before`` where it is given.
    """
    values = {"before": before, "hooks_before": before if hooks_before is None else hooks_before}
    return connection.execute(_FORGET_KEYS, values).rowcount


def get(connection: Connection, execution_id: str) -> ExecutionRow | None:
    """The execution, or None."""
    row = connection.execute(_GET, {"execution_id": execution_id}).one_or_none()
    return None if row is None else _execution(row)


def get_io(connection: Connection, execution_id: str) -> dict[str, Json]:
    """Input and output of each step by its id, as the workflow settled them; empty until then."""
    io: dict[str, Json] | None = connection.execute(_GET_IO, {"execution_id": execution_id}).scalar()
    return io or {}


def get_iterations(connection: Connection, execution_id: str) -> dict[str, Json]:
    """Each iteration of each loop, by the id of the loop, as the workflow settled them; empty until then."""
    found: dict[str, Json] | None = connection.execute(_GET_ITERATIONS, {"execution_id": execution_id}).scalar()
    return found or {}


def get_vars(connection: Connection, execution_id: str) -> dict[str, Json]:
    """The variables of the run as the workflow settled them; empty until then."""
    found: dict[str, Json] | None = connection.execute(_GET_VARS, {"execution_id": execution_id}).scalar()
    return found or {}


def open_executions(connection: Connection, created_before: int, limit: int, after: int = 0) -> list[ExecutionSummary]:
    """Executions that have not closed, oldest first, for the sweep: created before this moment (ms).

    ``after`` is the ``number`` of the last one of the page before.
    """
    rows = connection.execute(_OPEN, {"created_before": created_before, "after": after, "at_most": limit})
    return [_summary(row) for row in rows]


def closed_since(connection: Connection, at: int) -> list[ExecutionSummary]:
    """The executions that have closed at this moment (ms) or later, and those that read cancelled and have not."""
    wanted = or_(_c.closed_at >= at, and_(_c.closed_at.is_(None), _c.state.is_not(None)))
    return [_summary(row) for row in connection.execute(select(*_summary_columns).where(wanted).order_by(_c.number))]


def oldest_open(connection: Connection) -> int | None:
    """When the oldest execution that has not closed was created (ms); None when all have."""
    return connection.execute(_OLDEST_OPEN).scalar()


def has_open(connection: Connection, playbook_id: str) -> bool:
    """True while a run of this playbook has not closed."""
    return connection.execute(_HAS_OPEN, {"for_playbook": playbook_id}).first() is not None


def list_executions(
    connection: Connection,
    *,
    playbook_id: str | None = None,
    asset_id: str | None = None,
    states: Collection[State] | None = None,
    open_only: bool | None = None,
    dry_run: bool | None = None,
    page: int = 1,
    per_page: int = 20,
    seen: ColumnElement[bool] | None = None,
) -> tuple[list[ExecutionSummary], int]:
    """One page of executions, newest first, and how many there are on all pages.

    In ``states``, ``pending`` and ``running`` both stand for every run that is not final yet: which of the two, only
    Temporal knows.  ``open_only`` True keeps those that are not final, False those that are.  ``seen`` is a
    condition of ``storage.limits``.
    """
    wanted = _filters(playbook_id, asset_id, states, open_only, dry_run)
    if seen is not None:
        wanted.append(seen)
    total = connection.execute(select(func.count()).select_from(executions).where(*wanted)).scalar_one()
    # The page is found in an index alone; only its own rows are then read.
    numbers = select(_c.number).where(*wanted).order_by(_c.number.desc()).limit(per_page).offset((page - 1) * per_page)
    rows = connection.execute(select(*_summary_columns).where(_c.number.in_(numbers)).order_by(_c.number.desc()))
    return [_summary(row) for row in rows], total


def _claim(connection: Connection, idempotency: IdempotencyKey, new: NewExecution) -> Repeated | None:
    """Take the key for ``new``; what took it before, if it is taken."""
    values = {
        "principal": idempotency.principal,
        "key": idempotency.key,
        "body_hash": idempotency.body_hash,
        "execution_id": new.id,
        "created_at": new.created_at,
    }
    while connection.execute(_INSERT_KEY[connection.dialect.name], values).first() is None:
        # None here: the one that took it was discarded between the two statements.
        if (earlier := find_key(connection, idempotency)) is not None:
            return earlier
    return None


def _filters(
    playbook_id: str | None,
    asset_id: str | None,
    states: Collection[State] | None,
    open_only: bool | None,
    dry_run: bool | None,
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if playbook_id is not None:
        # Where both are given, by the asset's index: an asset has fewer runs than a playbook.
        column = _c.playbook_id if asset_id is None else _playbook_by_value
        wanted.append(column == playbook_id)
    if asset_id is not None:
        wanted.append(_c.asset_id == asset_id)
    if states is not None:
        wanted.append(_in_states(states))
    if open_only is not None:
        wanted.append(_c.state.is_(None) if open_only else _c.state.is_not(None))
    if dry_run is not None:
        wanted.append(_c.dry_run.is_(True) if dry_run else _c.dry_run.is_(False))
    return wanted


def _in_states(states: Collection[State]) -> ColumnElement[bool]:
    final = sorted(state for state in states if state.is_final)
    choices: list[ColumnElement[bool]] = []
    if len(final) == 1:
        choices.append(_c.state == final[0])  # lets the index on the state give the order too
    elif final:
        choices.append(_c.state.in_(final))
    if len(final) < len(states):
        choices.append(_c.state.is_(None))
    return or_(*choices) if choices else false()


def _execution(row: Row[Any]) -> ExecutionRow:
    return ExecutionRow(**dict(zip(_FIELDS, row, strict=True)))


def _summary(row: Row[Any]) -> ExecutionSummary:
    return ExecutionSummary(**dict(zip(_SUMMARY_FIELDS, row, strict=True)))
