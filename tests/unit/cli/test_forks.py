"""Parts that are copies of their supervisor, which has loaded what they need, with real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli import forks
from cli.supervisor import Part, Supervisor
from tests.unit.cli.test_supervisor import eventually, is_alive, pids, stop_all

PART = """
import json, os, pathlib, signal, sys, threading, time

FOLDER = pathlib.Path({folder!r})
LOADED_BY = os.getpid()


def sleeps():
    told = {{"loaded_by": LOADED_BY, "environment": dict(os.environ), "threads": threading.active_count()}}
    told["group"] = os.getpgid(0)
    told["open"] = {{number: os.readlink(f"/proc/self/fd/{{number}}") for number in os.listdir("/proc/self/fd")
                    if os.path.lexists(f"/proc/self/fd/{{number}}")}}
    draft = FOLDER / f"draft-{{os.getpid()}}"
    draft.write_text(json.dumps(told))
    draft.rename(FOLDER / f"told-{{os.getpid()}}")
    time.sleep(600)


def leaves():
    sys.exit(7)


def breaks():
    raise ValueError("it broke")


def stops():
    import rich

    def stop(*_):
        print("stops", flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    print("works with", rich.__name__, flush=True)
    time.sleep(600)


def speaks():
    print("to stdout")
    print("to stderr", file=sys.stderr)


def whispers():
    print("to stdout alone")


def loops():
    import asyncio

    async def ask():
        program = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "print('of a program')",
                                                       stdout=asyncio.subprocess.PIPE)
        print((await program.communicate())[0], program.returncode, flush=True)

    asyncio.run(ask())
    time.sleep(600)
