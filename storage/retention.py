"""Executions that are old enough to be forgotten, with everything that is theirs; never one that is needed yet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select

from storage.executions import HOOK
from storage.phantom.tables import phantom_runs
from storage.tables import execution_io, executions, idempotency_keys, run_artifacts

BATCH = 500
"""Executions that one transaction looks at, so that nobody waits long for it."""

_c = executions.c
_PAGE = (
    select(_c.number, _c.id, _c.parent_id, _c.created_at, _c.closed_at)
    .where(_c.number > bindparam("after"))
    .order_by(_c.number)
    .limit(bindparam("at_most"))
)
_OPEN_PARENTS = select(_c.id).where(_c.closed_at.is_(None), _c.id.in_(bindparam("keys", expanding=True)))
_REPEATED = select(_c.rerun_of).where(_c.rerun_of.in_(bindparam("keys", expanding=True)))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many went, and the number of the last that was looked at; None at the end."""

    count: int
    after: int | None


def forget_executions(connection: Connection, before: int, after: int = 0, at_most: int = BATCH) -> Forgotten:
    """Delete those of the next ``at_most`` executions after the number ``after`` that closed before ``before`` (ms).

    Steps, inputs and outputs, artifacts and the idempotency key go with an execution.  One stays while it is open,
    while the one that started it is, and while there is a rerun of it, which may refer to its artifacts.  Payloads that
    Temporal keeps go by their own age (``storage.blobs``), the deliveries of a hook by theirs.
    """
    page = connection.execute(_PAGE, {"after": after, "at_most": at_most}).all()
    old = [row for row in page if row.closed_at is not None and row.closed_at < before]
    parents = _keys(connection, _OPEN_PARENTS, [row.parent_id for row in old if row.parent_id])
    repeated = _keys(connection, _REPEATED, [row.id for row in old])
    going = [row for row in old if row.parent_id not in parents and row.id not in repeated]
    if going:
        _delete(connection, [row.number for row in going], [row.id for row in going])
    # Numbers rise with the time of creation: where all of a page is young, so is what comes after.
    is_end = len(page) < at_most or all(row.created_at >= before for row in page)
    return Forgotten(len(going), None if is_end else page[-1].number)


def _delete(connection: Connection, numbers: list[int], ids: list[str]) -> None:
    connection.execute(delete(execution_io).where(execution_io.c.number.in_(numbers)))
    connection.execute(delete(phantom_runs).where(phantom_runs.c.number.in_(numbers)))
    connection.execute(delete(run_artifacts).where(run_artifacts.c.execution_id.in_(ids)))
    k = idempotency_keys.c
    connection.execute(delete(idempotency_keys).where(k.execution_id.in_(ids), k.principal.not_like(f"{HOOK}%")))
    connection.execute(delete(executions).where(_c.number.in_(numbers)))


def _keys(connection: Connection, statement: object, keys: list[str]) -> set[str]:
    return set(connection.execute(statement, {"keys": keys}).scalars()) if keys else set()  # type: ignore[call-overload]
