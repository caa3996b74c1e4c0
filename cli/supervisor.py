"""Keeps the parts of an installation running: starts them, restarts what dies, stops them in order.

No child outlives the supervisor, not even when that is killed with SIGKILL (``engine.processes``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cli import forks
from engine.processes import dies_with_parent

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
STEADY_SECONDS = 10.0
"""A part that ran this long is restarted without a pause that grew."""

DEATHS_BEFORE_READY = 4
"""A part that dies so often before the installation was ever ready will not come up by itself."""


class StartError(Exception):
    """The installation cannot start; the message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Part:
    """One child process.  ``stop_seconds`` is what it may take to end by itself; ``inherit`` are descriptors.

    ``chatty``: what it prints on stdout is of no use to anyone.  ``forked``, as ``module:function``, is what the part
    runs where its supervisor makes ``copies``, in place of ``command``.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float = 10.0
    inherit: tuple[int, ...] = ()
    chatty: bool = False
    forked: str | None = None


class Process(Protocol):
    """A running part, as ``asyncio.subprocess.Process`` is one."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def returncode(self) -> int | None:
        """How it ended: an exit code, or a signal's number below zero; None while it runs."""

    async def wait(self) -> int:
        """Waits for its end, and returns how it ended."""

    def send_signal(self, signal: int) -> None:
        """Sends it a signal; raises ProcessLookupError where it has ended."""


@dataclass(slots=True)
class _Child:
    part: Part
    process: Process | None = None
    deaths: int = 0
    task: asyncio.Task[None] | None = None
    pause: float = FIRST_PAUSE


@dataclass(slots=True)
class Supervisor:
    """Runs ``parts``, which are started in their order and stopped in the reverse order.

    ``log_dir``: their output goes into one file each there, otherwise to the supervisor's stderr.
    ``state_file`` is rewritten with the process ids at each change.  ``copies``: the parts that are ``forked`` are
    copies of this process, as long as it has one thread (``cli.forks``).
    """

    parts: Sequence[Part]
    log_dir: Path | None = None
    state_file: Path | None = None
    facts: dict[str, object] = field(default_factory=dict)
    on_note: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    copies: bool = False
    _children: dict[str, _Child] = field(default_factory=dict, init=False)
    _ready: bool = field(default=False, init=False)
    _failed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _failure: str = field(default="", init=False)

    async def start(self) -> None:
        """Starts every part; each is restarted from now on when it ends.  Raises StartError."""
        for part in self.parts:
            child = self._children[part.name] = _Child(part)
            try:
                await self._spawn(child)
            except OSError as fault:
                raise StartError(f"{part.name} cannot be started: {fault}") from fault
            child.task = asyncio.create_task(self._keep(child), name=part.name)
        self._write_state()

    def ready(self) -> None:
        """Notes that everything works: from now on nothing that dies is given up."""
        self._ready = True
        self._write_state()

    def state(self) -> dict[str, object]:
        """Process ids, whether everything works, and the ``facts``."""
        pids = {name: child.process.pid for name, child in self._children.items() if child.process is not None}
        return {"ready": self._ready, "pids": {"supervisor": os.getpid(), **pids}, **self.facts}

    async def failure(self) -> str:
        """Waits until a part has been given up, and says which."""
        await self._failed.wait()
        return self._failure

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Stops the parts one after the other; what does not end in its time, or when ``hurry`` is set, is killed."""
        for child in reversed(self._children.values()):
            if child.task is not None:
                child.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await child.task
            if child.process is not None and child.process.returncode is None:
                await self._end(child.process, child.part.stop_seconds, hurry or asyncio.Event())
        if self.state_file is not None:
            self.state_file.unlink(missing_ok=True)

    async def once(self, part: Part) -> int:
        """Runs ``part`` to its end and returns its exit code."""
        child = _Child(part)
        await self._spawn(child)
        assert child.process is not None
        try:
            return await child.process.wait()
        finally:
            if child.process.returncode is None:
                _signal_group(child.process, signal.SIGKILL)

    async def _keep(self, child: _Child) -> None:
        while True:
            assert child.process is not None
            started = time.monotonic()
            code = await child.process.wait()
            # Nothing that the part has started itself may go on without it.
            _signal_group(child.process, signal.SIGKILL)
            child.deaths += 1
            if not self._ready and child.deaths >= DEATHS_BEFORE_READY:
                self._failure = f"{child.part.name} ended {child.deaths} times, the last time with {_ending(code)}"
                self._failed.set()
                return
            if time.monotonic() - started >= STEADY_SECONDS:
                child.pause = FIRST_PAUSE
            await self._restart(child, _ending(code))

    async def _restart(self, child: _Child, why: str) -> None:
        self.on_note(f"{child.part.name} ended with {why}; it is started again in {child.pause:g} s")
        while True:
            await asyncio.sleep(child.pause)
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
            try:
                await self._spawn(child)
            except OSError as fault:
                self.on_note(f"{child.part.name} cannot be started: {fault}; tried again in {child.pause:g} s")
            else:
                self._write_state()
                return

    async def _spawn(self, child: _Child) -> None:
        part = child.part
        with contextlib.ExitStack() as stack:
            output = sys.stderr.fileno()
            if self.log_dir is not None:
                self.log_dir.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context((self.log_dir / f"{part.name}.log").open("ab")).fileno()
            if part.forked is not None and self.copies and forks.alone():
                forks.load([part.forked, *(one.forked for one in self.parts if one.forked is not None)], output)
                child.process = forks.start(part.name, part.forked, part.environment, output)
                return
            child.process = await asyncio.create_subprocess_exec(
                *part.command,
                env=dict(part.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL if part.chatty else output,
                stderr=output,
                pass_fds=part.inherit,
                process_group=0,
                preexec_fn=dies_with_parent(),
            )

    async def _end(self, process: Process, seconds: float, hurry: asyncio.Event) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        ended = asyncio.ensure_future(process.wait())
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        _signal_group(process, signal.SIGKILL)
        await ended

    def _write_state(self) -> None:
        if self.state_file is None:
            return
        scratch = self.state_file.with_suffix(".new")
        scratch.write_text(json.dumps(self.state(), indent=2) + "\n")
        scratch.replace(self.state_file)


def _signal_group(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
