"""One thread that does every write of this process to a SQLite file, several to a commit when they come at once.

SQLite has one writer at a time and a commit costs a sync of the disk.  Writers that queue here are served in order,
and those that wait while the disk syncs share the next sync (group commit).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from storage.failures import unavailable
from storage.held import HeldConnection

T = TypeVar("T")

_BATCH = 64
"""Writes that share a commit at most, so that the first of them does not wait long for the last."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Connection], Any]
    future: Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Any = None
    error: Exception | None = None


class GroupWriter:
    """Runs writes in order in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._held = HeldConnection(engine)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue ``work``; its future is done once the commit is on the disk.  Raises RuntimeError after ``close``."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the database has been closed")
            self._jobs.put(_Job(work, future))
        return future

    def close(self) -> None:
        """Finish what was queued and stop the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _loop(self) -> None:
        more = True
        while more:
            batch, more = self._next_batch()
            batch = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if batch:
                self._run(batch)
        self._held.release()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """What waits now, at least one job; False beside it once the end was asked for."""
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == _BATCH:
                return batch, True
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _run(self, batch: list[_Job]) -> None:
        try:
            with self._held.transaction() as connection:
                if len(batch) == 1:
                    outcomes = [_Outcome(batch[0].work(connection))]
                else:
                    outcomes = [_within_savepoint(connection, job) for job in batch]
        except BaseException as error:  # whatever it is, those who wait must hear of it, and the thread must go on
            failure = unavailable(error)
            if failure is not None and failure is not error:
                failure.__cause__ = error
            for job in batch:
                job.future.set_exception(failure or error)
            return
        for job, outcome in zip(batch, outcomes, strict=True):
            if outcome.error is None:
                job.future.set_result(outcome.result)
            else:
                job.future.set_exception(outcome.error)


def _within_savepoint(connection: Connection, job: _Job) -> _Outcome:
    """Run one of several; what fails is taken back alone.  Raises when the failure is the database's."""
    savepoint = connection.begin_nested()
    try:
        result = job.work(connection)
        savepoint.commit()
    except Exception as error:
        if unavailable(error) is not None:
            raise  # SQLite may have rolled back the whole transaction: none of the batch can be kept
        savepoint.rollback()
        return _Outcome(error=error)
    return _Outcome(result)
