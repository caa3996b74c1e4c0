"""Parts that are copies of a process that has loaded what they need, with real ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from cli.forks import Forks
from cli.supervisor import Part, StartError, Supervisor
from tests.unit.cli.test_supervisor import eventually, is_alive, pids, stop_all

PART = """
import json, os, pathlib, signal, sys, threading, time

FOLDER = pathlib.Path({folder!r})
LOADED_BY = os.getpid()


def sleeps():
    told = {{"loaded_by": LOADED_BY, "environment": dict(os.environ), "threads": threading.active_count()}}
    told["group"] = os.getpgid(0)
    told["comm"] = pathlib.Path("/proc/self/comm").read_text().strip()
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
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")


@pytest.fixture
def forks(tmp_path: Path) -> Forks:
    """A process that can load the module ``part``."""
    (tmp_path / "part.py").write_text(PART.format(folder=str(tmp_path)))
    return Forks({**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]), "OF_FORKS": "1"})


@pytest.fixture
async def supervise(tmp_path: Path, forks: Forks) -> AsyncIterator[Callable[..., Supervisor]]:
    """Makes a supervisor that is stopped after the test, in a hurry."""
    made: list[Supervisor] = []

    def make(*parts: Part) -> Supervisor:
        made.append(Supervisor(parts, tmp_path, tmp_path / "run.json", on_note=lambda _: None, forks=forks))
        return made[-1]

    yield make
    await stop_all(made)


def part(name: str, function: str, environment: Mapping[str, str] | None = None, **options: float) -> Part:
    """A part that runs ``function`` of the module of these tests."""
    return Part(name, [], dict(environment or {}), forked=f"part:{function}", **options)  # type: ignore[arg-type]


async def told(folder: Path, pid: int) -> dict[str, object]:
    """What the part with the process id ``pid`` said of itself."""
    await eventually((folder / f"told-{pid}").exists)
    found: dict[str, object] = json.loads((folder / f"told-{pid}").read_text())
    return found


