"""`stanchion up` as it is typed: a whole installation, its restarts and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cli.showcases import STAKEHOLDER, TICKETS

GUIDE_PLAYBOOK = "pb-11223344-5566-7788-99aa-bbccddeeff00"
GUIDE_ASSET = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
STANCHION = [sys.executable, "-m", "cli.main"]
PARTS = {"supervisor", "temporal", "worker", "api"}


@dataclass(slots=True)
class Up:
    """A running `stanchion up`, and what it said when it was ready."""

    folder: Path
    process: subprocess.Popen[str]
    said: dict[str, Any]

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return str(self.said["url"])

    def pids(self) -> dict[str, int]:
        """The process ids as they are now."""
        found: dict[str, int] = json.loads((self.folder / "run.json").read_text())["pids"]
        return found

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The outcome of another `stanchion`, with the token of the data folder."""
        environment = {**os.environ, "STANCHION_URL": self.url, "STANCHION_DATA_DIR": str(self.folder)}
        return subprocess.run([*STANCHION, *arguments], env=environment, capture_output=True, text=True, check=False)

    def serves(self) -> bool:
        """True while the API says that it is ready."""
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        return False


@contextlib.contextmanager
def up(folder: Path, *options: str, extra: dict[str, str] | None = None) -> Iterator[Up]:
    """`stanchion up` on ports of its own, ready; killed at the end if it still runs."""
    line = [*STANCHION, "up", "--data-dir", str(folder), "--port", "0", "--temporal-port", "0", "--headless"]
    line += ["--log-dir", str(folder / "logs"), "--json", *options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=clean_environment() | (extra or {})) as process:
        try:
            assert process.stdout is not None
            yield Up(folder, process, json.loads(first_document(process.stdout)))
        finally:
            process.kill()


def clean_environment() -> dict[str, str]:
    """The environment without settings of Stanchion or of Temporal."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("STANCHION_", "TEMPORAL_"))}


def first_document(lines: Iterator[str] | Any) -> str:
    """The JSON document that the supervisor prints when it is ready; it ends with an unindented brace."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip() == "}":
            return text
    raise AssertionError(f"`stanchion up` ended before it was ready: {text!r}")


def is_alive(pid: int) -> bool:
    """True while the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def shown(pid: int) -> str:
    """The command line that the kernel shows of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().strip("\0")


def eventually(condition: Callable[[], bool]) -> None:
    """Waits until ``condition`` is true; the test's own failure after 30 s."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.05)


@pytest.mark.slow
def test_sample_of_the_guide_runs_from_the_command_line(tmp_path: Path) -> None:
    """With --samples, the guide's playbook runs on the guide's asset and completes."""
    with up(tmp_path, "--samples") as running:
        done = running.command("run", GUIDE_PLAYBOOK, GUIDE_ASSET, "--watch", "--json")
        assert done.returncode == 0, done.stderr + done.stdout
    names = [(step["name"], step["status"]) for step in json.loads(done.stdout)["steps"]]
    steps = ["Enrich finding", "Notify Slack", "Apply remediation", "Verify fix"]
    assert names == [(name, "completed") for name in steps]


@pytest.mark.slow
def test_sigterm_ends_everything_with_0(tmp_path: Path) -> None:
    """After SIGTERM nothing of the installation runs any more, and the exit code says that it was wanted."""
    with up(tmp_path) as running:
        pids = running.pids()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
    assert set(pids) == PARTS
    assert [name for name, pid in pids.items() if is_alive(pid)] == []
    assert not (tmp_path / "run.json").exists()


@pytest.mark.slow
def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor takes every part with it, and the folder can be used again with what it holds."""
    with up(tmp_path, "--samples") as running:
        pids = running.pids()
        running.process.kill()
        eventually(lambda: not any(is_alive(pid) for pid in pids.values()))
    with up(tmp_path, "--samples") as again:
        listed = json.loads(again.command("playbook", "list", "--json").stdout)
    assert [one["revision"] for one in listed["data"]] == [1] * 4


@pytest.mark.slow
@pytest.mark.parametrize("part", ["api", "worker", "temporal"])
def test_killed_part_comes_again_at_its_place(tmp_path: Path, part: str) -> None:
    """A part that is killed is started again, as what it was; the URL stays, and a run completes."""
    with up(tmp_path, "--samples") as running:
        was = shown(running.pids()[part])
        before = running.pids()
        os.kill(before[part], signal.SIGKILL)
        eventually(lambda: running.pids()[part] != before[part])
        eventually(running.serves)
        done = running.command("run", GUIDE_PLAYBOOK, GUIDE_ASSET, "--watch")
        assert (done.returncode, done.stderr) == (0, "")
        assert shown(running.pids()[part]) == was


