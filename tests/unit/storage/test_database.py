"""The way to the database: transactions, threads, group commit, and what happens when it goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from storage_rows import NOW, new_audit, new_token

from storage import audit, blobs, engines, tokens
from storage.database import Database
from storage.engines import parse, sqlite_writer
from storage.errors import DatabaseUnavailable
from storage.migrate import migrate
from storage.writer import GroupWriter
from tests.postgres import PostgresServer


def put(connection: Connection, name: str, size: int = 1) -> None:
    """Store a blob."""
    blobs.put(connection, {name: b"x" * size}, NOW)


def put_and_fail(connection: Connection, name: str) -> None:
    """Store a blob, then raise."""
    put(connection, name)
    raise LookupError(name)


def names(connection: Connection) -> list[str]:
    """The ids of all blobs."""
    return list(connection.execute(text("SELECT id FROM blobs ORDER BY id")).scalars())


async def test_a_write_is_there_for_the_next_read(database: Database) -> None:
    """The result of the function comes back, and its work is committed."""
    assert await database.write(tokens.create, new_token()) is not None
    assert await database.read(tokens.get_by_hash, "ab" * 32) is not None


async def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    """Its error reaches the caller as it is, its work is rolled back."""
    with pytest.raises(LookupError, match="b-1"):
        await database.write(put_and_fail, "b-1")
    assert await database.read(names) == []


async def test_a_violated_constraint_is_no_unavailability(database: Database) -> None:
    """Errors of our own making are not dressed up as *try again later*."""
    await database.write(tokens.create, new_token())
    with pytest.raises(IntegrityError):
        await database.write(tokens.create, new_token())


async def test_many_writes_at_once_all_land(database: Database) -> None:
    """Two hundred tasks write, every fifth fails; exactly the others are stored."""
    tasks = [database.write(put if n % 5 else put_and_fail, f"b-{n:03}") for n in range(200)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, LookupError)] == list(range(0, 200, 5))
    assert await database.read(names) == [f"b-{n:03}" for n in range(200) if n % 5]


async def test_two_pools_lose_no_update(database_url: str) -> None:
    """Forty read-and-write transactions on two pools add up."""
    databases = [Database(database_url), Database(database_url)]

    def add(connection: Connection) -> None:
        lock = "" if connection.dialect.name == "sqlite" else " FOR UPDATE"
        size = connection.execute(text(f"SELECT created_at FROM blobs WHERE id = 'n'{lock}")).scalar_one()
        connection.execute(text("UPDATE blobs SET created_at = :size"), {"size": size + 1})

    await databases[0].write(blobs.put, {"n": b""}, 0)
    await asyncio.gather(*[databases[n % 2].write(add) for n in range(40)])
    counted = await databases[0].read(lambda c: c.execute(text("SELECT created_at FROM blobs")).scalar_one())
    for database in databases:
        database.close()
    assert counted == 40


async def test_a_cancelled_task_does_not_disturb_the_others(database: Database) -> None:
    """A write whose task was cancelled may have been done or not; the next ones are done."""
    task = asyncio.create_task(database.write(put, "b-1"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await database.write(put, "b-2")
    assert "b-2" in await database.read(names)


async def test_a_ping_is_answered(database: Database) -> None:
    """A database that serves raises nothing."""
    await database.ping()


def test_closing_finishes_what_was_queued(database_url: str) -> None:
    """Writes that wait when close is called are carried out; a second close does nothing, a later write fails."""
    database = Database(database_url)
    gate = threading.Event()
    first = database._submit_write(lambda _: gate.wait())
    waiting = [database._submit_write(lambda connection, n=n: put(connection, f"b-{n}")) for n in range(3)]
    closing = threading.Thread(target=database.close)
    closing.start()
    gate.set()
    closing.join()
    assert [future.result() for future in [first, *waiting]] == [True, None, None, None]
    database.close()
    with pytest.raises(RuntimeError):
        database.write_sync(put, "b-9")


def test_sqlite_keeps_what_was_acknowledged(sqlite_url: str) -> None:
    """The log is synced at every commit, and references are enforced."""
    database = Database(sqlite_url)

    def settings(connection: Connection) -> list[object]:
        wanted = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted]

    assert database.write_sync(settings) == ["wal", 2, 1]
    database.close()


def test_a_sqlite_read_cannot_write(sqlite_url: str) -> None:
    """Its connection refuses."""
    database = Database(sqlite_url)
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        database.read_sync(put, "b-1")
    database.close()


def test_a_sqlite_read_sees_one_snapshot(sqlite_url: str) -> None:
    """What is committed between two statements of a read shows only in the next read."""
    database = Database(sqlite_url)

    def twice(connection: Connection) -> tuple[list[str], list[str]]:
        before = names(connection)
        database.write_sync(put, "b-1")
        return before, names(connection)

    assert database.read_sync(twice) == ([], [])
    assert database.read_sync(names) == ["b-1"]
    database.close()


def held(writer: GroupWriter, *works: Callable[[Connection], None]) -> list[BaseException | None]:
    """Let the works queue up behind one that is held, then release them; the error of each."""
    gate = threading.Event()
    first = writer.submit(lambda _: gate.wait())
    while not first.running():
        time.sleep(0.001)
    futures = [writer.submit(work) for work in works]
    gate.set()
    return [future.exception() for future in futures]


@pytest.fixture
def commits(sqlite_url: str) -> Iterator[tuple[GroupWriter, list[object]]]:
    """A writer, and a list that grows by one at each of its commits."""
    engine = sqlite_writer(parse(sqlite_url))
    seen: list[object] = []
    event.listen(engine, "commit", seen.append)
    writer = GroupWriter(engine)
    yield writer, seen
    writer.close()
    engine.dispose()


def test_writes_that_wait_share_a_commit(commits: tuple[GroupWriter, list[object]]) -> None:
    """Twenty writes behind a slow one cost one more commit."""
    writer, seen = commits
    errors = held(writer, *[lambda connection, n=n: put(connection, f"b-{n}") for n in range(20)])
    assert (errors, len(seen)) == ([None] * 20, 2)


def test_a_failure_in_a_shared_commit_is_taken_back_alone(commits: tuple[GroupWriter, list[object]]) -> None:
    """The others of its batch are stored."""
    writer, _ = commits
    errors = held(
        writer,
        lambda connection: put(connection, "b-1"),
        lambda connection: put_and_fail(connection, "b-2"),
        lambda connection: put(connection, "b-3"),
    )
    assert [type(error) for error in errors] == [type(None), LookupError, type(None)]
    assert writer.submit(names).result() == ["b-1", "b-3"]


def test_the_writer_outlives_whatever_a_write_raises(commits: tuple[GroupWriter, list[object]]) -> None:
    """Also what is no ordinary error reaches its caller, and the next write is done."""
    writer, _ = commits

    def leave(_: Connection) -> None:
        raise SystemExit(3)

    assert isinstance(writer.submit(leave).exception(), SystemExit)
    writer.submit(lambda connection: put(connection, "b-1")).result()
    assert writer.submit(names).result() == ["b-1"]


def test_a_full_disk_fails_the_whole_batch(commits: tuple[GroupWriter, list[object]]) -> None:
    """Nobody is told that something was stored which was not; afterwards writes work again."""
    writer, _ = commits

    def fill(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        put(connection, "large", 1_000_000)

    errors = held(writer, lambda connection: put(connection, "b-1"), fill, lambda connection: put(connection, "b-3"))
    assert [str(error) for error in errors] == ["database or disk is full"] * 3
    assert [type(error) for error in errors] == [DatabaseUnavailable] * 3
    writer.submit(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 100000")).result()
    writer.submit(lambda connection: put(connection, "b-4")).result()
    assert writer.submit(names).result() == ["b-4"]


def test_a_database_that_stays_locked_is_unavailable(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that keeps its transaction open makes a write fail, not hang; reads go on."""
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.05)
    database = Database(sqlite_url)
    other = sqlite3.connect(parse(sqlite_url).database or "")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        database.write_sync(put, "b-1")
    assert database.read_sync(names) == []
    other.rollback()
    other.close()
    database.write_sync(put, "b-1")
    database.close()


