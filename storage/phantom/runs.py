"""Runs on containers: which artifacts a run takes, and the lists of runs and playbooks by their numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Boolean, Connection, Text, case, delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from playbooks.states import State
from storage.phantom.containers import artifacts_of, of_container
from storage.phantom.filters import Field, Kind
from storage.phantom.records import Query, Record, Source, page_of
from storage.phantom.tables import phantom_runs, playbook_numbers, taken_artifacts, users
from storage.tables import executions, playbooks

Scope = Literal["all", "new"] | Sequence[int]

LOCAL: Final = 1
"""Number of the one repository, ``local``."""

LABELS: Final = ("events",)
"""Labels of containers; every playbook runs on each."""

RUNNING: Final = "running"
SUCCESS: Final = "success"
FAILED: Final = "failed"

_r, _e, _n, _t = phantom_runs.c, executions.c, playbook_numbers.c, taken_artifacts.c
_TAKE = {
    "sqlite": sqlite.insert(taken_artifacts).on_conflict_do_nothing().returning(_t.artifact),
    "postgresql": postgresql.insert(taken_artifacts).on_conflict_do_nothing().returning(_t.artifact),
}

_STATUS = case((_e.state.is_(None), RUNNING), (_e.state == State.COMPLETED, SUCCESS), else_=FAILED)
_PLAYBOOK_NAME = select(playbooks.c.name).where(playbooks.c.id == _e.playbook_id).scalar_subquery()
_PLAYBOOK = select(_n.id).where(_n.playbook_id == _e.playbook_id).scalar_subquery()
_OWNER_NAME = select(users.c.username).where(users.c.id == _r.owner).scalar_subquery()
_STARTED = func.coalesce(_e.started_at, _e.created_at)
_UPDATED = func.coalesce(_e.finished_at, _e.started_at, _e.created_at)


def _kind_of(value: object) -> Kind:
    return "flag" if isinstance(value, bool) else "text"


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run on a container; times in ms since the epoch."""

    id: int
    execution_id: str
    container: int
    scope: Any
    owner: int | None
    owner_name: str | None
    ip_address: str | None
    last_artifact: int
    playbook: int
    playbook_name: str
    container_name: str | None
    container_label: str | None


_COLUMNS = [
    _r.number.label("id"),
    _e.id.label("execution_id"),
    _r.container,
    _r.scope,
    _r.owner,
    _OWNER_NAME.label("owner_name"),
    _r.ip_address,
    _r.last_artifact,
    _PLAYBOOK.label("playbook"),
    _PLAYBOOK_NAME.label("playbook_name"),
    of_container("name", _r.container).label("container_name"),
    of_container("label", _r.container).label("container_label"),
]
_FROM = phantom_runs.join(executions, _e.number == _r.number)

RUN_FIELDS: Final = {
    "id": Field(_r.number, "number"),
    "playbook_run_id": Field(_r.number, "number"),
    "container": Field(_r.container, "number"),
    "container_id": Field(_r.container, "number"),
    "container__name": Field(of_container("name", _r.container)),
    "container__label": Field(of_container("label", _r.container)),
    "playbook": Field(_PLAYBOOK, "number"),
    "playbook_id": Field(_PLAYBOOK, "number"),
    "playbook__name": Field(_PLAYBOOK_NAME),
    "playbook_name": Field(_PLAYBOOK_NAME),
    "status": Field(_STATUS),
    "owner": Field(_r.owner, "number"),
    "owner__username": Field(_OWNER_NAME),
    "effective_user": Field(_r.owner, "number"),
    "start_time": Field(_STARTED, "time"),
    "create_time": Field(_e.created_at, "time"),
    "update_time": Field(_UPDATED, "time"),
    "last_artifact": Field(_r.last_artifact, "number"),
    "test_mode": Field(_e.dry_run, "flag"),
    "cancelled": Field(case((_e.cancelled_at.is_not(None), func.coalesce(_e.cancel_reason, "cancelled")), else_=None)),
    "ip_address": Field(_r.ip_address),
    "parent_run": Field(literal(None), "number"),
}

_RUNS: Final = Source(_FROM, _COLUMNS, RUN_FIELDS, _r.number)

PLAYBOOK_CONSTANTS: Final[dict[str, Any]] = {
    "artifact_create": False,
    "category": "",
    "color": None,
    "disabled": False,
    "draft_mode": False,
    "logging": True,
    "passed_validation": True,
    "playbook_trigger": "artifact_created",
    "playbook_type": "automation",
    "python_version": "3",
    "read_only": False,
    "repo_name": "local",
    "run_as": None,
    "safe_mode": False,
}
"""What is the same for every playbook here; clients filter by it all the same."""

