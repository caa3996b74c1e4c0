"""A real Postgres for the tests: a fresh cluster in a temporary folder, reached by a Unix socket only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import psycopg

USER = "stanchion"
START_SECONDS = 60


class PostgresServer:
    """A Postgres server of its own, as the OS user ``postgres`` when the tests run as root (it refuses root).

    One that ``keeps`` has written down what it has committed, so that a kill -9 loses nothing.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._folder = Path(tempfile.mkdtemp(prefix="stanchion-pg-"))
        self._data = self._folder / "data"
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        kind = ("-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._run("initdb", "-D", str(self._data), "-U", USER, *kind)

    def start(self) -> None:
        """Start, and return when it answers.  Raises TimeoutError with the end of its log."""
        # Durability is switched off: nothing here outlives the tests, and the disk would be most of their time.
        settings = {"listen_addresses": "", "unix_socket_directories": str(self._folder), "fsync": "off"}
        settings |= {
            "full_page_writes": "off",
            "synchronous_commit": "on" if self._keeps else "off",
            "max_connections": "200",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*as_owner(), binary("postgres"), "-D", str(self._data), *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_until_it_answers()

    @property
    def pid(self) -> int:
        """Process id of the postmaster, which runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether it was started and nobody has stopped it."""
        return self._process is not None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends connections and shuts down in order, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=START_SECONDS)
            self._process = None

    def remove(self) -> None:
        """Stop without writing anything back, and delete everything."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self._folder}"

    def create_database(self, template: str = "template0") -> str:
        """Create a database with a fresh name, as a copy of ``template``; returns its name."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")  # a third of the default's time
        return name

    def drop_database(self, name: str) -> None:
        """Delete a database, whoever is still connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement outside of any transaction, on the maintenance database."""
        with psycopg.connect(dbname="postgres", user=USER, host=str(self._folder), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.execute("SELECT 1")
            except psycopg.OperationalError as error:
                died = self._process is not None and self._process.poll() is not None
                if died or time.monotonic() > deadline:
                    log = (self._folder / "log").read_text(errors="replace")[-2000:]
                    raise TimeoutError(f"Postgres did not start: {log}") from error
                time.sleep(0.02)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [*as_owner(), binary(name), *arguments], cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")


def as_owner() -> list[str]:
    """What to put before a command of Postgres so that it does not run as root, and does not outlive the tests."""
    command = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        command += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    return command


def binary(name: str) -> str:
    """Path of a program of Postgres, the newest version's.  Raises FileNotFoundError."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is missing: run scripts/install-test-packages.sh")
    return path
