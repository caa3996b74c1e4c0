"""A Stanchion whose processes speak to each other over links that a test holds and cuts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
from temporalio.client import Client

from engine.client import connect_patiently
from engine.namespace import prepare_namespace
from settings import Settings
from storage.migrate import migrate
from tests.conftest import free_port
from tests.failures.link import Link
from tests.failures.namespaces import Network
from tests.house import House
from tests.postgres import PostgresServer

LINKS: Final = ("api-temporal", "worker-temporal", "api-database", "worker-database")
PATIENCE: Final = 60.0
"""Seconds after which something that should happen counts as never."""


@dataclass
class Site:
    """The processes, the database beneath them, and the links between them."""

    house: House
    postgres: PostgresServer | None
    links: dict[str, Link]
    own: Settings
    """For the test itself, past every link."""
    files: Path
    """What the test itself reads and writes, on a disk that is not full."""
    network: Network | None = None
    temporal: Client | None = None
    locker: sqlite3.Connection | None = None

    async def connect(self) -> Client:
        """The test's own client of Temporal."""
        if self.temporal is None:
            self.temporal = await connect_patiently(self.own)
        return self.temporal

    def file(self, name: str) -> Path:
        """A file of the test."""
        return self.files / name

    async def post(self, path: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> httpx2.Response:
        """POSTs once.  Raises ``httpx2.TransportError`` where no answer comes."""
        headers = {"Idempotency-Key": key} if key else {}
        async with self.house.http as http:
            return await http.post(path, json=body or {}, headers=headers)

    async def insist(self, path: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> httpx2.Response:
        """POSTs as a good client does: again after 503 and where no answer came."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    answer = await self.post(path, body, key=key)
                    if answer.status_code != 503:
                        return answer
                await asyncio.sleep(0.1)

    async def glance(self, execution: str, timeout: float = 8.0) -> str:
        """What a client sees of an execution at this moment: its state, ``503``, or ``no answer``."""
        try:
            async with self.house.http as http:
                answer = await http.get(f"/api/playbooks/executions/{execution}", timeout=timeout)
        except httpx2.TransportError:
            return "no answer"
        return str(answer.json()["status"]) if answer.status_code == 200 else str(answer.status_code)

    async def until(self, condition: Any, what: str) -> None:
        """Waits for ``condition``, a coroutine function or a function.  Raises ``TimeoutError`` naming ``what``."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            await asyncio.sleep(0.05)

    def freeze(self, *names: str) -> None:
        """SIGSTOP, the children too."""
        for pid in self._pids(*names):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, *names: str) -> None:
        """SIGCONT."""
        for pid in self._pids(*names):
            os.kill(pid, signal.SIGCONT)

    def _pids(self, *names: str) -> list[int]:
        found: list[int] = []
        for name in names:
            top = self.postgres.pid if name == "database" and self.postgres else self.house.pid(name)
            children = Path(f"/proc/{top}/task/{top}/children").read_text().split()
            found += [top, *(int(child) for child in children)]
        return found

    async def close(self) -> None:
        """Ends everything."""
        for link in self.links.values():
            await link.close()
        self.house.close()
        if self.postgres is not None:
            self.postgres.remove()


@contextlib.asynccontextmanager
async def site(
    folder: Path, *, on_postgres: bool, network: Network | None = None, **options: Any
) -> AsyncIterator[Site]:
    """A site that serves, on Postgres or on SQLite; ``options`` go to the house.

    With ``network``, API and worker are hosts of their own there.
    """
    files, data = folder / "files", folder / "data"
    for made in (files, data):
        made.mkdir(exist_ok=True)
    port = free_port()
    house = House(data, temporal_port=port, **options)
    own = Settings(data_dir=data, temporal_address=f"127.0.0.1:{port}")
    built = Site(house, PostgresServer(keeps=True) if on_postgres else None, {}, own, files, network)
    try:
        _add_links(built)
        for name, link in built.links.items():
            await link.open(network.address(name) if network else "127.0.0.1")
        _tell_processes(built)
        migrate(built.own.database)
        house.start("temporal")
        await prepare_namespace(await built.connect(), 1)
        house.start("worker")
        house.start("api")
        await house.ready()
        yield built
    finally:
        await built.close()


def _add_links(built: Site) -> None:
    """A link from each process to Temporal, and to Postgres, which is started."""
    for name in ("api", "worker"):
        built.links[f"{name}-temporal"] = Link(lambda: asyncio.open_connection("127.0.0.1", built.house.temporal_port))
    if built.postgres is None:
        return
    built.postgres.start()
    url = built.postgres.url(built.postgres.create_database())
    built.own = built.own.model_copy(update={"database_url": url})
    socket = f"{url.partition('?host=')[2]}/.s.PGSQL.5432"
    for name in ("api", "worker"):
        built.links[f"{name}-database"] = Link(lambda: asyncio.open_unix_connection(socket))


def _tell_processes(built: Site) -> None:
    """Settings by which each process uses its own links."""
    house, network = built.house, built.network
    for name in ("api", "worker"):
        own = house.own.setdefault(name, {})
        own["STANCHION_TEMPORAL_ADDRESS"] = _end(built, f"{name}-temporal")
        if built.postgres is not None:
            database = built.own.database.partition("@/")[2].partition("?")[0]
            own["STANCHION_DATABASE_URL"] = (
                f"postgresql+psycopg://stanchion@{_end(built, f'{name}-database')}/{database}"
            )
        if network is not None:
            own["STANCHION_HOST"] = "0.0.0.0"
            house.before[name] = network.inside(name)
    if network is not None:
        house.host = network.address("api")


def _end(built: Site, name: str) -> str:
    """Where a process reaches the link."""
    host = built.network.address(name) if built.network else "127.0.0.1"
    return f"{host}:{built.links[name].port}"