WRITE_FOR_EVER = """
import itertools, sys
from storage import blobs
from storage.database import Database
database = Database(sys.argv[1])
for n in itertools.count():
    database.write_sync(blobs.put, {f"b-{n}": b"x" * 1000}, 0)
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(database_url: str) -> None:
    """Every write that a killed process had been told of is there."""
    process = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, database_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    database = Database(database_url)
    stored = database.read_sync(names)
    database.close()
    assert {f"b-{int(line)}" for line in acknowledged} <= set(stored)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A Postgres that the test may stop."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def test_postgres_may_restart(own_server: PostgresServer) -> None:
    """While it is away everything is unavailable, also at the health check; after it is back, all goes on."""
    url = own_server.url(own_server.create_database())
    migrate(url)
    database = Database(url, pool_size=2)
    await asyncio.gather(*[database.write(put, f"b-{n}") for n in range(4)])
    own_server.stop()
    with pytest.raises(DatabaseUnavailable):
        await database.read(names)
    with pytest.raises(DatabaseUnavailable):
        await database.write(put, "b-5")
    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    own_server.start()
    assert await database.read(names) == ["b-0", "b-1", "b-2", "b-3"]
    own_server.stop(signal.SIGQUIT)
    own_server.start()
    # Both connections are dead, and neither the write nor the read may notice.
    await asyncio.gather(database.write(put, "b-6"), database.read(names))
    assert "b-6" in await database.read(names)
    database.close()


def test_a_transaction_whose_connection_was_lost_runs_again(postgres_url: str) -> None:
    """A connection that dies before the commit costs a second call and nothing else."""
    database = Database(postgres_url, pool_size=1)
    calls: list[int] = []

    def killed_once(connection: Connection) -> None:
        put(connection, f"b-{len(calls)}")
        calls.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        if len(calls) == 1:
            terminate(postgres_url, calls[0])
        put(connection, "b-last")

    database.write_sync(killed_once)
    assert len(calls) == 2
    assert database.read_sync(names) == ["b-1", "b-last"]
    database.close()


def terminate(url: str, pid: int) -> None:
    """End a connection to Postgres from another one."""
    parsed = parse(url)
    with psycopg.connect(dbname=parsed.database, user=parsed.username, host=str(parsed.query["host"])) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_a_transaction_that_always_loses_its_connection_is_given_up(postgres_url: str) -> None:
    """After the second loss the caller is told to try later."""
    database = Database(postgres_url, pool_size=1)
    calls: list[int] = []

    def killed(connection: Connection) -> None:
        calls.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        terminate(postgres_url, calls[-1])
        put(connection, "b-1")

    with pytest.raises(DatabaseUnavailable):
        database.write_sync(killed)
    assert len(calls) == 2
    database.close()


def test_an_error_says_nothing_of_statement_or_values(postgres_url: str) -> None:
    """What an operator is shown is the server's sentence, without SQL."""
    database = Database(postgres_url, pool_size=1)

    def slow(connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = 1"))
        connection.execute(text("SELECT pg_sleep(5), :secret"), {"secret": "hunter2"})

    with pytest.raises(DatabaseUnavailable) as caught:
        database.write_sync(slow)
    assert caught.value.detail == "canceling statement due to statement timeout"
    database.close()


def test_a_wrong_statement_is_an_error_of_ours(database: Database) -> None:
    """A missing table is not *try again later*."""
    with pytest.raises(DBAPIError):
        database.read_sync(lambda connection: connection.execute(text("SELECT * FROM nothing")))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://root@localhost/x"])
def test_a_database_that_would_lose_data_is_refused(url: str) -> None:
    """Neither memory nor an unknown kind."""
    with pytest.raises(ValueError, match=r"memory|no such database"):
        Database(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgres_urls_of_every_fashion_are_taken(scheme: str) -> None:
    """Platforms hand them out without a driver."""
    assert parse(f"{scheme}://u:p@host/db").drivername == "postgresql+psycopg"


def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    """The first start on an empty disk works."""
    url = f"sqlite:///{tmp_path}/a/b/stanchion.sqlite"
    migrate(url)
    database = Database(url)
    database.write_sync(audit.append, new_audit())
    database.close()
    assert (tmp_path / "a/b/stanchion.sqlite").exists()


async def test_a_cancelled_write_is_made_all_the_same(database: Database) -> None:
    """Who is cancelled while a write waits for its turn has not taken it back."""
    free, started = threading.Event(), []

    def occupy(connection: Connection) -> None:
        started.append(connection)
        free.wait(60)

    busy = [asyncio.create_task(database.write(occupy)) for _ in range(4)]  # each thread there is
    async with asyncio.timeout(60):
        while not started:
            await asyncio.sleep(0.01)
    waiting = asyncio.create_task(database.write(put, "late"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    free.set()
    await asyncio.gather(*busy)
    async with asyncio.timeout(60):
        while await database.read(names) != ["late"]:
            await asyncio.sleep(0.01)


async def test_errors_tell_no_values(database: Database) -> None:
    """What a fault of ours puts into the log names the statement, not what was to be stored: that may be a secret."""
    token = new_token(name="s3cret-value")
    await database.write(tokens.create, token)
    with pytest.raises(IntegrityError) as caught:
        await database.write(tokens.create, token)
    told = str(caught.value.__class__) + str(caught.value)
    assert "tokens" in told
    assert "s3cret-value" not in told
