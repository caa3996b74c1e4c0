"""SIGTERM: what is under way is finished, and a restart of everything during load is not felt."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import free_port
from tests.failures.moments import Case
from tests.failures.site import Site, site
from tests.house import House, house
from tests.stack import FINAL, TOKEN

pytestmark = pytest.mark.slow


async def test_a_worker_that_is_told_to_stop_finishes_its_steps(tmp_path: Path) -> None:
    """The step that may not be repeated ends well, once; the next worker goes on behind it."""
    async with site(tmp_path, on_postgres=False) as place:
        case = Case(place, "drained")
        await case.store([case.append(seconds=2.0, end="end"), case.append(line="after")])
        await case.begin()
        await place.until(case.lines, "the step has begun")
        assert await asyncio.to_thread(place.house.terminate, "worker") == 0
        assert case.lines()[:2] == ["did", "end"]
        place.house.start("worker")
        status = await place.house.finish(str(case.execution))
        assert [step["status"] for step in status["steps"]] == ["completed", "completed"], status
        assert case.lines() == ["did", "end", "after"]


async def test_a_worker_is_told_to_stop_while_temporal_is_away(tmp_path: Path) -> None:
    """It leaves all the same, and the next one does its step anew."""
    async with house(tmp_path, extra={"STANCHION_DRAIN_SECONDS": "1"}) as running:
        execution = await running.run([{"action_ref": "core.sleep", "parameters": {"seconds": 8}}])
        await running.until_step(execution, 0, "running")
        running.kill("temporal")
        assert await asyncio.to_thread(running.terminate, "worker", 60) == 0
        running.start("temporal")
        running.start("worker")
        assert (await running.finish(execution))["status"] == "completed"


@pytest.mark.parametrize("away", ["temporal", "database"])
async def test_all_are_told_to_stop_while_what_they_ask_is_away(tmp_path: Path, away: str) -> None:
    """They leave all the same: the API with requests that wait for an answer and a stream that never ends."""
    extra = {"STANCHION_DRAIN_SECONDS": "1"}
    async with site(tmp_path, on_postgres=away == "database", extra=extra) as place:
        case = Case(place, "left")
        await case.store([case.append(seconds=600)])
        await case.begin()
        path = f"/api/playbooks/executions/{case.execution}"
        async with place.house.http as client:
            requests = [asyncio.create_task(client.get(f"{path}/events", timeout=60))]
            await place.house.until_step(str(case.execution), 0, "running")
            place.freeze(away)
            requests += [asyncio.create_task(client.get(path, timeout=60)) for _ in range(5)]
            requests.append(asyncio.create_task(client.post(f"{path}/cancel", timeout=60)))
            await asyncio.sleep(0.5)
            # Uvicorn ends itself by the signal, once it is done.
            assert await asyncio.to_thread(place.house.terminate, "api", 30) in (0, -signal.SIGTERM)
            assert await asyncio.to_thread(place.house.terminate, "worker", 30) == 0
            place.thaw(away)
            await asyncio.gather(*requests, return_exceptions=True)


async def test_a_worker_of_the_next_version_takes_over(tmp_path: Path) -> None:
    """Runs in a step, in a timer and in an approval go on under an interpreter that does more."""
    async with site(tmp_path, on_postgres=False) as place:
        cases = {
            "step": [{"action_ref": "core.sleep", "parameters": {"seconds": 3}}],
            "timer": [{"type": "delay", "duration": "3s"}],
            "approval": [{"id": "ask", "type": "approval", "message": "go on?", "timeout": "1h"}],
        }
        runs = []
        for name, steps in cases.items():
            case = Case(place, name)
            await case.store([case.append(line="before"), *steps, case.append(line="after")])
            await case.begin()
            runs.append(case)
        for case in runs:
            await place.until(case.lines, f"{case.name} has begun")
        await place.house.until_step(str(runs[-1].execution), 1, "running")
        place.house.own["next-worker"] = dict(place.house.own["worker"])
        place.house.start("next-worker")
        assert await asyncio.to_thread(place.house.terminate, "worker") == 0
        answer = await place.insist(f"/api/playbooks/executions/{runs[-1].execution}/steps/ask/approve")
        assert answer.status_code == 200, answer.text
        for case in runs:
            status = await place.house.finish(str(case.execution))
            assert status["status"] == "completed", status
            assert case.lines() == ["before", "after"]


@dataclass
class Load:
    """Clients of two APIs that start runs, one after the other, until they are told to stop."""

    place: Site
    ports: tuple[int, int]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    cases: list[Case] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    turns: itertools.count[int] = field(default_factory=itertools.count)

    async def client(self) -> None:
        """Starts a run and polls it to its end, again and again."""
        async with contextlib.AsyncExitStack() as stack:
            https = [await stack.enter_async_context(self._http(port)) for port in self.ports]
            while not self.stop.is_set():
                case = Case(self.place, f"run-{next(self.turns)}")
                steps = [case.append(seconds=0.2), {"type": "delay", "duration": "1s"}, case.append(line="after")]
                playbook = {"name": case.key, "steps": steps}
                case.playbook = (await self._ask(https, "POST", "/api/playbooks", 201, playbook))["id"]
                asset = {"name": case.key, "type": "host"}
                case.asset = (await self._ask(https, "POST", "/api/assets", 201, asset))["id"]
                path, body = f"/api/playbooks/{case.playbook}/run", {"target_asset_id": case.asset}
                case.execution = (await self._ask(https, "POST", path, 202, body, case.key))["execution_id"]
                self.cases.append(case)
                path = f"/api/playbooks/executions/{case.execution}"
                while (await self._ask(https, "GET", path, 200))["status"] not in FINAL:
                    await asyncio.sleep(0.1)

    def _http(self, port: int) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)

    async def _ask(
        self,
        https: list[httpx2.AsyncClient],
        method: str,
        path: str,
        wanted: int,
        body: dict[str, Any] | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Asks one API; the other one where nobody listens, and again after 503, as a proxy and a good client do."""
        headers = {"Idempotency-Key": key} if key else {}
        for attempt in range(600):
            http = https[attempt % 2]
            try:
                answer = await http.request(method, path, json=body, headers=headers)
            except httpx2.ConnectError:
                await asyncio.sleep(0.02)
                continue
            except httpx2.TransportError as error:
                if method == "GET" or key is not None:
                    continue  # a kept connection that was closed under way: such requests may be repeated
                self.faults.append(f"{method} {path}: {type(error).__name__} {error}")
                raise
            if answer.status_code == 503:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code != wanted:
                self.faults.append(f"{method} {path}: {answer.status_code} {answer.text}")
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            return found
        raise AssertionError(f"{method} {path}: no answer after many tries")


