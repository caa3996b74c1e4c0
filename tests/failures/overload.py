"""More than can be served, from loopback: bursts of starts, a full queue, listeners that do not read, guessed logins.

Each function brings one overload about on a house that serves, holds it to what was promised, and answers with figures.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.house import ROOT, House
from tests.stack import FINAL, TOKEN

GOOD: Final = {"Authorization": f"Bearer {TOKEN}"}
MEGABYTE: Final = 1e6
OPERATOR: Final = {"username": "operator", "password": "correct horse battery"}
STEPS: Final = [{"id": "look", "action_ref": "core.echo", "parameters": {"host": "{{ asset.name }}"}}]


@dataclass
class Figures:
    """What came of one overload: answers by status, latencies of status reads beside it in ms, memory in MB."""

    name: str
    answers: collections.Counter[int] = field(default_factory=collections.Counter)
    reads: list[float] = field(default_factory=list)
    wrong_reads: list[str] = field(default_factory=list)
    memory: float = 0.0
    seconds: float = 0.0

    def row(self) -> str:
        """One row of a table."""
        answers = ", ".join(f"{status} × {count}" for status, count in sorted(self.answers.items()))
        p50, p99 = percentile(self.reads, 50), percentile(self.reads, 99)
        return (
            f"| {self.name} | {answers} | {p50:.0f} | {p99:.0f} | {max(self.reads, default=0):.0f} "
            f"| {self.memory:.0f} | {self.seconds:.1f} |"
        )


def percentile(values: Sequence[float], share: int) -> float:
    """The value below which ``share`` percent lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1] if len(values) > 1 else sum(values)


def resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def allow_connections() -> None:
    """As many open files as the system lets this process and its children have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.asynccontextmanager
async def client(house: House, connections: int, address: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with so many connections, from one of the addresses of loopback."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    transport = httpx2.AsyncHTTPTransport(limits=limits, local_address=address)
    url = f"http://{house.host}:{house.port}"
    timeout = httpx2.Timeout(120, pool=None)  # whoever waits for one of the connections waits as long as it takes
    async with httpx2.AsyncClient(base_url=url, transport=transport, headers=GOOD, timeout=timeout) as http:
        yield http


@contextlib.asynccontextmanager
async def watched(house: House, figures: Figures, execution: str) -> AsyncIterator[None]:
    """Beside the overload, one client reads the status of ``execution`` ten times a second; memory is looked at."""
    began = time.monotonic()
    path = f"/api/playbooks/executions/{execution}"
    command = [sys.executable, "-m", "tests.failures.reader", house.host, str(house.port), path, TOKEN]
    reader = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)

    async def look() -> None:
        while True:
            figures.memory = max(figures.memory, resident(house.pid("api")))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        figures.seconds = time.monotonic() - began
        task.cancel()
        reader.terminate()
        told, _ = await reader.communicate()
        found = json.loads(told)
        figures.reads, figures.wrong_reads = found["reads"], found["wrong"]


async def prepared(house: House, count: int, steps: list[dict[str, Any]] | None = None) -> tuple[str, list[str]]:
    """A playbook and so many assets."""
    playbook = await house.post("/api/playbooks", {"name": os.urandom(6).hex(), "steps": steps or STEPS}, 201)
    places = asyncio.Semaphore(16)
    async with client(house, 16) as http:

        async def one(number: int) -> str:
            async with places:
                answer = await http.post("/api/assets", json={"name": f"host-{number}", "type": "host"})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

        assets = await asyncio.gather(*(one(number) for number in range(count)))
    return str(playbook["id"]), list(assets)


async def start_all(house: House, figures: Figures, playbook: str, assets: Sequence[str], abreast: int) -> list[str]:
    """Starts a run on every asset; a start that is refused with 503 is tried again after ``Retry-After``, as told.

    Answer 0 counts connections that were closed while the request was on its way.
    """
    async with client(house, abreast) as http:

        async def one(asset: str) -> str:
            headers = {"Idempotency-Key": asset}
            while True:
                body = {"target_asset_id": asset}
                try:
                    answer = await http.post(f"/api/playbooks/{playbook}/run", json=body, headers=headers)
                except httpx2.ReadError:  # a kept connection that the server was about to close: again, with the key
                    figures.answers[0] += 1
                    continue
                figures.answers[answer.status_code] += 1
                if answer.status_code == 202:
                    return str(answer.json()["execution_id"])
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(float(answer.headers["Retry-After"]))

        return await asyncio.gather(*(one(asset) for asset in assets))


async def all_end(house: House, executions: Sequence[str], state: str = "completed") -> None:
    """Waits until every execution has ended in ``state``.  Raises AssertionError naming those that did not."""
    places = asyncio.Semaphore(8)
    async with client(house, 8) as http:

        async def one(execution: str) -> str:
            async with places:
                while True:
                    status = (await http.get(f"/api/playbooks/executions/{execution}")).json()["status"]
                    if status in FINAL:
                        return str(status)
                    await asyncio.sleep(0.5)

        found = await asyncio.gather(*(one(execution) for execution in executions))
    other = [execution for execution, status in zip(executions, found, strict=True) if status != state]
    assert other == [], f"{len(other)} of {len(executions)} did not end as {state}: {other[:5]}"


async def an_execution(house: House) -> str:
    """One that is read beside the overload; it waits for ever."""
    return await house.run([{"id": "ask", "type": "approval", "message": "go on?", "timeout": "1h"}])


async def burst(house: House, count: int) -> Figures:
    """``count`` starts in one moment: each is accepted or told to come again, and what is accepted comes to its end."""
    figures = Figures(f"{count:,} starts in one moment")
    playbook, assets = await prepared(house, count)
    async with watched(house, figures, await an_execution(house)):
        executions = await start_all(house, figures, playbook, assets, count)
    assert len(set(executions)) == count
    await all_end(house, executions)
    return figures


async def queue(house: House, count: int) -> Figures:
    """``count`` runs are accepted while no worker runs; each reads as pending, and ends once a worker is there."""
    figures = Figures(f"{count:,} runs queued, no worker")
    playbook, assets = await prepared(house, count)
    watch = await an_execution(house)
    house.terminate("worker")
    async with watched(house, figures, watch):
        executions = await start_all(house, figures, playbook, assets, 32)
        async with client(house, 1) as http:
            for execution in executions[:: max(1, count // 50)]:
                status = (await http.get(f"/api/playbooks/executions/{execution}")).json()
                assert status["status"] == "pending", status
    house.start("worker")
    await all_end(house, executions)
    return figures


async def deaf_listeners(house: House, count: int) -> Figures:
    """``count`` listeners of events do not read what they are sent; another hears everything to the end."""
    figures = Figures(f"{count:,} listeners that do not read")
    steps = [
        {"id": f"step-{number}", "action_ref": "core.sleep", "parameters": {"seconds": 0.01}} for number in range(300)
    ]
    execution = await house.run([{"id": "hold", "type": "delay", "duration": "8s"}, *steps])
    path = f"/api/playbooks/executions/{execution}/events"
    request = f"GET {path} HTTP/1.1\r\nHost: {house.host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    writers = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(house.host, house.port, limit=1)
            writer.write(request)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writers.append((reader, writer))
        async with watched(house, figures, execution):
            told = await _listen(house, path)
    finally:
        for _, writer in writers:
            writer.transport.abort()
    figures.answers[200] = count + 1
    assert told[-1] == "completed", told[-3:]
    return figures


async def _listen(house: House, path: str) -> list[str]:
    """The states of the execution as a listener hears of them."""
    states = []
    async with client(house, 1) as http, http.stream("GET", path) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and '"status":"' in line:
                states.append(line.partition('"status":"')[2].partition('"')[0])
    return states


def basic(username: str, password: str) -> str:
    """The header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def guessed_logins(house: House, tokens: int, passwords: int) -> Figures:
    """Wrong tokens and wrong passwords from one address; somebody at another address logs in all the same."""
    figures = Figures(f"{tokens:,} wrong tokens, {passwords:,} wrong passwords")
    await house.post("/api/users", {**OPERATOR, "permissions": ["asset:read"]}, 201)
    watch = await an_execution(house)
    async with client(house, 64, "127.0.0.2") as http:

        async def guess(path: str, headers: dict[str, str]) -> None:
            answer = await http.get(path, headers=headers)
            figures.answers[answer.status_code] += 1
            assert answer.status_code in (401, 429), answer.text

        requests = [guess("/api/playbooks", {"Authorization": f"Bearer stn_{number:043d}"}) for number in range(tokens)]
        requests += [
            guess("/rest/container", {"Authorization": basic("eve", str(number))}) for number in range(passwords)
        ]
        async with watched(house, figures, watch):
            flood = asyncio.gather(*requests)
            async with client(house, 1, "127.0.0.3") as other:
                answer = await other.get("/rest/container", headers={"Authorization": basic(*OPERATOR.values())})
                assert answer.status_code == 200, answer.text
            await flood
    return figures


async def polls(house: House, count: int, connections: int = 64) -> Figures:
    """``count`` reads of one status over many connections: every one is right."""
    figures = Figures(f"{count:,} polls over {connections} connections")
    execution = await an_execution(house)
    await house.until_step(execution, 0, "running")
    turns = iter(range(count))
    async with client(house, connections) as http:

        async def poll() -> None:
            for _ in turns:
                answer = await http.get(f"/api/playbooks/executions/{execution}")
                figures.answers[answer.status_code] += 1
                assert answer.json()["status"] == "running", answer.text

        async with watched(house, figures, execution):
            await asyncio.gather(*(poll() for _ in range(connections)))
    return figures


Overload = Callable[[House], Awaitable[Figures]]
