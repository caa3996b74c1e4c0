"""A piece of network between two processes that a test can hold, slow down and cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Opener = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

CHUNK = 65536


@dataclass
class Link:
    """Takes connections and passes them on to what ``open_target`` reaches.

    What is held is kept, in order, until it is released: like a network that delivers late.  ``reset`` drops it.
    """

    open_target: Opener
    delay: float = 0.0
    port: int = 0
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _down: asyncio.Event = field(default_factory=asyncio.Event)
    _is_cut: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def open(self, host: str = "127.0.0.1") -> None:
        """Listens on a free port of ``host``."""
        self.release()
        self._server = await asyncio.start_server(self._accept, host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Ends every connection and listens no more."""
        if self._server is not None:
            self._server.close()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        """Keeps what is sent from now on: up to the target, down from it."""
        if up:
            self._up.clear()
        if down:
            self._down.clear()

    def release(self) -> None:
        """Delivers what was held, and all that follows."""
        self._up.set()
        self._down.set()

    def reset(self) -> None:
        """Breaks every connection; what was held is lost."""
        for task in self._tasks:
            task.cancel()

    def cut(self) -> None:
        """Breaks every connection and takes no other, until ``heal``."""
        self._is_cut = True
        self.reset()

    def heal(self) -> None:
        """Ends a cut, and delivers what was held."""
        self._is_cut = False
        self.release()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._is_cut:
                await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await self.open_target()
        pumps = [
            asyncio.create_task(self._pump(reader, there_writer, self._up)),
            asyncio.create_task(self._pump(there_reader, writer, self._down)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            there_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await gate.wait()
                writer.write(data)
                await writer.drain()
