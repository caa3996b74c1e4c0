"""A connection that a thread keeps, since taking one from the pool for each transaction doubles a short read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine


class HeldConnection:
    """One connection for one thread: opened when it is first needed, given back after any error."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or rolled back when it raises."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with self._connection.begin():
                yield self._connection
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the connection back to its engine, which closes it when it is broken."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
