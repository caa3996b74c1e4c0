"""A machine of its own for a page: its network, its processes and its names, so that its commands run as they stand.

Port 8080 is free in there, `web-07.example.com` has an address, and nothing that is started outlives it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.docs.blocks import ROOT

PATIENCE_SECONDS = 180
"""For one block beside a busy suite; only what hangs reaches it."""
READY = ("is ready: ", "docs world is up")


class World:
    """The namespaces, and in them a folder that looks like a checkout of the repository."""

    def __init__(self, folder: Path, *extras: str) -> None:
        self.folder, self._extras = folder, extras
        self._started: list[subprocess.Popen[bytes]] = []
        self._pid = 0
        self._numbers = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "home").mkdir()
        line = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if os.geteuid() != 0:
            line.append("--map-root-user")
        log = self.folder / "world.log"
        process = self._popen(
            [*line, sys.executable, "-m", "tests.docs.services", str(self.folder), *self._extras], log, ROOT
        )
        wait_for(log, READY[1], process)
        self._pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._started):
            if process.stdin is not None:
                process.stdin.close()
            process.kill()
            process.wait()

    def package(self, name: str, source: Path) -> Path:
        """A copy of ``source``, the folder of a package that is to be installed."""
        return Path(shutil.copytree(source, self.folder / name))

    def checkout(self, name: str, data: Path | None = None) -> Path:
        """A folder with everything of the repository, and the installed packages in ``.venv``.

        ``data``: of a server that runs already.
        """
        made = self.folder / name
        (made / ".venv").mkdir(parents=True)
        for entry in ROOT.iterdir():
            if entry.name not in {".venv", ".git", "data", "build", ".env", "secrets"}:
                (made / entry.name).symlink_to(entry)
        for entry in Path(sys.prefix).iterdir():
            if entry.name != ".installed":
                (made / ".venv" / entry.name).symlink_to(entry)
        (made / ".venv" / ".installed").touch()  # the suite runs with it, so it is installed
        if data is not None:
            (made / "data").symlink_to(data)
        return made

    def environment(self) -> dict[str, str]:
        """What a terminal has: no setting of Stanchion, and the authority of the world's certificates."""
        ours = ("STANCHION_", "TEMPORAL_", "PYTEST_", "COV_", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        trusted = {
            "SSL_CERT_FILE": str(self.folder / "authority.pem"),
            "CURL_CA_BUNDLE": str(self.folder / "authority.pem"),
        }
        return {
            **kept,
            **trusted,
            # pip installs from here, into a folder of the world; the suite's own packages stay as they are.
            "PIP_TARGET": str(self.folder / "installed"),
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # as pip has it, 0 means that there is none
            "HOME": str(self.folder / "home"),
            "COLUMNS": "160",
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
        }

    @staticmethod
    def path(folder: Path) -> str:
        """The search path of a terminal in which ``.venv/bin/activate`` was sourced."""
        return f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}"

    def start(self, script: Path, folder: Path, extra: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
        """Runs a script of bash in ``folder``, in a process group of its own; returns it and its output's file."""
        log = self.next_file("terminal.log")
        line = [
            "nsenter",
            f"--target={self._pid}",
            "--net",
            "--mount",
            "--pid",
            f"--wdns={folder}",
            "bash",
            str(script),
        ]
        return self._popen(line, log, folder, {**self.environment(), **extra}), log

    def next_file(self, kind: str) -> Path:
        """A path that nobody has yet."""
        self._numbers += 1
        return self.folder / f"{self._numbers}-{kind}"

    def _popen(
        self, line: list[str], log: Path, folder: Path, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            process = subprocess.Popen(
                line,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        self._started.append(process)
        return process


def wait_for(file: Path, word: str, process: subprocess.Popen[bytes]) -> None:
    """Waits until ``word`` stands in ``file``.  Raises AssertionError with the file when the process ends before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (file.exists() and word in file.read_text(errors="replace")):
        assert process.poll() is None, f"it ended with {process.returncode}:\n{file.read_text(errors='replace')}"
        assert time.monotonic() < deadline, f"no {word!r}:\n{file.read_text(errors='replace')}"
        time.sleep(0.05)
