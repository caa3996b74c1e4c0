"""Processes: children that never outlive their parent, not even one that is killed with SIGKILL (Linux), and ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

SECONDS_TO_TELL = 0.2

OUTPUT_LOST = 120
"""Exit code of a process whose output could not be written, as Python's own."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def dies_with_parent() -> Callable[[], None]:
    """What the child must call before it becomes another program (``preexec_fn``).

    SIGKILL, since runs are durable and a half-stopped child would hold ports and files that a new start needs.  The
    signal belongs to the *thread* that starts the child: start children from the main thread only.
    """
    return partial(bind_to_parent, os.getpid())


def bind_to_parent(parent: int) -> None:
    """Has this process, a child of the process ``parent``, killed when that one ends; see ``dies_with_parent``."""
    # Nothing here may take a lock or import: another thread may have held one when the process was copied.
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def name_process(name: str) -> None:
    """Names this process in ``ps`` and ``top``, by 15 characters at most (prctl(2), Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def forget_start(title: str) -> None:
    """Takes out what the kernel shows of how this process was started: its arguments become ``title`` (Linux).

    For a copy of another process: the environment of that one, which may have secrets, is not its own. ``os.environ``
    is empty afterwards, but for a variable without a name.
    """
    for name in list(os.environ):
        # A variable without a name cannot be taken out; it is wiped with the rest.
        with contextlib.suppress(OSError):
            del os.environ[name]
    if _LIBC is None:
        return
    stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    # Fields 48 to 51, see proc(5); the second, in parentheses, may hold anything.
    arguments, arguments_end, environment, environment_end = map(int, stat.rpartition(")")[2].split()[45:49])
    ctypes.memset(environment, 0, environment_end - environment)
    ctypes.memset(arguments, 0, arguments_end - arguments)
    ctypes.memmove(arguments, shown := title.encode()[: max(0, arguments_end - arguments - 1)], len(shown))


def give_back() -> None:
    """Gives memory that is free back to the system, where the C library can do so (malloc_trim(3), glibc)."""
    with contextlib.suppress(AttributeError):
        if _LIBC is not None:
            _LIBC.malloc_trim(0)


def flush_output() -> bool:
    """Writes out what was printed, and returns whether that was possible: its disk may be full."""
    written = True
    for stream in (sys.stdout, sys.stderr):
        try:
            # None, and closed, is what a process has that was started without one.
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError):
            written = False
    return written


def leave(code: int) -> NoReturn:
    """Ends this process with ``code``, at once, once all its work is done.

    As Python does, with 120 in place of 0 where what it printed is lost.
    Not by ``sys.exit`` where Temporal's SDK was used: a thread of it that ends while the interpreter does aborts the
    process now and then.
    """
    try:
        if not flush_output():
            code = code or OUTPUT_LOST
    finally:
        os._exit(code)


def run_and_leave(function: Callable[[], None]) -> NoReturn:
    """Runs ``function`` in this process, a copy of another, and ends it as a program ends that runs nothing else.

    Whatever happens: what comes back from here would go on as the process that was copied.
    """
    code = 1
    try:
        function()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        leave(code)


def leave_within(seconds: float, code: int = 0) -> None:
    """Ends this process, which was told to stop, with ``code`` and like a kill, when it has not ended by then.

    By a thread: what does not answer (Temporal, or a database in the middle of a query) may hold up the event loop and
    the end of the interpreter alike.  A kill loses nothing.
    """

    def tell() -> None:
        import structlog  # heavy, and for this alone

        structlog.get_logger("processes").warning("leaves without the answers that it waits for", seconds=seconds)

    def give_up() -> None:
        # By itself: whoever takes what is logged may have stopped to do so.
        threading.Thread(target=tell, daemon=True).start()
        time.sleep(SECONDS_TO_TELL)
        os._exit(code)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
