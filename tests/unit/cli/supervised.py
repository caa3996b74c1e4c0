"""A supervisor in a process of its own, which has one thread: ``python -m tests.unit.cli.supervised FOLDER PART...``.

A part is ``name:function`` of the module ``part`` in the folder, or a ``name`` alone for a program that sleeps.  What
the supervisor notes is printed, as is what ends its start; SIGTERM stops.  Variables: ``AT_ONCE``, a number, has it
stopped at once instead, so often; ``WITHOUT_PIDFD`` is a system that has none; ``WITHOUT_SIGCHLD`` is a parent that
ignored it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from cli import forks
from cli.supervisor import Part, StartError, Supervisor


async def supervise(folder: Path, names: list[str]) -> None:
    """Runs until SIGTERM, or until a part is given up."""
    environment = json.loads(os.environ["OF_PARTS"])
    line = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    parts = [
        Part(name, line, environment, 600, forked=f"part:{function}" if function else None)
        for name, _, function in (one.partition(":") for one in names)
    ]
    supervisor = Supervisor(parts, folder, folder / "run.json", on_note=print, copies=forks.available())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    forks.wait_without_threads()
    print("in a buffer")
    for _ in range(int(os.environ.get("AT_ONCE", "0"))):
        await supervisor.start()
        await supervisor.stop()
        stop.set()
    try:
        await supervisor.start()
    except StartError as fault:
        print(fault)
        return
    stopping, failing = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(supervisor.failure())
    await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
    if failing.done():
        print(failing.result())
    await supervisor.stop()


if __name__ == "__main__":
    if "WITHOUT_PIDFD" in os.environ:
        del os.pidfd_open
    if "WITHOUT_SIGCHLD" in os.environ:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asyncio.run(supervise(Path(sys.argv[1]), sys.argv[2:]))