PLAYBOOK_FIELDS: Final = {
    **{
        name: Field(literal(value, Boolean() if isinstance(value, bool) else Text()), _kind_of(value))
        for name, value in PLAYBOOK_CONSTANTS.items()
    },
    "id": Field(_n.id, "number"),
    "name": Field(playbooks.c.name),
    "active": Field(_n.active, "flag"),
    "description": Field(playbooks.c.description),
    "create_time": Field(playbooks.c.created_at, "time"),
    "update_time": Field(playbooks.c.updated_at, "time"),
    "version": Field(playbooks.c.revision, "number"),
    "scm": Field(literal(LOCAL), "number"),
    "scm__name": Field(literal("local")),
    "labels": Field(literal(json.dumps(LABELS), Text()), "json"),
    "slug": Field(playbooks.c.slug),
    "tags": Field(playbooks.c.tags, "json"),
}

_PLAYBOOKS: Final = Source(
    playbook_numbers.join(playbooks, playbooks.c.id == _n.playbook_id),
    [
        *(_n.id, _n.active, _n.playbook_id),
        *(playbooks.c[name] for name in ("name", "slug", "description", "tags", "revision", "created_at")),
        playbooks.c.updated_at,
    ],
    PLAYBOOK_FIELDS,
    _n.id,
)


def chosen(connection: Connection, playbook_id: str, container: int, scope: Scope, execution_id: str) -> list[Record]:
    """The artifacts that a run takes; from then on they are not new to the playbook.

    Of two transactions that take the new ones at the same moment, each gets what the other has not.
    """
    found = artifacts_of(connection, container)
    wanted = found if isinstance(scope, str) else [one for one in found if one["id"] in scope]
    rows = [{"playbook_id": playbook_id, "artifact": one["id"], "execution_id": execution_id} for one in wanted]
    taken: set[int] = set()
    for row in rows:
        taken.update(connection.execute(_TAKE[connection.dialect.name], row).scalars())
    return [one for one in wanted if scope != "new" or one["id"] in taken]


def add(connection: Connection, values: Record) -> None:
    """Stores what a run on a container is besides an execution; ``number`` is that of the execution."""
    connection.execute(insert(phantom_runs), values)


def release(connection: Connection, execution_id: str) -> None:
    """Makes the artifacts that a run has taken new again: it never began."""
    connection.execute(delete(taken_artifacts).where(_t.execution_id == execution_id))


def discard(connection: Connection, execution_id: str) -> None:
    """Takes back what belongs to an execution that Temporal refused."""
    release(connection, execution_id)
    number = select(_e.number).where(_e.id == execution_id).scalar_subquery()
    connection.execute(delete(phantom_runs).where(_r.number == number))


def get(connection: Connection, number: int) -> RunRow | None:
    """The run of that number, or None."""
    row = connection.execute(select(*_COLUMNS).select_from(_FROM).where(_r.number == number)).one_or_none()
    return None if row is None else RunRow(**row._mapping)


def page(connection: Connection, query: Query) -> tuple[list[RunRow], int]:
    """One page of runs, and how many match.  Raises UnknownField and BadFilter."""
    rows, total = page_of(connection, _RUNS, query)
    return [RunRow(**row) for row in rows], total


def playbook_by_number(connection: Connection, number: int) -> str | None:
    """The id of the playbook with that number, unless it was deleted."""
    statement = select(_n.playbook_id).join(playbooks, playbooks.c.id == _n.playbook_id)
    return connection.execute(statement.where(_n.id == number, playbooks.c.deleted_at.is_(None))).scalar()


def playbooks_by_name(connection: Connection, name: str) -> list[str]:
    """The ids of the playbooks with that name, or slug."""
    p = playbooks.c
    wanted = (p.deleted_at.is_(None), (p.name == name) | (p.slug == name) | (p.id == name))
    return list(connection.execute(select(p.id).where(*wanted)).scalars())


def set_active(connection: Connection, number: int, active: bool) -> bool:
    """Marks a playbook as active, or not; False when there is none of that number."""
    return connection.execute(update(playbook_numbers).where(_n.id == number).values(active=active)).rowcount > 0


def list_playbooks(connection: Connection, query: Query) -> tuple[list[Record], int]:
    """One page of the playbooks, and how many match.  Raises UnknownField and BadFilter."""
    return page_of(connection, _PLAYBOOKS, query, playbooks.c.deleted_at.is_(None))
