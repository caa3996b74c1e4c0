"""Host keys that somebody has trusted: which key the SSH server at a host and port must show."""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.errors import NotFound
from storage.tables import host_keys

ALGORITHMS = frozenset({"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyRow:
    """A trusted key; ``key`` reads ``ssh-ed25519 AAAA…``; ``created_at`` in ms since the epoch."""

    id: str
    host: str
    port: int
    algorithm: str
    key: str
    fingerprint: str
    created_at: int
    created_by: str


_h = host_keys.c
_FIELDS = [field.name for field in fields(HostKeyRow)]
_columns = [_h[name] for name in _FIELDS]
_INSERT = {
    "sqlite": sqlite.insert(host_keys).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(host_keys).on_conflict_do_nothing(),
}


def new_host_key(host: str, port: int, key: str, *, created_at: int, created_by: str) -> HostKeyRow:
    """A row for ``key``, the line of a ``.pub`` file.  Raises ``ValueError`` when it is no key that is taken."""
    algorithm, _, rest = key.strip().partition(" ")
    blob = rest.split()[0] if rest.split() else ""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"a host key begins with one of {', '.join(sorted(ALGORITHMS))}")
    from cryptography.exceptions import UnsupportedAlgorithm  # 7 MB, for what is seldom asked
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        load_ssh_public_key(f"{algorithm} {blob}".encode())
        decoded = base64.b64decode(blob, validate=True)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key") from None
    digest = base64.b64encode(hashlib.sha256(decoded).digest()).decode().rstrip("=")
    return HostKeyRow(
        id=str(uuid.uuid4()),
        host=folded(host),
        port=port,
        algorithm=algorithm,
        key=f"{algorithm} {blob}",
        fingerprint=f"SHA256:{digest}",
        created_at=created_at,
        created_by=created_by,
    )


def trust(connection: Connection, new: HostKeyRow, replace: bool = False) -> tuple[HostKeyRow, list[str]]:
    """Stores a key, unless it is there; the one that is kept, and the fingerprints that ``replace`` removed."""
    same_place = (_h.host == new.host, _h.port == new.port)
    removed: list[str] = []
    if replace:
        others = delete(host_keys).where(*same_place, _h.fingerprint != new.fingerprint)
        removed = list(connection.execute(others.returning(_h.fingerprint)).scalars())
    connection.execute(_INSERT[connection.dialect.name], {name: getattr(new, name) for name in _FIELDS})
    kept = connection.execute(select(*_columns).where(*same_place, _h.fingerprint == new.fingerprint)).one()
    return _row(kept), removed


def forget(connection: Connection, key_id: str) -> HostKeyRow:
    """Removes a key; returns what it was.  Raises ``NotFound``."""
    row = connection.execute(delete(host_keys).where(_h.id == key_id).returning(*_columns)).one_or_none()
    if row is None:
        raise NotFound("host key", key_id)
    return _row(row)


def list_host_keys(
    connection: Connection, *, host: str | None = None, port: int | None = None, page: int = 1, per_page: int = 20
) -> tuple[list[HostKeyRow], int]:
    """One page of keys, by host, port and algorithm, and how many match."""
    wanted = []
    if host is not None:
        wanted.append(_h.host == folded(host))
    if port is not None:
        wanted.append(_h.port == port)
    total = connection.execute(select(func.count()).select_from(host_keys).where(*wanted)).scalar_one()
    rows = connection.execute(
        select(*_columns)
        .where(*wanted)
        .order_by(_h.host, _h.port, _h.algorithm, _h.id)
        .limit(per_page)
        .offset((page - 1) * per_page)
    )
    return [_row(row) for row in rows], total


def folded(host: str) -> str:
    """``host`` as it is compared: names are the same in any case, with and without the last dot (RFC 4343)."""
    return host.rstrip(".").lower()


def _row(row: Row[Any]) -> HostKeyRow:
    return HostKeyRow(**dict(zip(_FIELDS, row, strict=True)))
