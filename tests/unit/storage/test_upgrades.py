"""Databases of every revision that was released, with rows as that version wrote them, brought to this version.

A revision's rows are made at that revision, by plain SQL into the columns that it has: nothing of today's code writes
them.  Afterwards today's code reads them, and goes on writing.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert

from playbooks.states import State
from storage import assets, audit, executions, hooks, host_keys, migrations, playbooks, tokens
from storage.artifacts import get as get_artifact
from storage.audit_chain import verify
from storage.database import Database
from storage.executions import IdempotencyKey, Repeated
from storage.migrate import migrate
from storage.phantom.containers import ARTIFACTS, CONTAINERS
from storage.secrets import get_sealed
from tests.postgres import PostgresServer
from tests.unit.storage.storage_rows import NOW, new_audit, new_execution


def config() -> Config:
    """Alembic's, for our migrations."""
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return made


REVISIONS = [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()][::-1]
LONG = {"text": "é" * 500, "list": [1, 2.5, None, True]}


def packed(value: Any) -> bytes:
    """A large value as every version has written it."""
    return zlib.compress(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def plain(value: Any) -> bytes:
    """A small one."""
    return json.dumps(value, separators=(",", ":")).encode()


EXECUTION: dict[str, Any] = {
    "created_at": NOW, "created_by": "token-1", "source": "api", "playbook_id": "pb-1", "revision": 1,
    "asset_id": "asset-1", "asset": plain({"id": "asset-1", "name": "web-1"}), "parameters": packed(LONG),
    "dry_run": False, "dry_run_reads": True, "workflow_id": "pb-1:asset-1",
}  # fmt: skip
CONTAINER: dict[str, Any] = {
    "id": 7, "name": "Incident", "label": "events", "description": "", "status": "new", "severity": "high",
    "sensitivity": "amber", "container_type": "default", "source_data_identifier": "sdi-1", "hash": "h", "tenant": 0,
    "workflow_name": "", "in_case": False, "create_time": NOW, "start_time": NOW, "due_time": NOW,
    "container_update_time": NOW, "artifact_update_time": NOW, "tags": "[]", "data": plain({}), "version": 1,
}  # fmt: skip
ARTIFACT: dict[str, Any] = {
    "id": 9, "container": 7, "name": "Mail", "label": "event", "severity": "high", "source_data_identifier": "sdi-2",
    "hash": "h", "in_case": False, "create_time": NOW, "start_time": NOW, "update_time": NOW, "tags": "[]",
    "cef_types": plain({}), "data": plain({}), "version": 1,
}  # fmt: skip


def rows(revision: str) -> list[tuple[str, dict[str, Any]]]:
    """Rows of every table of that revision, as they were written then."""
    own: list[tuple[str, str, dict[str, Any]]] = [
        ("0001", "playbooks", {
            "id": "pb-1", "slug": "patching", "name": "Patching", "description": "", "trigger": '{"event":"manual"}',
            "tags": '["é"]', "version": "1.0.0", "revision": 1, "step_count": 1, "created_at": NOW, "updated_at": NOW,
            "search_text": "patching patching",
        }),
        ("0001", "playbook_tags", {"playbook_id": "pb-1", "tag": "é"}),
        ("0001", "playbook_revisions", {
            "playbook_id": "pb-1", "revision": 1, "definition": packed(LONG), "source": plain("name: Patching"),
            "source_media_type": "application/yaml", "parameters_schema": plain({"type": "object"}),
            "secret_parameters": '["token"]', "plan": packed(LONG), "steps": plain([]), "version": "1.0.0",
            "step_count": 1, "created_at": NOW, "created_by": "token-1",
        }),
        ("0001", "assets", {
            "id": "asset-1", "name": "web-1", "type": "host", "ip": "192.0.2.7", "tags": '{"env":"prod"}',
            "attributes": "{}", "created_at": NOW, "updated_at": NOW, "search_text": "web-1",
        }),
        ("0001", "asset_tags", {"asset_id": "asset-1", "key": "env", "value": "prod"}),
        ("0001", "executions", {
            **EXECUTION, "number": 1, "id": "exec-done", "state": "failed", "started_at": NOW, "finished_at": NOW + 5,
            "error": '["boom","é"]', "outputs": packed(LONG), "record": plain([["f", NOW, NOW + 5, 1]]),
            "closed_at": NOW + 6,
        }),
        ("0001", "executions", {**EXECUTION, "number": 2, "id": "exec-open"}),
        ("0001", "execution_io", {"number": 1, "io": packed({"act-001": {"output": LONG}})}),
        ("0001", "idempotency_keys", {
            "principal": "token-1", "key": "k", "body_hash": "hash", "execution_id": "exec-done", "created_at": NOW,
        }),
        ("0001", "tokens", {
            "id": "token-1", "name": "ci", "hash": "ab" * 32, "permissions": '["asset:read"]', "created_at": NOW,
            "created_by": "admin",
        }),
        ("0001", "audit", {
            "at": NOW, "actor_id": "a", "actor_name": "é", "action": "x.y", "object_type": "x", "outcome": "ok",
            "details": '{"é":[1,null]}', "address": None, "object_id": None,
        }),
        ("0001", "audit", {
            "at": NOW - 1, "actor_id": "a", "actor_name": "", "action": "x.z", "object_type": "x", "outcome": "ok",
            "details": None, "address": "::1", "object_id": "",
        }),
        ("0001", "blobs", {"id": "blob-1", "created_at": NOW, "data": b"\x00\xff"}),
        ("0003", "hooks", {
            "id": "hook-1", "playbook_id": "pb-1", "name": "ci", "token_hash": "cd" * 32, "signature": "standard",
            "secret": "open:s", "created_at": NOW, "created_by": "admin",
        }),
        ("0004", "containers", {**CONTAINER, "custom_fields": _readable(revision, LONG), **_key(revision, "sdi-1")}),
        ("0004", "artifacts", {**ARTIFACT, "cef": _readable(revision, {"ip": "é"}), **_key(revision, "sdi-2")}),
        ("0005", "run_artifacts", {
            "execution_id": "exec-done", "name": "a.txt", "step": "act-001", "media_type": "text/plain", "size": 1,
            "sha256": hashlib.sha256(b"x").hexdigest(), "created_at": NOW, "data": b"x",
        }),
        ("0006", "host_keys", {
            "id": "key-1", "host": "web-1", "port": 22, "algorithm": "ssh-ed25519", "key": "AAAA",
            "fingerprint": "SHA256:x", "created_at": NOW, "created_by": "admin",
        }),
        ("0007", "secrets", {
            "name": "smtp", "sealed": "open:s", "created_at": NOW, "updated_at": NOW, "updated_by": "admin",
        }),
    ]  # fmt: skip
    return [(table, values) for since, table, values in own if since <= revision]


def _readable(revision: str, value: Any) -> Any:
    """What became readable with 0008."""
    return json.dumps(value, ensure_ascii=False) if revision >= "0008" else packed(value)


def _key(revision: str, key: str) -> dict[str, str]:
    return {"source_key": key} if revision >= "0008" else {}


def fill(connection: Connection, revision: str) -> None:
    """A database of that revision, with its rows."""
    made = config()
    made.attributes["connection"] = connection
    command.upgrade(made, revision)
    known = MetaData()
    for name, values in rows(revision):
        table = Table(name, known, autoload_with=connection)
        if name == "audit" and revision >= "0009" and connection.dialect.name == "sqlite":
            _append(connection, values)  # since then the program chains what it writes
        else:
            connection.execute(insert(table).values(values))
    if connection.dialect.name == "postgresql":
        for name in ("executions", *(("containers", "artifacts") if revision >= "0004" else ())):
            column = "number" if name == "executions" else "id"
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), 100)")