async def test_copy_is_a_process_of_its_own(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """It has its own id, group and name, the environment that it was given and no other, and what was loaded before."""
    supervisor = supervise(part("one", "sleeps", {"GIVEN": "x" * 400_000}))
    await supervisor.start()
    found = pids(tmp_path)
    said = await told(tmp_path, found["one"])
    assert said["loaded_by"] == found["forkserver"] != found["one"]
    assert said["group"] == found["one"]
    assert (said["comm"], said["threads"]) == ("stn-one", 1)
    assert said["environment"] == {"GIVEN": "x" * 400_000}


async def test_killed_copy_is_made_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """After kill -9 another copy of the same process runs."""
    supervisor = supervise(part("one", "sleeps"))
    await supervisor.start()
    before = pids(tmp_path)
    os.kill(before["one"], signal.SIGKILL)
    await eventually(lambda: pids(tmp_path)["one"] != before["one"])
    after = pids(tmp_path)
    assert after["forkserver"] == before["forkserver"]
    assert (await told(tmp_path, after["one"]))["loaded_by"] == before["forkserver"]


async def test_copies_die_with_what_they_are_copied_from(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """When the process that they are copied from is killed, they end too, and all of it is started anew."""
    supervisor = supervise(part("one", "sleeps"), part("two", "sleeps"))
    await supervisor.start()
    supervisor.ready()
    before = pids(tmp_path)
    os.kill(before["forkserver"], signal.SIGKILL)
    await eventually(lambda: not set(pids(tmp_path).values()) - {os.getpid()} & set(before.values()))
    await eventually(lambda: not any(is_alive(pid) for name, pid in before.items() if name != "supervisor"))
    after = pids(tmp_path)
    assert after.keys() == before.keys()
    for name in ("one", "two"):
        assert (await told(tmp_path, after[name]))["loaded_by"] == after["forkserver"]


@pytest.mark.parametrize(("function", "ending"), [("leaves", "exit code 7"), ("breaks", "exit code 1")])
async def test_end_of_a_copy_is_told(
    supervise: Callable[..., Supervisor], tmp_path: Path, function: str, ending: str
) -> None:
    """How it ended is what a program that ends so would say; what it raised stands in its log."""
    supervisor = supervise(part("one", function))
    await supervisor.start()
    assert (await asyncio.wait_for(supervisor.failure(), 60)).endswith(ending)
    assert ("ValueError: it broke" in (tmp_path / "one.log").read_text()) == (function == "breaks")


async def test_copy_prints_into_its_own_log(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """Each part has its own file, though both are copies of one process."""
    supervisor = supervise(part("one", "sleeps"), part("two", "speaks"))
    await supervisor.start()
    await eventually(lambda: "to stdout" in (tmp_path / "two.log").read_text())
    assert "to stderr" in (tmp_path / "two.log").read_text()
    assert (tmp_path / "one.log").read_text() == ""


async def test_copy_takes_signals_and_libraries_as_any_process(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """What is told to all processes at once stops the parts in their own way, each by itself."""
    supervisor = supervise(part("one", "stops"))
    await supervisor.start()
    before = pids(tmp_path)
    await eventually(lambda: "works" in (tmp_path / "one.log").read_text())
    os.kill(before["forkserver"], signal.SIGTERM)
    os.kill(before["one"], signal.SIGTERM)
    await eventually(lambda: pids(tmp_path)["one"] != before["one"])
    assert (tmp_path / "one.log").read_text().startswith("works with rich\nstops\n")
    assert pids(tmp_path)["forkserver"] == before["forkserver"]


async def test_stop_does_not_wait_for_news_that_do_not_come(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """What the parts are copied from is stuck: they are killed, and so is it."""
    supervisor = supervise(part("one", "sleeps"))
    await supervisor.start()
    found = pids(tmp_path)
    os.kill(found["forkserver"], signal.SIGSTOP)
    await asyncio.wait_for(supervisor.stop(), 60)
    assert [name for name, pid in found.items() if is_alive(pid)] == ["supervisor"]


async def test_start_does_not_wait_for_ever(
    supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the parts are copied from gives no answer: the start ends with a sentence."""
    monkeypatch.setattr("cli.forks.ANSWER_SECONDS", 0.0)
    with pytest.raises(StartError, match=r"one cannot be started: .* gave no answer in 0 s"):
        await supervise(part("one", "sleeps")).start()


async def test_what_cannot_be_loaded_is_named(supervise: Callable[..., Supervisor]) -> None:
    """A module or a function that is not there ends the start with a sentence."""
    supervisor = supervise(part("one", "nowhere"))
    with pytest.raises(StartError, match=r"one cannot be started: .*'nowhere'"):
        await supervisor.start()


async def test_stop_ends_everything(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """Parts get SIGTERM, and what they were copied from has gone too."""
    supervisor = supervise(part("one", "sleeps", stop_seconds=600))
    await supervisor.start()
    found = pids(tmp_path)
    await asyncio.wait_for(supervisor.stop(), 60)
    assert [name for name, pid in found.items() if is_alive(pid)] == ["supervisor"]


async def test_copy_that_is_told_to_stop_at_once_stops(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """SIGTERM that comes before the copy has settled in is not lost: nobody would send it again."""
    supervisor = supervise(part("one", "sleeps", stop_seconds=600))
    for _ in range(20):
        await supervisor.start()
        found = pids(tmp_path)
        await asyncio.wait_for(supervisor.stop(), 60)
        assert [name for name, pid in found.items() if is_alive(pid)] == ["supervisor"]


async def test_start_that_is_given_up_leaves_no_copy(forks: Forks, tmp_path: Path) -> None:
    """Whoever asked for a copy and does not wait for it leaves nothing behind."""
    with (tmp_path / "log").open("ab") as log:
        asked = asyncio.create_task(forks.start("one", "part:sleeps", {}, log.fileno()))
        await eventually(lambda: forks.pid is not None)
        asked.cancel()
        second = await forks.start("two", "part:sleeps", {}, log.fileno())
    children = Path(f"/proc/{forks.pid}/task/{forks.pid}/children")
    await eventually(lambda: children.read_text().split() == [str(second.pid)])
    assert Path(f"/proc/{second.pid}/comm").read_text() == "stn-two\n"
    await forks.end()
    assert second.returncode == -signal.SIGKILL


def test_loading_worker_and_api_starts_no_thread_and_opens_nothing() -> None:
    """A thread, a pipe or a connection of what is copied would be one of each copy too."""
    code = (
        "import os; before = set(os.listdir('/proc/self/fd')); import cli.work, cli.serve;"
        "print(len(os.listdir('/proc/self/task')), sorted(set(os.listdir('/proc/self/fd')) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "1 []\n"
