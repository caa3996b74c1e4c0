"""Following an execution to its end: Server-Sent Events (WHATWG HTML, *Server-sent events*), or polling.

A stream that breaks is resumed where it broke; where something in between does not let it through, and towards the end
of the time that is waited for, the status is asked for instead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import cast

from stanchion_client.errors import ApiError, ConnectionFailed, WaitTimeout
from stanchion_client.messages import (
    EVENT_STREAM,
    Answer,
    Close,
    Hear,
    Listen,
    Pause,
    Procedure,
    Request,
    Send,
    Tell,
    path_of,
)
from stanchion_client.models import Execution
from stanchion_client.retries import PASSING, Session

FINAL = frozenset({"completed", "failed", "cancelled", "skipped"})
"""States that never change again."""

POLL_SECONDS = 0.5
SILENCE_SECONDS = 60.0
"""A stream that is silent for longer is broken: the API says every 15 s that it is still there."""

LAST_STRETCH = 20.0
"""Seconds before the end of the time in which the status is polled: a silent stream could not be left in time."""


def is_final(execution: Execution) -> bool:
    """Whether nothing about the execution will change any more."""
    return execution["status"] in FINAL


def watch(session: Session, execution_id: str, timeout: float | None = None) -> Procedure[Execution]:
    """Tells the execution as it is at each change, at last in its final state.

    Raises ApiError where the API refuses, ConnectionFailed where it stays away, WaitTimeout after ``timeout`` seconds.
    """
    return _Follower(session, execution_id, timeout).follow()


def wait(session: Session, execution_id: str, timeout: float | None = None) -> Procedure[Execution]:
    """Tells the execution once it has ended; raises what ``watch`` raises."""
    return _Follower(session, execution_id, timeout, only_the_end=True).follow()


@dataclass(slots=True)
class Event:
    """One event of a stream."""

    id: str = ""
    name: str = ""
    data: str = ""


@dataclass(slots=True)
class EventLines:
    """Makes events of lines (WHATWG HTML, *Interpreting an event stream*)."""

    _id: str = ""
    _name: str = ""
    _data: list[str] = field(default_factory=list)

    def take(self, line: str) -> Event | None:
        """The event that ends with this line, if one does."""
        if not line:
            event = Event(self._id, self._name, "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                self._id = value
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
        return None


class _Follower:
    def __init__(
        self, session: Session, execution_id: str, timeout: float | None, *, only_the_end: bool = False
    ) -> None:
        self._session = session
        self._path = path_of("playbooks", "executions", execution_id)
        self._execution_id = execution_id
        self._only_the_end = only_the_end
        self._ends = None if timeout is None else session.clock() + timeout
        self._away = session.effort()
        self._streams = True
        self._last_id: str | None = None
        self._seen: Execution | None = None

    def follow(self) -> Procedure[Execution]:
        while True:
            pause = POLL_SECONDS
            try:
                if self._streams and self._left() > LAST_STRETCH:
                    yield from self._hear()
                if not self._is_over():
                    yield from self._look()
            except (ApiError, ConnectionFailed) as fault:
                if isinstance(fault, ApiError) and fault.status not in PASSING:
                    raise
                pause = self._away.pause(fault)
            if self._is_over():
                return
            if self._left() <= 0:
                raise WaitTimeout(f"{self._execution_id} has not ended in the time given; it goes on.", self._seen)
            yield Pause(min(pause, self._left()))

    def _hear(self) -> Procedure[Execution]:
        headers = {"Accept": EVENT_STREAM} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        request = Request("GET", f"{self._path}/events", headers=headers)
        answer: Answer = yield Listen(request, SILENCE_SECONDS)
        self._session.has_answered = True
        if not answer.is_stream:
            if answer.status in PASSING:
                raise answer.error(request, self._session.wall_clock)
            # An older server, or a proxy in between that does not stream: the status itself tells more.
            self._streams = False
            return
        lines = EventLines()
        while (line := (yield Hear())) is not None:
            event = lines.take(line)
            if event is not None:
                self._away.reset()
                yield from self._tell(self._with(event))
            if self._is_over() or self._left() <= LAST_STRETCH:
                break
        yield Close()

    def _look(self) -> Procedure[Execution]:
        request = Request("GET", self._path)
        answer: Answer = yield Send(request)
        self._session.has_answered = True
        if not answer.is_success:
            raise answer.error(request, self._session.wall_clock)
        self._away.reset()
        # What is known now is newer than the last event: the next stream is to begin anew.
        self._last_id = None
        yield from self._tell(cast(Execution, answer.json()))

    def _tell(self, now: Execution | None) -> Procedure[Execution]:
        if now is not None and now != self._seen:
            self._seen = now
            if is_final(now) or not self._only_the_end:
                yield Tell(now)

    def _with(self, event: Event) -> Execution | None:
        """The execution after the event."""
        self._last_id = event.id or self._last_id
        if event.name == "execution":
            return cast(Execution, json.loads(event.data))
        if event.name == "step" and self._seen is not None:
            told = json.loads(event.data)
            steps = [told["step"] if step["index"] == told["step"]["index"] else step for step in self._seen["steps"]]
            return cast(Execution, {**self._seen, "status": told["status"], "steps": steps})
        return None

    def _is_over(self) -> bool:
        return self._seen is not None and is_final(self._seen)

    def _left(self) -> float:
        return float("inf") if self._ends is None else self._ends - self._session.clock()
