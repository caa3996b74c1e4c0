"""What is asked again, when, and for how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stanchion_client.errors import ApiError, ConnectionFailed
from stanchion_client.messages import Answer, Call, Pause, Procedure, Send, Steps, T, Tell

PASSING = frozenset({429, 502, 503, 504})
"""Answers of an API, or of a proxy before it, that will be another one soon."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How patient the client is.

    Attributes:
        seconds: time from the first failure after which it is given up; 0 asks once.
        first_pause: seconds before the second try; they double, up to ``longest_pause``.  ``Retry-After`` counts more.
        from_the_start: False gives an address up at once at which nobody has answered yet.
    """

    seconds: float = 60.0
    first_pause: float = 0.2
    longest_pause: float = 5.0
    from_the_start: bool = True


@dataclass(slots=True)
class Session:
    """What the client knows from one call to the next: whether the API has ever answered."""

    retries: Retries = field(default_factory=Retries)
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    has_answered: bool = False

    def effort(self) -> Effort:
        """A new patience."""
        return Effort(self)

    def call(self, call: Call[T]) -> Procedure[T]:
        """Does the call and tells what came of it."""
        yield Tell(call.read((yield from self.exchange(call))))

    def exchange(self, call: Call[T]) -> Steps[Answer]:
        """The answer to the call, asked again where that is safe.

        What may not be repeated is asked again only where it surely was not done: the connection was never made, or
        the API itself said 429 or 503.  Raises ApiError and ConnectionFailed.
        """
        effort = self.effort()
        unanswered = False
        while True:
            fault: ApiError | ConnectionFailed
            try:
                answer: Answer = yield Send(call.request)
            except ConnectionFailed as failed:
                fault = failed
                unanswered = unanswered or failed.sent
                if failed.sent and not call.repeatable:
                    raise
            else:
                self.has_answered = True
                if answer.is_success or answer.status in call.also:
                    return answer
                if answer.status == 404 and call.gone_is_done and unanswered:
                    return Answer(204, answer.headers)
                fault = answer.error(call.request, self.wall_clock)
                if fault.status not in PASSING or not (call.repeatable or fault.is_of_the_api):
                    raise fault
                unanswered = unanswered or not fault.is_of_the_api
            yield Pause(effort.pause(fault))


class Effort:
    """One patience: how long something that fails has been tried."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._since: float | None = None
        self._next = session.retries.first_pause

    def reset(self) -> None:
        """It has worked."""
        self._since = None
        self._next = self._session.retries.first_pause

    def pause(self, fault: ApiError | ConnectionFailed) -> float:
        """Seconds until the next try.  Raises ``fault`` where there is to be none."""
        retries, now = self._session.retries, self._session.clock()
        self._since = now if self._since is None else self._since
        if isinstance(fault, ConnectionFailed) and not (retries.from_the_start or self._session.has_answered):
            raise fault
        # Many clients of one API that comes back are not to come all at once.
        seconds = self._next * random.uniform(0.5, 1.0)
        wanted = fault.retry_after if isinstance(fault, ApiError) else None
        seconds = max(seconds, wanted or 0.0)
        if now + seconds - self._since > retries.seconds:
            raise fault
        self._next = min(self._next * 2, retries.longest_pause)
        return seconds