"""

pytestmark = pytest.mark.skipif(not forks.available(), reason="processes are copied on Linux alone")


@dataclass(frozen=True, slots=True)
class Supervised:
    """A supervisor in a process of its own (``tests.unit.cli.supervised``)."""

    process: subprocess.Popen[str]

    async def ended(self, code: int = 0) -> str:
        """What it has printed when it has ended, with ``code``."""
        await eventually(lambda: self.process.poll() is not None)
        assert self.process.stdout is not None
        told = self.process.stdout.read()
        assert self.process.returncode == code, told
        return told


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Starts supervisors of parts that are ``name:function``; they are killed after the test."""
    (tmp_path / "part.py").write_text(PART.format(folder=str(tmp_path)))
    made: list[subprocess.Popen[str]] = []

    def start(*parts: str, environment: Mapping[str, str] | None = None) -> Supervised:
        paths = os.pathsep.join([str(tmp_path), str(Path.cwd())])
        given = {**os.environ, "PYTHONPATH": paths, "OF_SUPERVISOR": "not theirs"}
        given["OF_PARTS"] = json.dumps(dict(environment or {}))
        given.pop("PYTHONUNBUFFERED", None)
        given[""] = "a variable without a name"
        line = [sys.executable, "-m", "tests.unit.cli.supervised", str(tmp_path), *parts]
        made.append(subprocess.Popen(line, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return Supervised(made[-1])

    yield start
    for process in made:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def running(folder: Path, *names: str) -> dict[str, int]:
    """The process ids, once ``names`` run."""
    await eventually(lambda: (folder / "run.json").exists() and {*names} <= pids(folder).keys())
    return pids(folder)


async def again(folder: Path, name: str, before: int) -> dict[str, int]:
    """The process ids, once ``name`` has another one than ``before``."""
    await eventually(lambda: pids(folder)[name] != before)
    return pids(folder)


async def told(folder: Path, pid: int) -> dict[str, object]:
    """What the part with the process id ``pid`` said of itself."""
    await eventually((folder / f"told-{pid}").exists)
    found: dict[str, object] = json.loads((folder / f"told-{pid}").read_text())
    return found


def shown(pid: int, what: str) -> str:
    """What the kernel shows of a process."""
    return Path(f"/proc/{pid}/{what}").read_text().strip("\0\n")


async def test_copy_is_a_process_of_its_own(supervise: Supervise, tmp_path: Path) -> None:
    """It has its own id, group and name, the environment that it was given, and what was loaded before.

    What has no name cannot be taken out of an environment.
    """
    supervise("one:sleeps", environment={"GIVEN": "by the supervisor"})
    found = await running(tmp_path, "one")
    said = await told(tmp_path, found["one"])
    assert said["loaded_by"] == found["supervisor"] != found["one"]
    assert (said["group"], said["threads"]) == (found["one"], 1)
    assert said["environment"] == {"GIVEN": "by the supervisor", "": "a variable without a name"}
    log = str(tmp_path / "one.log")
    assert said["open"] == {"0": os.devnull, "1": log, "2": log}


async def test_kernel_shows_what_the_copy_is(supervise: Supervise, tmp_path: Path) -> None:
    """Its name and arguments are its own, and nothing is shown of the environment of its supervisor."""
    supervise("one:sleeps")
    found = await running(tmp_path, "one")
    await told(tmp_path, found["one"])
    assert (shown(found["one"], "comm"), shown(found["one"], "cmdline")) == ("stn-one", "stanchion: one")
    assert shown(found["one"], "environ") == ""
    assert "OF_SUPERVISOR" in shown(found["supervisor"], "environ")


async def test_killed_copy_is_made_again(supervise: Supervise, tmp_path: Path) -> None:
    """After kill -9 another copy of the same process runs."""
    supervise("one:sleeps", "two:sleeps")
    before = await running(tmp_path, "one", "two")
    os.kill(before["one"], signal.SIGKILL)
    after = await again(tmp_path, "one", before["one"])
    assert (await told(tmp_path, after["one"]))["loaded_by"] == before["supervisor"]
    assert after["two"] == before["two"]


async def test_copies_die_with_their_supervisor(supervise: Supervise, tmp_path: Path) -> None:
    """When it is killed, they end too."""
    supervised = supervise("one:sleeps", "two:sleeps")
    found = await running(tmp_path, "one", "two")
    supervised.process.kill()
    await eventually(lambda: not any(is_alive(pid) for pid in found.values()))


@pytest.mark.parametrize(("function", "ending"), [("leaves", "exit code 7"), ("breaks", "exit code 1")])
async def test_end_of_a_copy_is_told(supervise: Supervise, tmp_path: Path, function: str, ending: str) -> None:
    """How it ended is what a program that ends so would say; what it raised stands in its log."""
    assert (await supervise(f"one:{function}").ended()).splitlines()[-1].endswith(ending)
    assert ("ValueError: it broke" in (tmp_path / "one.log").read_text()) == (function == "breaks")


async def test_copy_prints_into_its_own_log(supervise: Supervise, tmp_path: Path) -> None:
    """Each part has its own file, and prints nothing of what its supervisor was about to print."""
    said = await supervise("one:sleeps", "two:speaks").ended()
    assert said.splitlines()[-1] == "two ended 4 times, the last time with exit code 0"
    assert sorted((tmp_path / "two.log").read_text().splitlines()) == ["to stderr"] * 4 + ["to stdout"] * 4
    assert (tmp_path / "one.log").read_text() == ""
    assert said.count("in a buffer") == 1


async def test_copy_takes_signals_and_libraries_as_any_process(supervise: Supervise, tmp_path: Path) -> None:
    """A part that is told to stop does so in its own way, with a library that is of no use to what loads it."""
    supervise("one:stops")
    before = await running(tmp_path, "one")
    await eventually(lambda: "works" in (tmp_path / "one.log").read_text())
    os.kill(before["one"], signal.SIGTERM)
    await again(tmp_path, "one", before["one"])
    assert (tmp_path / "one.log").read_text().startswith("works with rich\nstops\n")


async def test_copy_has_an_event_loop_of_its_own(supervise: Supervise, tmp_path: Path) -> None:
    """It starts one though it is made in the middle of another, and waits in it for programs."""
    supervise("a-program", "one:loops")
    await running(tmp_path, "one")
    await eventually(lambda: (tmp_path / "one.log").read_text() == "b'of a program\\n' 0\n")


async def test_what_cannot_be_loaded_is_named(supervise: Supervise, tmp_path: Path) -> None:
    """A module or a function that is not there ends the start with a sentence; the log says where."""
    said = await supervise("one:sleeps", "two:nowhere").ended()
    assert "part:nowhere: AttributeError: module 'part' has no attribute 'nowhere'" in said
    assert "Traceback" in (tmp_path / "one.log").read_text()


@pytest.mark.parametrize(("function", "code"), [("speaks", 1), ("whispers", 120)])
async def test_copy_that_cannot_print_ends(supervise: Supervise, tmp_path: Path, function: str, code: int) -> None:
    """On a full disk it ends like any process that runs Python, and does not go on as a second supervisor."""
    (tmp_path / "one.log").symlink_to("/dev/full")
    said = (await supervise(f"one:{function}").ended()).splitlines()
    again = [f"one ended with exit code {code}; it is started again in {pause} s" for pause in (0.1, 0.2, 0.4)]
    assert said == ["in a buffer", *again, f"one ended 4 times, the last time with exit code {code}"]


async def test_without_pidfd_parts_are_programs(
    supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a system that cannot wait for a copy without a thread, everything starts and stops all the same."""
    monkeypatch.setenv("WITHOUT_PIDFD", "1")
    supervised = supervise("a-program", "one:sleeps")
    found = await running(tmp_path, "a-program", "one")
    await eventually(lambda: shown(found["one"], "cmdline").endswith("time.sleep(600)"))
    supervised.process.send_signal(signal.SIGTERM)
    await supervised.ended()
    assert [name for name, pid in found.items() if is_alive(pid)] == []


async def test_end_of_a_copy_is_noticed_where_sigchld_is_ignored(
    supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who starts the supervisor may ignore SIGCHLD, and it inherits that: what died is started again, and it stops."""
    monkeypatch.setenv("WITHOUT_SIGCHLD", "1")
    supervised = supervise("one:sleeps")
    before = await running(tmp_path, "one")
    os.kill(before["one"], signal.SIGKILL)
    await again(tmp_path, "one", before["one"])
    supervised.process.send_signal(signal.SIGTERM)
    assert "one ended with exit code 255" in await supervised.ended()


async def test_stop_ends_everything(supervise: Supervise, tmp_path: Path) -> None:
    """Parts get SIGTERM, and the supervisor ends after them."""
    supervised = supervise("one:sleeps", "two:sleeps")
    found = await running(tmp_path, "one", "two")
    supervised.process.send_signal(signal.SIGTERM)
    await supervised.ended()
    assert [name for name, pid in found.items() if is_alive(pid)] == []


async def test_copy_that_is_told_to_stop_at_once_stops(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM that comes before the copy has settled in is not lost: nobody would send it again."""
    monkeypatch.setenv("AT_ONCE", "20")
    await supervise("one:sleeps").ended()


async def test_process_with_threads_is_not_copied(tmp_path: Path) -> None:
    """A copy might wait for ever for what a thread had locked: the part is a program of its own."""
    line = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    parts = [Part("one", line, dict(os.environ), forked="not:loaded")]
    supervisor = Supervisor(parts, tmp_path, tmp_path / "run.json", copies=True)
    goes_on = threading.Event()
    thread = threading.Thread(target=goes_on.wait)
    thread.start()
    try:
        await supervisor.start()
        await eventually(lambda: shown(pids(tmp_path)["one"], "cmdline").endswith("time.sleep(600)"))
    finally:
        goes_on.set()
        thread.join()
        await stop_all([supervisor])


def test_loading_worker_and_api_starts_no_thread_and_opens_nothing() -> None:
    """A thread, a pipe or a connection of what is copied would be one of each copy too."""
    code = (
        "import os; before = set(os.listdir('/proc/self/fd')); import cli.work, cli.serve;"
        "print(len(os.listdir('/proc/self/task')), sorted(set(os.listdir('/proc/self/fd')) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "1 []\n"
