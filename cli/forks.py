"""Parts that are copies of this process, which has loaded what they need (fork(2); ``docs/decisions/0013``).

What was loaded before a copy is made is shared between the copies until one of them changes it, and a part that died is
back without loading anything.  A copy finds every lock free as long as this process has one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from engine.processes import bind_to_parent, flush_output, forget_start, give_back, name_process, run_and_leave

NOT_NEEDED = "rich"
"""A library that structlog loads where it is installed, for the tracebacks of a terminal: 5 MB."""

SELDOM = (5000, 10, 10)
"""How often the collector runs while modules are loaded: as fast as never, and what loading leaves over is freed."""

Mask = set[int | signal.Signals]

_LOADED: dict[str, Callable[[], None]] = {}

DISPOSITIONS: dict[signal.Signals, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}
"""What a process that has just been started does on signals that this one may take in a way of its own."""


def available() -> bool:
    """Whether parts can be copies here.

    Elsewhere than on Linux no process dies with its parent, and a copy of one that has loaded system libraries may not
    work; without pidfd_open(2) the end of a process is waited for by a thread, and without /proc nobody knows of one.
    """
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
        return bool(_numbers("task") and _numbers("fd"))
    except (AttributeError, OSError):
        return False


def alone() -> bool:
    """Whether this process has one thread; another one might hold a lock, which a copy would wait for for ever."""
    return len(_numbers("task")) == 1


def _numbers(what: str) -> list[int]:
    """Ids of this process's threads (``task``), or its descriptors (``fd``) and the one that they are read by."""
    return [int(path.name) for path in Path(f"/proc/self/{what}").iterdir()]


def wait_without_threads() -> None:
    """Has asyncio wait for the end of programs as it does from Python 3.12 on: by pidfd, not by a thread for each.

    Where it cannot, asyncio goes on as it did.
    """
    if sys.version_info < (3, 12) and available():
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


UNKNOWN = 255
"""Exit code of a copy of which it is not known, as with asyncio's programs."""


class Fork:
    """A part that runs as a copy: what ``asyncio.subprocess.Process`` is to a program."""

    def __init__(self, pid: int) -> None:
        assert sys.platform == "linux"
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._watched = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._watched, self._end)

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

    def _end(self) -> None:
        """It has ended: its descriptor can be read."""
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        try:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            # Who started this process had it ignore SIGCHLD: nobody is told how a child ends.
            self.returncode = UNKNOWN
        self._ended.set()


def load(entries: Iterable[str], output: int) -> None:
    """Loads all that the parts need that run ``entries``, each as ``module:function``; nothing the second time.

    Before the first copy is made: what is loaded later writes into pages that are shared by then, and copies them.
    Raises OSError, and prints where it happened to ``output``.
    """
    missing = [entry for entry in entries if entry not in _LOADED]
    if not missing:
        return
    with _sparingly():
        for entry in missing:
            try:
                _LOADED[entry] = _find(entry)
            except Exception as fault:
                with contextlib.suppress(OSError):
                    os.write(output, traceback.format_exc().encode())
                raise OSError(f"{entry}: {type(fault).__name__}: {fault}") from fault
    give_back()
    # The collector of a copy would otherwise write into every object.
    gc.freeze()


def start(name: str, entry: str, environment: Mapping[str, str], output: int) -> Fork:
    """Starts a copy that runs ``entry``, which has been loaded, and prints to ``output``; raises OSError."""
    function = _LOADED[entry]
    parent = os.getpid()
    # What stands in a buffer would be printed by each copy too.
    flush_output()
    # What a copy is told before it has its own dispositions waits until it has them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, DISPOSITIONS)
    try:
        pid = os.fork()
        if pid == 0:
            _become(name, function, environment, output, parent, mask)
        # Here too, so that its group is there to be killed from now on.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        try:
            return Fork(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _find(entry: str) -> Callable[[], None]:
    module, _, function = entry.partition(":")
    found: Callable[[], None] = getattr(importlib.import_module(module), function)
    return found


@contextlib.contextmanager
def _sparingly() -> Iterator[None]:
    """Loads without what no part needs, and without the collector looking through all of it again and again."""
    had = NOT_NEEDED in sys.modules
    if not had:
        sys.modules[NOT_NEEDED] = None  # type: ignore[assignment]  # to import it is an ImportError from now on
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not had:
            del sys.modules[NOT_NEEDED]


def _become(
    name: str, function: Callable[[], None], environment: Mapping[str, str], output: int, parent: int, mask: Mask
) -> NoReturn:
    """Runs ``function`` as a process of its own, as if it had been started alone."""

    def run() -> None:
        bind_to_parent(parent)
        os.setpgid(0, 0)
        _leave_descriptors(output)
        if sys.version_info < (3, 12):
            asyncio.set_event_loop_policy(None)  # it knows how programs are waited for
        forget_start(f"stanchion: {name}")
        name_process(f"stn-{name}")
        os.environ.update(environment)
        _leave_signals(mask)
        function()

    run_and_leave(run)


def _leave_descriptors(output: int) -> None:
    """Keeps none of the descriptors of the process that this one is a copy of; prints to ``output``."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # One by one: there may be room for a thousand million of them.
    for number in _numbers("fd"):
        if number > 2:
            with contextlib.suppress(OSError):
                os.close(number)


def _leave_signals(mask: Mask) -> None:
    """Takes signals as a process that has just been started does."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, disposition in DISPOSITIONS.items():
        signal.signal(number, disposition)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