def _append(connection: Connection, values: dict[str, Any]) -> None:
    details = values["details"]
    audit.append(connection, audit.NewAudit(**{**values, "details": None if details is None else json.loads(details)}))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/old.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url(server.create_database())


def test_the_released_revisions_are_known() -> None:
    """Each has a number, in order: what was released is never renumbered."""
    assert REVISIONS[:9] == [f"{number:04}" for number in range(1, 10)]
    assert REVISIONS[-1] == migrations.HEAD


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_each_revision_goes_on(url: str, revision: str) -> None:
    """Nothing is lost, everything means what it meant, and it can be written to."""
    database = Database(url, pool_size=1)
    database.write_sync(fill, revision)
    migrate(url)
    read = database.read_sync
    try:
        row = read(playbooks.get, "patching")
        assert row is not None
        assert (row.id, row.tags, row.trigger) == ("pb-1", ["é"], {"event": "manual"})
        assert [one.id for one in read(playbooks.list_playbooks, tag="é")[0]] == ["pb-1"]
        stored = read(playbooks.get_revision, "pb-1", 1)
        assert stored is not None
        assert (stored.definition, stored.plan, stored.source) == (LONG, LONG, "name: Patching")
        assert [one.id for one in read(assets.list_assets, tag="env=prod")[0]] == ["asset-1"]
        done, still_open = read(executions.get, "exec-done"), read(executions.get, "exec-open")
        assert done is not None
        assert still_open is not None
        assert (done.state, done.outputs, done.error and done.error.message) == (State.FAILED, LONG, "é")
        assert (still_open.state, still_open.closed_at, still_open.parameters) == (None, None, LONG)
        assert [one.id for one in read(executions.open_executions, NOW + 1, 10)] == ["exec-open"]
        assert read(executions.get_io, "exec-done") == {"act-001": {"output": LONG}}
        key = IdempotencyKey("token-1", "k", "hash")
        again = database.write_sync(executions.insert, new_execution(5), key)
        assert again == Repeated("exec-done", "hash", NOW)
        token = read(tokens.get_by_hash, "ab" * 32)
        assert token is not None
        assert (token.permissions, token.limits, token.revoked_at) == (["asset:read"], None, None)
        _check_trail(database)
        _check_later(database, revision)
        assert database.write_sync(executions.insert, new_execution(6)) is not None
    finally:
        database.close()


