"""What real processes expose to Prometheus, and the house that makes them expose everything once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml
from prometheus_client.parser import text_string_to_metric_families

from engine.embedded import binary
from tests.compose import ROOT
from tests.conftest import free_port
from tests.house import House, house

PATIENCE_SECONDS = 120
ECHO = {"id": "quick", "type": "action", "action_ref": "core.echo"}
LOOP = {
    "id": "loop",
    "type": "foreach",
    "items": "{{ [1, 2, 3] }}",
    "steps": [{"id": "inner", "type": "action", "action_ref": "core.echo"}],
}
LONG = {"id": "long", "type": "action", "action_ref": "core.sleep", "parameters": {"seconds": 300}}
BAD = {"id": "bad", "type": "action", "action_ref": "core.fail", "parameters": {"message": "on purpose"}}


@dataclass
class Exposed:
    """A house, and the address of its worker's own server."""

    site: House
    worker: str

    async def read(self, part: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """The samples that ``part`` exposes: by name, then by labels."""
        base = self.worker if part == "worker" else f"http://{self.site.host}:{self.site.port}"
        async with httpx2.AsyncClient(base_url=base, timeout=30) as http:
            answer = await http.get("/metrics")
        assert answer.status_code == 200, answer.text
        return samples(answer.text)

    async def value(self, part: str, name: str, **labels: str) -> float:
        """The sum of the series of ``name`` that have ``labels``."""
        series = (await self.read(part)).get(name, {})
        return sum(value for found, value in series.items() if labels.items() <= dict(found).items())

    async def until(self, part: str, name: str, at_least: float = 1, **labels: str) -> float:
        """Waits until the sum is ``at_least`` that; tells it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (value := await self.value(part, name, **labels)) < at_least:
                await asyncio.sleep(0.1)
        return value


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The samples of a text that a process exposed: by name, then by labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in series, f"{sample.name}{dict(labels)} is there twice"
            series[labels] = sample.value
    return found


@contextlib.asynccontextmanager
async def exposed(folder: Path) -> AsyncIterator[Exposed]:
    """A house whose worker serves its metrics, on a free port."""
    port = free_port()
    own = {"worker": {"STANCHION_WORKER_ADDRESS": f"127.0.0.1:{port}"}}
    async with house(folder, own=own) as site:
        yield Exposed(site, f"http://127.0.0.1:{port}")


async def exercise(exposed: Exposed) -> dict[str, Any]:
    """Brings about everything that is counted, failures included; how the executions ended, by what was done."""
    site = exposed.site
    good = await site.run([ECHO, LOOP])
    rehearsed = await site.run([ECHO], dry_run=True)
    bad = await site.run([BAD])
    ended = {name: await site.finish(run) for name, run in (("good", good), ("rehearsed", rehearsed), ("bad", bad))}
    cancelled, terminated = await site.run([LONG]), await site.run([LONG])
    for run in (cancelled, terminated):
        await site.until_step(run, 0, "running")
    await site.post(f"/api/playbooks/executions/{cancelled}/cancel", {}, 200)
    ended["cancelled"] = await site.finish(cancelled)
    _temporal(site, "workflow", "terminate", "--query", f"ExecutionId='{terminated}'", "--yes", "--reason", "x")
    ended["terminated"] = await site.finish(terminated)
    # A workflow whose input nobody can read: its task fails.
    given = ["--type", "garbage", "--task-queue", site.settings.task_queue, "--input", "1"]
    _temporal(site, "workflow", "start", "--workflow-id", str(uuid.uuid4()), *given)
    await exposed.until("worker", "temporal_workflow_task_execution_failed_total")
    return ended


async def interrupt(exposed: Exposed) -> None:
    """Takes Temporal away until the worker has counted that, and brings it back."""
    site = exposed.site
    site.kill("temporal")
    await exposed.until("worker", "temporal_long_request_failure_total")
    site.start("temporal")
    await site.ready()


def _temporal(site: House, *arguments: str) -> None:
    at = ["--address", f"127.0.0.1:{site.temporal_port}"]
    done = subprocess.run(
        [binary(), *arguments, *at], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout


@contextlib.asynccontextmanager
async def prometheus(folder: Path, exposed: Exposed) -> AsyncIterator[httpx2.AsyncClient]:
    """A real Prometheus with the configuration and the alerts of deploy/, that scrapes the house; its interface."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "deploy/prometheus/rules.yml")]
    targets = {"stanchion-api": exposed.site.port, "stanchion-worker": int(exposed.worker.rpartition(":")[2])}
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    line = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *line, f"--web.listen-address=127.0.0.1:{port}", stdout=log, stderr=log
        )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as http:
            await _until_ready(http)
            yield http
    finally:
        process.terminate()
        await process.wait()


async def _until_ready(http: httpx2.AsyncClient) -> None:
    """Waits until Prometheus has read its storage: before, it listens, and answers 503."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get(str(http.base_url.join("/-/ready")))).status_code == 200:
                    return
            await asyncio.sleep(0.1)


async def ask(http: httpx2.AsyncClient, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers to an expression; raises AssertionError where it refuses it."""
    answer = await http.get("/query", params={"query": expression})
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


async def until_answered(http: httpx2.AsyncClient, expression: str) -> None:
    """Waits until Prometheus has something to answer."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if await ask(http, expression):
                    return
            await asyncio.sleep(0.2)
