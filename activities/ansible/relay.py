"""The way out of the sandbox: a socket each of whose connections goes to the host's SSH server, as judged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from activities.action import ActionContext
from activities.errors import ActionError
from activities.hosts.connection import enter
from activities.hosts.target import HostInput

CHUNK = 64 * 1024
SOCKET = "ssh.sock"


@dataclass(frozen=True, slots=True)
class Way:
    """A verified way to a host: the key that its server has shown, and connections to it."""

    host_key: str
    addresses: list[str]
    port: int
    jump: asyncssh.SSHClientConnection | None

    async def open(
        self,
    ) -> (
        tuple[asyncio.StreamReader, asyncio.StreamWriter] | tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]
    ):
        """A connection to the first address that takes one.  Raises ``OSError`` and ``asyncssh.Error``."""
        failure: Exception = OSError("no address")
        for address in self.addresses:
            try:
                if self.jump is not None:
                    return await self.jump.open_connection(address, self.port)
                return await asyncio.open_connection(address, self.port)
            except (OSError, asyncssh.Error) as error:
                failure = error
        raise failure


@asynccontextmanager
async def verified(target: HostInput, context: ActionContext) -> AsyncIterator[Way]:
    """Log in once, so that every refusal has its own code, and keep what Ansible's own connections then need.

    Raises ``ActionError`` as ``activities.hosts.connection.connected`` does.
    """
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(target.connect_timeout):
                jump = None if target.jump is None else await enter(stack, target.jump, context, None)
                async with AsyncExitStack() as short:
                    connection = await enter(short, target, context, jump)
                    key = connection.get_server_host_key()
                addresses = await context.egress.resolve(target.host, target.port)
        except TimeoutError:
            text = f"{target.place}: no SSH session within {target.connect_timeout:g} s."
            raise ActionError("timed_out", text) from None
        assert key is not None
        shown = " ".join(key.export_public_key().decode().split()[:2])
        yield Way(shown, addresses, target.port, jump)


@asynccontextmanager
async def relaying(way: Way, folder: Path) -> AsyncIterator[None]:
    """Serve the socket in ``folder``; each connection to it is one to the host."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        # A cancel comes from below, when the run is over: the streams' own callback would report it as an error.
        with contextlib.suppress(OSError, asyncssh.Error, asyncio.CancelledError):
            try:
                far_reader, far_writer = await way.open()
                try:
                    await _both_ways(reader, writer, far_reader, far_writer)
                finally:
                    far_writer.close()
            finally:
                writer.close()

    server = await asyncio.start_unix_server(serve, folder / SOCKET)
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Reader = asyncio.StreamReader | asyncssh.SSHReader[bytes]
Writer = asyncio.StreamWriter | asyncssh.SSHWriter[bytes]


async def _both_ways(near_reader: Reader, near_writer: Writer, far_reader: Reader, far_writer: Writer) -> None:
    """Until either side has ended."""
    ways = [
        asyncio.create_task(_pump(near_reader, far_writer)),
        asyncio.create_task(_pump(far_reader, near_writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in ways:
            task.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: Reader, writer: Writer) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
