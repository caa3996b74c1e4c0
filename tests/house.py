"""Stanchion as real processes, each of which a test may kill: Temporal on a file, a worker, an API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2

from engine.client import connect_patiently
from engine.embedded import EmbeddedOptions, command
from engine.namespace import prepare_namespace
from settings import Settings
from storage.migrate import migrate
from tests.conftest import PLUGINS, free_port
from tests.stack import FINAL, TOKEN

Part = Literal["temporal", "worker", "api", "next-worker"]
ROOT = Path(__file__).parent.parent


@dataclass
class House:
    """The three processes over one data folder."""

    folder: Path
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    temporal_port: int = field(default_factory=free_port)
    extra: dict[str, str] = field(default_factory=dict)
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    """Settings of one process alone, by its name."""
    before: dict[str, list[str]] = field(default_factory=dict)
    """What stands before the command of a process, by its name."""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of every process."""
        values = {
            **os.environ,
            "STANCHION_DATA_DIR": str(self.folder),
            "STANCHION_PORT": str(self.port),
            "STANCHION_TEMPORAL_ADDRESS": f"127.0.0.1:{self.temporal_port}",
            "STANCHION_ADMIN_TOKEN": TOKEN,
            "STANCHION_EGRESS_ALLOW": "127.0.0.1",
            "STANCHION_SWEEP_INTERVAL": "1",
            "PYTHONPATH": f"{ROOT}:{PLUGINS}",
            **self.extra,
        }
        if self.database_url:
            values["STANCHION_DATABASE_URL"] = self.database_url
        return values

    @property
    def settings(self) -> Settings:
        """The same settings, for the test itself."""
        return Settings(
            data_dir=self.folder,
            database_url=self.database_url,
            temporal_address=f"127.0.0.1:{self.temporal_port}",
        )

    @property
    def http(self) -> httpx2.AsyncClient:
        """A client with every permission."""
        return httpx2.AsyncClient(
            base_url=f"http://{self.host}:{self.port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        )

    def start(self, part: Part, name: str | None = None) -> None:
        """Starts a part; ``name`` tells a second one of its kind apart."""
        lines: dict[str, list[str]] = {
            "temporal": command(EmbeddedOptions(data_dir=self.folder, port=self.temporal_port)),
            "worker": [sys.executable, "-m", "worker"],
            "next-worker": [sys.executable, "-m", "tests.failures.next_worker"],
            "api": [sys.executable, "-m", "cli.main", "api"],
        }
        called = name or part
        line = [*self.before.get(called, ()), *lines[part]]
        environment = {**self.environment, **self.own.get(called, {})}
        with (self.folder / f"{called}.log").open("ab") as log:
            self._processes[called] = subprocess.Popen(line, env=environment, cwd=ROOT, stdout=log, stderr=log)

    def pid(self, name: str) -> int:
        """The process id of a part."""
        return self._processes[name].pid

    def has_ended(self, name: str) -> bool:
        """Whether the process, which was started, has ended by itself."""
        return self._processes[name].poll() is not None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to the process."""
        self._processes[name].send_signal(number)

    def kill(self, *names: str) -> None:
        """kill -9, by process id."""
        for name in names:
            process = self._processes.pop(name)
            process.kill()
            process.wait(10)

    def is_up(self, name: str) -> bool:
        """Whether the process was started and nobody has ended it."""
        return name in self._processes

    def terminate(self, name: str, timeout: float = 120) -> int:
        """SIGTERM; the exit code."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(timeout)

    async def prepare(self) -> None:
        """Starts everything and waits until it serves."""
        migrate(self.settings.database)
        self.start("temporal")
        client = await connect_patiently(self.settings)
        await prepare_namespace(client, 1)
        self.start("worker")
        self.start("api")
        await self.ready()

    async def ready(self, timeout: float = 120) -> None:
        """Waits until the API says that all it depends on is there."""
        async with self.http as http, asyncio.timeout(timeout):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await http.get("/readyz")).status_code == 200:
                        return
                for name, process in self._processes.items():
                    if process.poll() is not None:
                        raise AssertionError(f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}")
                await asyncio.sleep(0.05)

    async def post(self, path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
        """POSTs and expects ``status``."""
        async with self.http as http:
            answer = await http.post(path, json=body)
            assert answer.status_code == status, answer.text
            result: dict[str, Any] = answer.json()
            return result

    async def run(self, steps: list[dict[str, Any]], **body: Any) -> str:
        """Stores a playbook and an asset, starts a run and returns its id."""
        playbook = await self.post("/api/playbooks", {"name": os.urandom(8).hex(), "steps": steps}, 201)
        asset = await self.post("/api/assets", {"name": "web-01", "type": "host"}, 201)
        started = await self.post(f"/api/playbooks/{playbook['id']}/run", {"target_asset_id": asset["id"], **body}, 202)
        execution_id: str = started["execution_id"]
        return execution_id

    async def status(self, execution_id: str) -> dict[str, Any]:
        """The status of an execution, asked for again while the API is away."""
        async with self.http as http:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    answer = await http.get(f"/api/playbooks/executions/{execution_id}")
                    if answer.status_code == 200:
                        status: dict[str, Any] = answer.json()
                        return status
                    assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.05)

    async def until_step(self, execution_id: str, index: int, state: str, timeout: float = 120) -> dict[str, Any]:
        """The status once step ``index`` is in ``state``."""
        async with asyncio.timeout(timeout):
            while (status := await self.status(execution_id))["steps"][index]["status"] != state:
                await asyncio.sleep(0.05)
        return status

    async def finish(self, execution_id: str, timeout: float = 120) -> dict[str, Any]:
        """The status once it is final."""
        async with asyncio.timeout(timeout):
            while (status := await self.status(execution_id))["status"] not in FINAL:
                await asyncio.sleep(0.05)
        return status

    def close(self) -> None:
        """Ends whatever still runs."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(10)
        self._processes.clear()


@contextlib.asynccontextmanager
async def house(folder: Path, **options: Any) -> AsyncIterator[House]:
    """A house that serves, and is ended by its process ids."""
    built = House(folder, **options)
    try:
        await built.prepare()
        yield built
    finally:
        built.close()