def _check_trail(database: Database) -> None:
    """The trail is whole, in its old order, and stays so when it grows."""
    database.write_sync(audit.append, new_audit())
    trail, _ = database.read_sync(audit.list_audit)
    told = [(one.action, one.details, one.object_id, one.address) for one in trail[::-1]]
    assert told[:2] == [("x.y", {"é": [1, None]}, None, None), ("x.z", None, "", "::1")]
    chain = database.read_sync(verify, lambda _, signature: signature is None)
    assert (chain.fault, chain.entries) == (None, 3)


def _check_later(database: Database, revision: str) -> None:
    """What came with later revisions, where the database had it; every playbook has its number from the start."""
    if revision >= "0003":
        hook = database.read_sync(hooks.get_by_hash, "cd" * 32)
        assert hook is not None
        assert (hook.playbook_id, hook.secret) == ("pb-1", "open:s")
    if revision >= "0004":
        container, artifact = database.read_sync(CONTAINERS.get, 7), database.read_sync(ARTIFACTS.get, 9)
        assert container is not None
        assert artifact is not None
        assert (container["custom_fields"], artifact["cef"]) == (LONG, {"ip": "é"})
    if revision >= "0005":
        kept = database.read_sync(get_artifact, "exec-done", "a.txt")
        assert kept is not None
        assert kept[1] == b"x"
    if revision >= "0006":
        assert [one.id for one in database.read_sync(host_keys.list_host_keys)[0]] == ["key-1"]
    if revision >= "0007":
        secret = database.read_sync(get_sealed, "smtp")
        assert secret == "open:s"
