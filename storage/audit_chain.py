"""The audit trail as a chain: is it whole, and how its old end is let go without breaking it.

What is forgotten leaves an entry ``audit.forget`` in the trail, in the same transaction: it names the last entry that
went, and its hash, on which the first one that stays goes on.  It may be signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, Text, bindparam, delete, select, text, type_coerce

from storage.audit import NewAudit, append, chained
from storage.tables import audit, audit_head

FORGET = "audit.forget"
"""The action of a checkpoint; no request can cause an entry of this name."""

CHECKPOINT = "audit checkpoint"
"""What a signature of a checkpoint is bound to."""

Sign = Callable[[str], str | None]
IsSigned = Callable[[str, str | None], bool]

BATCH = 5000
"""Entries that one checkpoint lets go of at most."""

_PAGE = 1000
_a = audit.c
_CONTENT = [_a[name] for name in ("at", "actor_id", "actor_name", "action", "object_type", "object_id", "outcome")]
_ROWS = (
    select(_a.id, _a.hash, *_CONTENT, _a.address, type_coerce(_a.details, Text))
    .where(_a.id > bindparam("after", type_=BigInteger))
    .order_by(_a.id)
    .limit(_PAGE)
)
_CHECKPOINT = select(_a.id, _a.object_id, _a.details).where(_a.action == FORGET).order_by(_a.id.desc()).limit(1)
_OLDEST = select(_a.id, _a.at, _a.hash).order_by(_a.id).limit(bindparam("at_most"))
_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What a verification found; ``broken_id`` is None when the chain is whole."""

    entries: int
    last_id: int | None
    hash: str
    forgotten_through: int | None = None
    broken_id: int | None = None
    fault: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, taken out or put in."""
        return self.fault is None


def verify(connection: Connection, is_signed: IsSigned, expected: tuple[int, str] | None = None) -> Chain:
    """Walk the whole trail, in one snapshot.

    ``is_signed`` judges the signature of a checkpoint.  ``expected`` is the id and the hash of an entry that were kept
    elsewhere: they tell when the whole chain was written anew.  The transaction must not have begun with something
    else.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_SNAPSHOT)
    start = _beginning(connection, is_signed)
    if start.fault is not None:
        return start
    entries, last, previous = 0, None, start.hash
    unseen = expected
    for row in _rows(connection):
        entries, last = entries + 1, row.id
        fault = _fault_of(row, previous, expected)
        if fault is not None:
            return replace(start, entries=entries, last_id=last, hash=previous, broken_id=last, fault=fault)
        if expected is not None and expected[0] == last:
            unseen = None
        previous = row.hash
    fault = None
    if connection.execute(select(audit_head.c.hash)).scalar_one() != previous:
        fault = "the entries after it were taken out"
    elif unseen is not None and unseen[0] > (start.forgotten_through or 0):
        fault = f"entry {unseen[0]}, which is expected, is not there"
    broken = (last or start.forgotten_through or 0) if fault else None
    return replace(start, entries=entries, last_id=last, hash=previous, broken_id=broken, fault=fault)


def forget(connection: Connection, before: int, now: int, sign: Sign, at_most: int = BATCH) -> int:
    """Let go of the oldest entries from before ``before`` (ms), ``at_most`` of them; how many went.

    An entry that is old, but stands behind a younger one, stays until that one goes too.
    """
    going = []
    for row in connection.execute(_OLDEST, {"at_most": at_most}):
        if row.at >= before:
            break
        going.append(row)
    if not going:
        return 0
    through, last_hash = going[-1].id, going[-1].hash
    checkpoint = NewAudit(
        at=now,
        actor_id="stanchion",
        actor_name="stanchion",
        action=FORGET,
        object_type="audit",
        object_id=str(through),
        outcome="ok",
        address=None,
        details={"hash": last_hash, "entries": len(going), "signature": sign(f"{through}:{last_hash}")},
    )
    append(connection, checkpoint)
    connection.execute(delete(audit).where(_a.id <= through))
    return len(going)


def _beginning(connection: Connection, is_signed: IsSigned) -> Chain:
    """Where the chain begins, after what was forgotten; broken where the checkpoint that says so is not signed."""
    row = connection.execute(_CHECKPOINT).first()
    if row is None:
        return Chain(entries=0, last_id=None, hash="")
    details = row.details if isinstance(row.details, dict) else {}
    last_hash, signature = str(details.get("hash", "")), details.get("signature")
    start = Chain(entries=0, last_id=None, hash=last_hash, forgotten_through=int(row.object_id))
    if is_signed(f"{row.object_id}:{last_hash}", None if signature is None else str(signature)):
        return start
    fault = "this checkpoint is not signed with a key of STANCHION_ENCRYPTION_KEY"
    return replace(start, broken_id=row.id, fault=fault)


def _rows(connection: Connection) -> Iterator[Any]:
    after = -1
    while rows := connection.execute(_ROWS, {"after": after}).all():
        yield from rows
        after = rows[-1].id


def _fault_of(row: Row[Any], previous: str, expected: tuple[int, str] | None) -> str | None:
    fields: Sequence[object] = row[2:]
    parts = [None if value is None else str(value) for value in fields]
    if row.hash != chained(previous, *parts):
        return "it, or the entry before it, was changed, taken out or put in"
    if expected is not None and expected[0] == row.id and expected[1] != row.hash:
        return "its hash is not the expected one: the chain was written anew"
    return None