async def _restart(house: House, name: str, port: int | None) -> None:
    """SIGTERM, then the next one of its kind; ready before the next part is restarted."""
    await asyncio.to_thread(house.terminate, name)
    house.start(name.partition("-")[0], name)  # type: ignore[arg-type]
    if port is None:
        await asyncio.sleep(1)
        return
    async with asyncio.timeout(30), httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def test_a_rolling_restart_of_everything_is_not_felt(tmp_path: Path) -> None:
    """Two APIs, two workers and Temporal, one after the other, under load: no request fails, no effect comes twice."""
    async with site(tmp_path, on_postgres=True) as place:
        house, second = place.house, free_port()
        for name in ("api", "worker"):
            house.own[f"{name}-2"] = dict(house.own[name])
        house.own["api-2"]["STANCHION_PORT"] = str(second)
        house.start("worker", "worker-2")
        house.start("api", "api-2")
        load = Load(place, (house.port, second))
        clients = [asyncio.create_task(load.client()) for _ in range(4)]
        await place.until(lambda: len(load.cases) >= 4, "the load has begun")
        for name, port in (("api", house.port), ("api-2", second), ("worker", None), ("worker-2", None)):
            await _restart(house, name, port)
        await asyncio.to_thread(house.terminate, "temporal")
        house.start("temporal")
        await house.ready(60)
        before = len(load.cases)
        await place.until(lambda: len(load.cases) >= before + 4, "runs are started after the restart")
        load.stop.set()
        await asyncio.gather(*clients)
        assert load.faults == []
        for case in load.cases:
            status = await house.finish(str(case.execution), 60)
            assert status["status"] == "completed", status
            assert case.lines() == ["did", "after"], case.name
