"""The way to the database: query functions run in threads, each in one transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, text

from storage.engines import is_sqlite, parse, postgres_engine, sqlite_reader, sqlite_writer
from storage.failures import unavailable, worth_repeating
from storage.held import HeldConnection
from storage.migrate import migrate
from storage.writer import GroupWriter

__all__ = ["Database", "migrate"]

P = ParamSpec("P")
T = TypeVar("T")

_SQLITE_READERS = 4
_POSTGRES_CONNECTIONS = 10
_PING = text("SELECT 1")


class Database:
    """A SQLite file or a Postgres database, already migrated (``storage.migrate``).

    ``read`` and ``write`` call ``fn(connection, *args, **kwargs)`` in a thread, inside one transaction that is
    committed when ``fn`` returns and rolled back when it raises.  ``fn`` must do nothing but talk to the connection:
    when a connection turns out to be lost before the commit, it is called once more on a new one.

    Every method raises ``DatabaseUnavailable`` for what passes by itself, and whatever ``fn`` raises otherwise.  When
    it comes from a write, nothing was written, unless the connection to Postgres broke in the very commit.  A task
    that is cancelled while it waits for a write does not take the write back, whether it had begun or not.
    """

    def __init__(self, url: str, pool_size: int | None = None) -> None:
        """``pool_size`` is the number of threads and of connections; raises ValueError for an unusable ``url``."""
        parsed = parse(url)
        self._writer: GroupWriter | None = None
        self._write_engine: Engine | None = None
        if is_sqlite(parsed):
            size = pool_size or _SQLITE_READERS
            self._engine = sqlite_reader(parsed, size)
            self._write_engine = sqlite_writer(parsed)
            self._writer = GroupWriter(self._write_engine)
        else:
            size = pool_size or _POSTGRES_CONNECTIONS
            self._engine = postgres_engine(parsed, size)
        self._all_held: list[HeldConnection] = []
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(size, "database", initializer=self._hold)

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn``, which must not write."""
        return await asyncio.wrap_future(self._submit(lambda connection: fn(connection, *args, **kwargs)))

    async def write(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn`` once what it wrote is safe on the disk."""
        written = asyncio.wrap_future(self._submit_write(lambda connection: fn(connection, *args, **kwargs)))
        return await asyncio.shield(written)  # a future that is cancelled would be taken out of the queue

    def read_sync(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``read`` for a caller without an event loop."""
        return self._submit(lambda connection: fn(connection, *args, **kwargs)).result()

    def write_sync(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``write`` for a caller without an event loop."""
        return self._submit_write(lambda connection: fn(connection, *args, **kwargs)).result()

    async def ping(self) -> None:
        """Return when the database answers; raises ``DatabaseUnavailable`` when it does not."""
        await self.read(_ping)

    def close(self) -> None:
        """Finish what was begun, then close every connection.  May be called twice."""
        if self._writer is not None:
            self._writer.close()
        self._threads.shutdown(wait=True)
        for held in self._all_held:
            held.release()
        self._engine.dispose()
        if self._write_engine is not None:
            self._write_engine.dispose()

    def _hold(self) -> None:
        """Give the thread that has just started its connection."""
        self._local.held = HeldConnection(self._engine)
        self._all_held.append(self._local.held)

    def _submit(self, work: Callable[[Connection], T]) -> Future[T]:
        return self._threads.submit(self._transact, work)

    def _submit_write(self, work: Callable[[Connection], T]) -> Future[T]:
        return self._submit(work) if self._writer is None else self._writer.submit(work)

    def _transact(self, work: Callable[[Connection], T], repeat: bool = True) -> T:
        held: HeldConnection = self._local.held
        committing = False
        try:
            with held.transaction() as connection:
                result = work(connection)
                committing = True
        except Exception as error:
            failure = unavailable(error)
            if failure is None:
                raise
            # Lost before the commit, nothing can have been written; lost in it, nobody knows.
            if repeat and not committing and worth_repeating(error):
                return self._transact(work, repeat=False)
            raise failure from error
        return result


def _ping(connection: Connection) -> None:
    connection.execute(_PING)
