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

AVAILABLE = sys.platform == "linux" and hasattr(os, "memfd_create")
"""Elsewhere no process dies with its parent, and a copy of one that has loaded system libraries may not work."""

ANSWER_SECONDS = 60.0
"""Time for loading what a part needs, and for the copy."""

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
        self._number = 0
        """Of the request that was sent last: what is told of an earlier one is waited for no more."""

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return self._process.pid if self._process is not None and self._channel is not None else None

    async def start(self, name: str, entry: str, environment: Mapping[str, str], output: int) -> Fork:
        """Starts a copy that runs ``entry``, as ``module:function``, and prints to ``output``; raises OSError."""
        module, _, function = entry.partition(":")
        async with self._lock:
            if self._channel is None:
                await self._begin(output)
            assert self._channel is not None
            self._number += 1
            request = {"number": self._number, "name": name, "module": module, "function": function}
            self._asked = asyncio.get_running_loop().create_future()
            try:
                _ask(self._channel, json.dumps(request).encode(), json.dumps(dict(environment)).encode(), output)
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._asked
            except TimeoutError as fault:
                await self.end()
                raise OSError(f"the process that it is copied from gave no answer in {ANSWER_SECONDS:g} s") from fault
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
        if "ended" in report:
            if (ended := self._forks.pop(int(report["ended"]), None)) is not None:
                ended.ends(int(report["code"]))
            return
        asked = self._asked
        if asked is None or asked.done() or report["number"] != self._number:
            # Whoever asked for it has gone.
            if "started" in report:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(report["started"]), signal.SIGKILL)
        elif "started" in report:
            fork = self._forks[int(report["started"])] = Fork(int(report["started"]))
            asked.set_result(fork)
        else:
            asked.set_exception(OSError(report["refused"]))

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


def _ask(channel: socket.socket, request: bytes, environment: bytes, output: int) -> None:
    """Sends a request; the environment in a file that only the copy reads, since it is large, and has secrets.

    Raises OSError.
    """
    document = os.memfd_create("environment")
    try:
        with os.fdopen(os.dup(document), "wb") as file:
            file.write(environment)
        os.lseek(document, 0, os.SEEK_SET)
        socket.send_fds(channel, [request], [document, output])
    finally:
        os.close(document)
