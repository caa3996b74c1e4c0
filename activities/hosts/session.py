"""Commands on a host that is connected: their input, their output up to a limit, their end.

Cancelled, the command is dead before the cancel goes on.  To that end it first writes the number of its process group,
which is then killed through a second channel: servers take signals for some users only (OpenSSH 9 not for root), and
closing the channel ends nothing.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncssh

from activities.errors import ActionError
from activities.scrub import end_of

OUTPUT_LIMIT = 256 * 1024
"""Bytes of each stream that are read unless the caller wants more or less."""

CHUNK = 32 * 1024
NO_OUTPUT: dict[str, Any] = {"stdout": asyncssh.DEVNULL, "stderr": asyncssh.DEVNULL, "encoding": None}
KILLING = 0.8
"""Seconds in which a command is ended after a cancel."""

COMPLAINING = 2.0
"""Seconds that something that is no shell has to say why."""

SHOWN_OF_STDERR = 500

TELL_GROUP = "{ read -r _ _ _ _ g _ </proc/$$/stat; } 2>/dev/null || g=$$; echo $g; unset g\n"
"""Writes the process group, the fifth field of proc_pid_stat(5); where there is no /proc, the shell leads it."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: 128 + n for signal n, as in a shell."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text; what does not decode is replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")

    def said(self) -> str:
        """The end of what it said, for a message: of standard error, or else of standard output."""
        return end_of(self.errors.strip() or self.text.strip(), SHOWN_OF_STDERR)


class Host:
    """A host that is logged in to."""

    def __init__(self, connection: asyncssh.SSHClientConnection, place: str) -> None:
        self.connection = connection
        self.place = place

    async def run(
        self, command: str, stdin: bytes = b"", *, limit: int = OUTPUT_LIMIT, sudo: bool = False, raw: bool = False
    ) -> Finished:
        """Run ``command`` to its end, whatever its exit code.

        ``limit``: bytes of each stream.  ``sudo``: as root, which must need no password there.  ``raw``: as it
        stands, for a host without a POSIX shell; a cancel can then only ask the server to end it.

        Raises ``ActionError``: ``output_limit``, ``connection_lost``, ``shell_missing``, ``sudo_refused``.
        """
        running = _Running(self, command, sudo, raw)
        starting = asyncio.ensure_future(running.start())
        try:
            # Shielded: a command whose start was cancelled half-way would run on, and nobody knew of it.
            await asyncio.shield(starting)
            return await running.communicate(stdin, limit)
        except BaseException:
            await running.kill(starting)
            raise
        finally:
            running.close()


class _Running:
    """One command."""

    def __init__(self, host: Host, command: str, sudo: bool, raw: bool) -> None:
        self.host = host
        self.sudo = "sudo -n -- " if sudo else ""
        self.raw = raw
        self.line = command if raw else f"{self.sudo}sh -c {shlex.quote(TELL_GROUP + command)}"
        self.group = ""
        self._process: asyncssh.SSHClientProcess[bytes] | None = None

    @property
    def process(self) -> asyncssh.SSHClientProcess[bytes]:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start it, and read its process group."""
        self._process = await self.host.connection.create_process(self.line, encoding=None)
        if not self.raw:
            await self._read_group()

    async def communicate(self, stdin: bytes, limit: int) -> Finished:
        """Give it ``stdin``, and take what it writes until it ends."""
        tasks = [
            asyncio.ensure_future(self._collect(self.process.stdout, limit)),
            asyncio.ensure_future(self._collect(self.process.stderr, limit)),
        ]
        feeding = asyncio.ensure_future(self._feed(stdin))
        try:
            stdout, stderr = await asyncio.gather(*tasks)
            await self.process.wait_closed()
        finally:
            for task in (*tasks, feeding):
                task.cancel()
            await asyncio.gather(*tasks, feeding, return_exceptions=True)
        return Finished(self._exit_code(), stdout, stderr)

    async def kill(self, starting: asyncio.Future[None]) -> None:
        """End the command on the host, as far as the host lets us, within ``KILLING`` seconds."""
        with suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(KILLING):
                await asyncio.wait({starting})
                if self._process is None or self._process.exit_status is not None:
                    return
                self._process.kill()
                if self.group:
                    # With -s: dash, the login shell of many accounts, takes no -- after -KILL.
                    kill = f"{self.sudo}kill -s KILL -- -{self.group}"
                    # Its output is dropped: a host that floods whatever it is asked would fill the worker with it.
                    await self.host.connection.run(kill, check=False, **NO_OUTPUT)
                await self._process.wait_closed()
        if not starting.done():
            starting.cancel()
        elif not starting.cancelled():
            starting.exception()  # fetched, or asyncio complains that nobody did

    def close(self) -> None:
        """Close the channel."""
        if self._process is not None:
            with suppress(OSError, asyncssh.Error):
                self._process.close()

    async def _read_group(self) -> None:
        first = (await self.process.stdout.readline()).strip()
        if first.isdigit():
            self.group = first.decode()
            return
        said = end_of((await self._complaint()).strip() or first.decode("utf-8", "replace"), SHOWN_OF_STDERR)
        said = said or "it said nothing"
        if self.sudo:
            text = f"{self.host.place} refused sudo: {said}. The user needs NOPASSWD in sudoers."
            raise ActionError("sudo_refused", text, retryable=False)
        raise ActionError("shell_missing", f"{self.host.place} runs no POSIX shell: {said}.", retryable=False)

    async def _complaint(self) -> str:
        """What it says on standard error; nothing where it goes on with something else instead of ending."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMPLAINING):
                return (await self.process.stderr.read(CHUNK)).decode("utf-8", "replace")
        return ""

    async def _feed(self, content: bytes) -> None:
        # A command need not read what it is given.
        with suppress(BrokenPipeError, ConnectionResetError, asyncssh.Error):
            for start in range(0, len(content), CHUNK):
                self.process.stdin.write(content[start : start + CHUNK])
                await self.process.stdin.drain()
            self.process.stdin.write_eof()

    async def _collect(self, stream: asyncssh.SSHReader[bytes], limit: int) -> bytes:
        content = bytearray()
        while chunk := await stream.read(CHUNK):
            content += chunk
            if len(content) > limit:
                raise ActionError(
                    "output_limit",
                    f"The command on {self.host.place} wrote more than {limit} bytes and was killed.",
                    retryable=False,
                )
        return bytes(content)

    def _exit_code(self) -> int:
        code = self.process.returncode
        if code is None:
            raise ActionError("connection_lost", f"{self.host.place} did not say how the command ended.")
        if code >= 0:
            return code
        name = self.process.exit_signal[0] if self.process.exit_signal else ""
        number = getattr(signal, f"SIG{name}", None)
        return 128 + (int(number) if number else -code)
