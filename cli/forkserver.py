"""``python -P -m cli.forkserver DESCRIPTOR``: loads what worker and API need once, and makes a copy of itself for each.

What was loaded before a copy is made is shared between the copies until one of them changes it, and a part that died is
back without loading anything.  This process has no thread and no event loop, so that a copy finds every lock free; what
it must do it is told over a socket, and it ends with the process that tells it (``cli.forks``).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from engine.processes import bind_to_parent, name_process, run_and_leave

REQUEST_BYTES = 65_536

REASON_CHARACTERS = 1000

NOT_NEEDED = "rich"
"""A library that structlog loads where it is installed, for the tracebacks of a terminal: 5 MB."""

LEFT_TO_COPIES: dict[signal.Signals, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}
"""Signals that a copy takes as any process does, and this one does not: it ends when nobody is there to ask."""


def main() -> NoReturn:
    """Starts what it is asked to start, until nobody is there to ask."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    # What is loaded stays: to look through all of it again and again while it grows takes a tenth of the time.
    gc.disable()
    sys.modules[NOT_NEEDED] = None  # type: ignore[assignment]  # to import it is an ImportError from now on
    for number in LEFT_TO_COPIES:
        # Whoever sends one to all processes at once means that the parts shall stop in their own way.
        signal.signal(number, signal.SIG_IGN)
    heard, wakes = socket.socketpair()
    heard.setblocking(False)
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([channel, heard], [], [])
        if heard in ready:
            with contextlib.suppress(BlockingIOError):
                heard.recv(4096)
            _bury(channel)
        if channel in ready:
            request, environment, output = _asked(channel)
            _start(channel, request, environment, output, (channel, heard, wakes))


def _bury(channel: socket.socket) -> None:
    """Tells of the copies that have ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(channel, {"ended": ended[0], "code": os.waitstatus_to_exitcode(ended[1])})


def _asked(channel: socket.socket) -> tuple[dict[str, Any], int, int]:
    """The next request, with descriptors of the environment and of where the copy prints."""
    message, descriptors, _, _ = socket.recv_fds(channel, REQUEST_BYTES, 2)
    if not message:
        # The copies die with this process.
        os._exit(0)
    environment, output = descriptors
    return json.loads(message), environment, output


def _start(
    channel: socket.socket, request: Mapping[str, Any], environment: int, output: int, mine: Sequence[socket.socket]
) -> None:
    try:
        function = _load(request["module"], request["function"])
        # What a copy is told before it has its own dispositions waits until it has them.
        signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_COPIES)
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            for one in mine:
                one.close()
            _become(request["name"], function, environment, output, parent)
    except Exception as fault:
        os.write(output, traceback.format_exc().encode())
        reason = f"{type(fault).__name__}: {fault}"[:REASON_CHARACTERS]
        _tell(channel, {"number": request["number"], "refused": reason})
    else:
        _tell(channel, {"number": request["number"], "started": pid})
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_COPIES)
        os.close(environment)
        os.close(output)


def _load(module: str, function: str) -> Callable[[], None]:
    """The function, with all that its module needs; nothing where it was loaded before."""
    found: Callable[[], None] = getattr(importlib.import_module(module), function)
    # The collector would otherwise write into every object, and so copy every page.
    gc.collect()
    gc.freeze()
    return found


def _tell(channel: socket.socket, message: Mapping[str, int | str]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        channel.send(json.dumps(message).encode())


def _become(name: str, function: Callable[[], None], environment: int, output: int, parent: int) -> NoReturn:
    """Runs ``function`` as a process of its own, as if it had been started alone."""

    def run() -> None:
        _settle_in(name, output, parent)
        with os.fdopen(environment, "rb") as file:
            given = json.load(file)
        os.environ.clear()
        os.environ.update(given)
        function()

    run_and_leave(run)


def _settle_in(name: str, output: int, parent: int) -> None:
    """Leaves behind what belongs to the process that this one is a copy of."""
    gc.enable()
    sys.modules.pop(NOT_NEEDED, None)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, disposition in LEFT_TO_COPIES.items():
        signal.signal(number, disposition)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_COPIES)
    os.setpgid(0, 0)
    bind_to_parent(parent)
    name_process(f"stn-{name}")
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


if __name__ == "__main__":
    main()
