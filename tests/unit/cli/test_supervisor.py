"""Keeping processes running, with real ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from cli.supervisor import DEATHS_BEFORE_READY, Part, Supervisor

SLEEPS = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def part(name: str, code: str, **options: float) -> Part:
    """A part that runs the Python program ``code``."""
    return Part(name, [sys.executable, "-S", "-c", code], dict(os.environ), **options)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    """True while the process runs; one that has ended and was not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits until ``condition`` is true; the test's own failure after 20 s."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        await asyncio.sleep(0.02)


@pytest.fixture
async def notes() -> list[str]:
    """What a supervisor noted."""
    return []


@pytest.fixture
async def supervise(tmp_path: Path, notes: list[str]) -> AsyncIterator[Callable[..., Supervisor]]:
    """Makes supervisors that are stopped after the test, in a hurry."""
    made: list[Supervisor] = []

    def make(*parts: Part) -> Supervisor:
        made.append(Supervisor(parts, state_file=tmp_path / "run.json", on_note=notes.append))
        return made[-1]

    yield make
    await stop_all(made)


async def stop_all(made: Iterable[Supervisor]) -> None:
    """Stops them in a hurry."""
    hurry = asyncio.Event()
    hurry.set()
    for supervisor in made:
        await supervisor.stop(hurry)


def pids(folder: Path) -> dict[str, int]:
    """The process ids of the state file."""
    found: dict[str, int] = json.loads((folder / "run.json").read_text())["pids"]
    return found


async def test_killed_part_is_started_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """After kill -9 the part runs again, under a process id that the state file tells."""
    supervisor = supervise(part("one", SLEEPS))
    await supervisor.start()
    supervisor.ready()
    first = pids(tmp_path)["one"]
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: pids(tmp_path)["one"] != first)
    assert is_alive(pids(tmp_path)["one"])


async def test_death_is_noted(supervise: Callable[..., Supervisor], tmp_path: Path, notes: list[str]) -> None:
    """The operator reads what ended, how, and when it is started again."""
    supervisor = supervise(part("one", SLEEPS))
    await supervisor.start()
    os.kill(pids(tmp_path)["one"], signal.SIGKILL)
    await eventually(lambda: bool(notes))
    assert notes == ["one ended with signal SIGKILL; it is started again in 0.1 s"]


async def test_part_that_never_comes_up_is_given_up(supervise: Callable[..., Supervisor]) -> None:
    """Before the installation was ready, a part that keeps dying ends the start with a reason."""
    supervisor = supervise(part("bad", "raise SystemExit(3)"))
    await supervisor.start()
    why = await asyncio.wait_for(supervisor.failure(), 20)
    assert why == f"bad ended {DEATHS_BEFORE_READY} times, the last time with exit code 3"


async def test_parts_are_stopped_in_reverse_order(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """What was started last is asked to stop first, and has ended before the next is asked."""
    log = tmp_path / "log"
    code = (
        "import pathlib, signal, sys, time\n"
        f"log = open({str(log)!r}, 'a')\n"
        "def end(*_):\n    print(NAME, 'ends', file=log, flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print(NAME, 'runs', file=log, flush=True)\n"
        "time.sleep(600)\n"
    )
    supervisor = supervise(*[part(name, f"NAME = {name!r}\n{code}") for name in ("first", "second")])
    await supervisor.start()
    await eventually(lambda: log.exists() and log.read_text().count("runs") == 2)
    await supervisor.stop()
    assert log.read_text().splitlines()[2:] == ["second ends", "first ends"]


async def test_part_that_does_not_end_is_killed(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """A part that ignores SIGTERM is killed after its time."""
    supervisor = supervise(part("stubborn", STUBBORN, stop_seconds=0.3))
    await supervisor.start()
    stubborn = pids(tmp_path)["stubborn"]
    await asyncio.sleep(0.3)
    await supervisor.stop()
    assert not is_alive(stubborn)


async def test_hurry_kills_at_once(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """A second signal does not wait for a part that takes its time."""
    supervisor = supervise(part("stubborn", STUBBORN, stop_seconds=600))
    await supervisor.start()
    stubborn = pids(tmp_path)["stubborn"]
    hurry = asyncio.Event()
    hurry.set()
    await asyncio.wait_for(supervisor.stop(hurry), 20)
    assert not is_alive(stubborn)


async def test_children_of_a_part_end_with_it(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """What a killed part had started itself does not go on beside its successor."""
    note = tmp_path / "grandchild"
    code = (
        "import pathlib, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {SLEEPS!r}])\n"
        f"note = pathlib.Path({str(note)!r})\n"
        "note.exists() or note.write_text(f'{child.pid}\\n')\n"
        "time.sleep(600)\n"
    )
    supervisor = supervise(part("parent", code))
    await supervisor.start()
    await eventually(lambda: note.exists() and note.read_text().endswith("\n"))
    os.kill(pids(tmp_path)["parent"], signal.SIGKILL)
    await eventually(lambda: not is_alive(int(note.read_text())))


def test_no_part_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor takes its parts with it."""
    code = (
        "import asyncio, os, sys\nfrom pathlib import Path\nfrom cli.supervisor import Part, Supervisor\n"
        "async def main():\n"
        f"    part = Part('one', [sys.executable, '-S', '-c', {SLEEPS!r}], dict(os.environ))\n"
        f"    await Supervisor([part], state_file=Path({str(tmp_path / 'run.json')!r})).start()\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as supervisor:
        asyncio.run(eventually((tmp_path / "run.json").exists))
        one = pids(tmp_path)["one"]
        assert is_alive(one)
        supervisor.kill()
    asyncio.run(eventually(lambda: not is_alive(one)))
