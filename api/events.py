"""Server-sent events of one execution: one for every change, until the final state.

All listeners of an execution in this process share one reader, which asks Temporal a few times a second, and the
events that it makes of what it finds.  A listener that has missed some works out for itself what is new to it.  So a
slow listener holds nobody up, and holds no queue: what it missed reaches it as one step after another, when it reads
again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from api.story import Chapter, Known, Story
from engine.errors import TemporalUnavailable
from executions.truth import Truth
from playbooks.states import State
from storage.errors import DatabaseUnavailable

POLL = 0.2
"""Seconds between two looks at a run that somebody listens to."""

AWAY_POLL = 1.0
"""The same while Temporal or the database is away."""

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection."""

LONGEST = 3600.0
"""Seconds after which a stream ends though the run goes on: a client that comes back has its token judged anew."""

Read = Callable[[], Awaitable[Truth]]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a listener hears of an execution, and the events that tell it to whoever knows what came before."""

    truth: Truth
    chapter: Chapter | None = None
    progress: tuple[int, int, int, int] = field(init=False)
    """How many steps have ended and have begun, attempts and iterations: none of them falls while a run is open."""

    def __post_init__(self) -> None:
        """Counts."""
        steps = self.truth.record.steps
        ended = sum(step.state.is_final for step in steps)
        begun = sum(step.state is not State.PENDING for step in steps)
        tallies = [tally for step in steps for tally in (step.iterations, step.runs) if tally is not None]
        turns = sum(tally.completed + tally.failed + tally.skipped + tally.cancelled for tally in tallies)
        object.__setattr__(self, "progress", (ended, begun, sum(step.attempt for step in steps), turns))

    def is_behind(self, other: Heard) -> bool:
        """Whether this was so before ``other``; never of an end, whose record may say less, nor of another run."""
        if self.truth.is_final or self.truth.run_id != other.truth.run_id:
            return False
        return any(mine < theirs for mine, theirs in zip(self.progress, other.progress, strict=True))


@dataclass(slots=True)
class Watch:
    """The latest known truth of one execution, the events that led to it, and a way to wait for the next."""

    latest: Heard
    story: Story
    """What is known to all who have heard everything."""
    number: int = 0
    """Of the latest truth, which tells it from those before."""
    listeners: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: BaseException | None = None
    """What has ended the reader before the run was final."""
    reader: asyncio.Task[None] | None = None
    _opening: tuple[int, Chapter] | None = None

    @classmethod
    def of(cls, truth: Truth, ui_url: str | None) -> Watch:
        """A watch that begins with ``truth``."""
        watch = cls(Heard(truth), Story(ui_url))
        watch.story.begin(truth)
        return watch

    @property
    def opening(self) -> Heard:
        """The latest truth, for those who know nothing yet."""
        truth = self.latest.truth
        if self._opening is None or self._opening[0] != self.number:
            story = Story(self.story.ui_url)
            pieces = tuple(event.encode() for event in story.tell(truth))
            self._opening = (self.number, Chapter(Known(), story.known, pieces))
        return Heard(truth, self._opening[1])

    def publish(self, heard: Heard) -> None:
        """Sets the latest truth and wakes every listener."""
        self.latest = heard
        self.number += 1
        self.wake()

    def wake(self) -> None:
        """Wakes every listener."""
        self.changed.set()
        self.changed = asyncio.Event()


class Watches:
    """One reader for each execution that somebody listens to; ``ui_url`` is where the Web UI has the namespace."""

    def __init__(self, ui_url: str | None = None) -> None:
        self._ui_url = ui_url
        self._watches: dict[str, Watch] = {}

    async def listen(self, first: Truth, read: Read) -> AsyncGenerator[Heard | None, None]:
        """Yields ``first`` and then each later truth; None after a silence.  Ends after a final one, and
        after ``LONGEST``.

        While Temporal or the database is away there is silence.  Raises what else ``read`` raises.
        """
        key = first.row.id
        if first.is_final:
            yield Heard(first)
            return
        watch = self._join(key, first, read)
        try:
            known = watch.number if watch.latest.truth == first else None
            seen, loop = Heard(first) if known is None else watch.opening, asyncio.get_running_loop()
            yield seen
            ends = loop.time() + LONGEST
            while not seen.truth.is_final and loop.time() < ends:
                changed = watch.changed
                if known != watch.number:
                    known = watch.number
                    # The reader may have seen the run a moment before the listener's own first read.
                    if not watch.latest.is_behind(seen):
                        seen = watch.latest
                        yield seen
                elif watch.failure is not None:
                    raise watch.failure
                elif not await _comes(changed):
                    yield None
        finally:
            self._leave(key, watch)

    async def close(self) -> None:
        """Ends every reader."""
        for watch in self._watches.values():
            _end(watch)
        self._watches.clear()

    def _join(self, key: str, first: Truth, read: Read) -> Watch:
        watch = self._watches.get(key)
        if watch is None or watch.failure is not None:  # one that failed stays with those who have not heard of it
            watch = self._watches[key] = Watch.of(first, self._ui_url)
            watch.reader = asyncio.create_task(_follow(watch, read))
        watch.listeners += 1
        return watch

    def _leave(self, key: str, watch: Watch) -> None:
        watch.listeners -= 1
        if watch.listeners == 0:
            _end(watch)
            if self._watches.get(key) is watch:
                del self._watches[key]


def _end(watch: Watch) -> None:
    if watch.reader is not None:
        watch.reader.cancel()


async def _comes(changed: asyncio.Event) -> bool:
    """Waits for a change; False after a silence."""
    try:
        async with asyncio.timeout(HEARTBEAT):
            await changed.wait()
    except TimeoutError:
        return False
    return True


async def _follow(watch: Watch, read: Read) -> None:
    pause = POLL
    try:
        while not watch.latest.truth.is_final:
            await asyncio.sleep(pause)
            pause = AWAY_POLL
            with contextlib.suppress(TemporalUnavailable, DatabaseUnavailable):
                truth = await read()
                pause = POLL
                if truth != watch.latest.truth:
                    watch.publish(Heard(truth, await watch.story.chapter(truth)))
    except Exception as error:
        watch.failure = error
        watch.wake()
