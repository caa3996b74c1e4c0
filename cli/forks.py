"""Starts parts as copies of one process that has loaded what they share (``cli.forkserver``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.processes import dies_with_parent

AVAILABLE = sys.platform == "linux"
"""Elsewhere no process dies with its parent, and a copy of one that has loaded system libraries may not work."""

REPORT_BYTES = 65_536


@dataclass(slots=True, eq=False)
class Fork:
    """A part that runs as a copy: what ``asyncio.subprocess.Process`` is to a program."""

    pid: int
    returncode: int | None = None
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int:
        """Waits for its end, and returns how it ended: an exit code, or a signal's number below zero."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, signal: int) -> None:
        """Sends it a signal; raises ProcessLookupError where it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, signal)

    def ends(self, code: int) -> None:
        """Notes how it ended."""
        self.returncode = code
        self._ended.set()


class Forks:
    """The process that parts are copied from: started when it is first needed, and again when it has died.

    Its copies die with it.  ``environment`` is its own: what is secret belongs to the parts.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._asked: asyncio.Future[Fork] | None = None
        self._forks: dict[int, Fork] = {}

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return self._process.pid if self._process is not None and self._channel is not None else None

    async def start(self, name: str, entry: str, environment: Mapping[str, str], output: int) -> Fork:
        """Starts a copy that runs ``entry``, as ``module:function``, and prints to ``output``; raises OSError."""
        module, _, function = entry.partition(":")
        request = {"name": name, "module": module, "function": function, "environment": dict(environment)}
        async with self._lock:
            if self._channel is None:
                await self._begin(output)
            assert self._channel is not None
            self._asked = asyncio.get_running_loop().create_future()
            _ask(self._channel, json.dumps(request).encode(), output)
            try:
                return await self._asked
            finally:
                self._asked = None

    async def end(self) -> None:
        """Ends it, and with it what still runs of its copies."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._gone()

    async def _begin(self, output: int) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            mine.setblocking(False)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *[sys.executable, "-P", "-m", "cli.forkserver", str(its.fileno())],
                    env=self._environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(its.fileno(),),
                    process_group=0,
                    preexec_fn=dies_with_parent(),
                )
            except BaseException:
                mine.close()
                raise
        self._channel = mine
        asyncio.get_running_loop().add_reader(mine, self._hear, mine)

    def _hear(self, channel: socket.socket) -> None:
        try:
            message = channel.recv(REPORT_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if message:
            self._note(json.loads(message))
        elif channel is self._channel:
            self._gone()

    def _note(self, report: Mapping[str, int | str]) -> None:
        waits = self._asked is not None and not self._asked.done()
        if "started" in report:
            fork = Fork(int(report["started"]))
            if self._asked is not None and waits:
                self._forks[fork.pid] = fork
                self._asked.set_result(fork)
            else:
                # Whoever asked for it has gone.
                os.kill(fork.pid, signal.SIGKILL)
        elif "ended" in report:
            if (ended := self._forks.pop(int(report["ended"]), None)) is not None:
                ended.ends(int(report["code"]))
        elif self._asked is not None and waits:
            self._asked.set_exception(OSError(report["refused"]))

    def _gone(self) -> None:
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._channel = None
        for fork in self._forks.values():
            fork.ends(-signal.SIGKILL)
        self._forks.clear()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(OSError("the process that it is copied from has ended"))


def _ask(channel: socket.socket, request: bytes, output: int) -> None:
    """Sends a request: by a file in memory, since an environment may be larger than a message."""
    document = os.memfd_create("request")
    try:
        with os.fdopen(os.dup(document), "wb") as file:
            file.write(request)
        os.lseek(document, 0, os.SEEK_SET)
        socket.send_fds(channel, [b"start"], [document, output])
    finally:
        os.close(document)