@pytest.mark.slow
@pytest.mark.parametrize("way", ["variable", "file", "made"])
def test_admin_token_stands_in_no_environment(tmp_path: Path, way: str) -> None:
    """Worker and API are copies, but the kernel shows nothing of the environment of what they are copied from."""
    token = "stn_not-to-be-seen-anywhere"
    (tmp_path / "secret").write_text(f"{token}\n")
    extra = {"variable": {"STANCHION_ADMIN_TOKEN": token}, "file": {"STANCHION_ADMIN_TOKEN_FILE": f"{tmp_path}/secret"}}
    with up(tmp_path / "data", "--samples", extra=extra.get(way, {})) as running:
        if way == "made":
            token = (tmp_path / "data" / "admin-token").read_text().strip()
        pids = running.pids().items()
        seen = {name for name, pid in pids if token in Path(f"/proc/{pid}/environ").read_text()}
        copies = {name: shown(running.pids()[name]) for name in ("worker", "api")}
        answer = httpx2.get(f"{running.url}/api/playbooks", headers={"Authorization": f"Bearer {token}"})
    assert len(answer.json()["data"]) == 4
    assert seen == ({"supervisor"} if way == "variable" else set())
    assert copies == {"worker": "stanchion: worker", "api": "stanchion: api"}


@pytest.mark.slow
def test_parent_that_ignores_its_children_changes_nothing(tmp_path: Path) -> None:
    """SIGCHLD is inherited as ignored: how a program has ended is known all the same, the one with the samples too."""
    mine = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with up(tmp_path, "--samples") as running:
            signal.signal(signal.SIGCHLD, mine)
            listed = json.loads(running.command("playbook", "list", "--json").stdout)
    finally:
        signal.signal(signal.SIGCHLD, mine)
    assert len(listed["data"]) == 4


@pytest.mark.slow
def test_second_installation_on_the_folder_is_refused(tmp_path: Path) -> None:
    """The second one ends with a sentence and exit code 1, the first one goes on."""
    with up(tmp_path) as running:
        line = [*STANCHION, "up", "--data-dir", str(tmp_path), "--port", "0", "--temporal-port", "0"]
        second = subprocess.run(line, capture_output=True, text=True, check=False, env=clean_environment())
        assert running.serves()
    assert second.returncode == 1
    assert second.stderr.startswith(f"The data folder {tmp_path} is in use by another server")
    assert second.stderr.count("\n") == 1


@pytest.mark.slow
def test_demo_ends_by_itself_with_0() -> None:
    """The demo rehearses without any effect, runs with both, compares, and leaves nothing behind."""
    line = [*STANCHION, "demo", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=clean_environment())
    assert done.returncode == 0, done.stderr + done.stdout
    story = json.loads(done.stdout)
    rehearsal, live = story["scenes"]
    assert {one["method"] for one in rehearsal["received"]} <= {"GET", "HEAD"}
    assert {one["path"] for one in live["received"] if one["method"] == "POST"} == {"/slack", TICKETS}
    assert [scene["execution"]["dry_run"] for scene in story["scenes"]] == [True, False]


@pytest.mark.slow
def test_demo_of_all_playbooks_ends_by_itself_with_0() -> None:
    """Each is rehearsed without any effect and run with its own, on a machine that has apt but no Lynis."""
    environment = {**clean_environment(), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    line = [*STANCHION, "demo", "--all", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout
    told = {one["playbook"]: one for one in json.loads(done.stdout)["playbooks"]}
    assert list(told) == ["incident-triage", "automated-patching", "compliance-check"]
    assert [one["skipped"] for one in told.values()] == [False] * 3
    for one in told.values():
        rehearsal, live = one["scenes"]
        assert {request["method"] for request in rehearsal["received"]} <= {"GET", "HEAD"}
        assert [scene["execution"]["status"] for scene in (rehearsal, live)] == ["completed"] * 2
    mails = [one for one in told["compliance-check"]["scenes"][1]["received"] if one["path"] == STAKEHOLDER]
    assert [mail["body"]["attachments"] for mail in mails] == [["compliance.html"]]
    assert "apt-get install lynis" in told["compliance-check"]["notes"][0]
