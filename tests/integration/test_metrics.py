"""The metrics of real processes against the page that documents them, and what a worker tells of itself over HTTP."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import yaml

from engine.sdk_metrics import DROPPED_LABELS, USEFUL
from scripts import grafana_dashboard
from tests.compose import ROOT
from tests.exposition import Exposed, ask, exercise, exposed, interrupt, prometheus, until_answered
from tests.house import House

PAGE = (ROOT / "docs/reference/metrics.md").read_text()
SELECTOR = re.compile(r"\b(?:up\b|(?:stanchion|temporal|process)_\w+)(?:\{[^}]*\})?")
OWN = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \| .* \|$", PAGE.partition("## The process")[0], re.MULTILINE)
PROCESS = re.findall(r"^\| `(process_\w+)` \|", PAGE, re.MULTILINE)


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("metrics")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exposed]:
    """A house whose worker serves its metrics."""
    async with exposed(tmp_path_factory.mktemp("house")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exercised(running: Exposed) -> dict[str, Any]:
    """How the executions ended that have brought about everything that is counted."""
    ended = await exercise(running)
    await interrupt(running)
    await running.until("api", "stanchion_sweep_last_success_seconds")
    return ended


async def test_every_documented_metric_is_there(running: Exposed, exercised: dict[str, Any]) -> None:
    """Each metric of the page is served by whom the page says, with the labels that it says, and counts truly."""
    assert {name: run["status"] for name, run in exercised.items()} == {
        "good": "completed",
        "rehearsed": "completed",
        "bad": "failed",
        "cancelled": "cancelled",
        "terminated": "cancelled",
    }
    found = {part: await running.read(part) for part in ("api", "worker")}
    assert len(OWN) > 15
    missing = [
        (part, name)
        for name, kind, labels, served_by in OWN
        for part in served_by.lower().split(", ")
        if not _labelled(found[part].get(name + ("_count" if kind == "histogram" else "")), labels, part, name)
    ]
    missing += [(part, name) for name in PROCESS for part in found if name not in found[part]]
    # An API runs no action and settles what was closed outside only; a worker starts nothing but what is scheduled.
    assert missing == [("worker", "stanchion_executions_started_total")]
    await _counted(running)
    series = [dict(labels) for samples in found["worker"].values() for labels in samples]
    assert not any(DROPPED_LABELS & labels.keys() for labels in series)
    assert {labels["task_queue"] for labels in series if "task_queue" in labels} == {running.site.settings.task_queue}
    histograms = {name.removesuffix("_count") for name in found["worker"] if name.endswith("_count")}
    assert [name for name in USEFUL if name not in {*found["worker"], *histograms}] == []


@pytest.mark.usefixtures("exercised")
async def test_prometheus_answers_every_expression(tmp_path: Path, running: Exposed) -> None:
    """A real Prometheus that scrapes the processes has data for every selector of the dashboard and the alerts, and
    takes every expression; nothing fires but what was brought about."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"][0]["rules"]
    expressions = [*grafana_dashboard.expressions(), *(rule["expr"] for rule in rules)]
    expressions = [text.replace("$__rate_interval", "1m") for text in expressions]
    selectors = {found for text in expressions for found in SELECTOR.findall(text)}
    # Nobody was answered with such a status, and nothing was overdue.
    selectors.remove('stanchion_http_requests_total{status=~"5.."}')
    assert len(selectors) > 30
    async with prometheus(tmp_path, running) as http:
        for job in ("stanchion-api", "stanchion-worker"):
            await until_answered(http, f'up{{job="{job}"}} == 1')
        assert sorted([selector for selector in selectors if not await ask(http, selector)]) == []
        for text in expressions:
            await ask(http, text)
        firing = {one["metric"]["alertname"] for one in await ask(http, 'ALERTS{alertstate="firing"}')}
        assert firing <= {"StanchionExecutionsClosedOutside"}


def _labelled(series: dict[tuple[tuple[str, str], ...], float] | None, labels: str, part: str, name: str) -> bool:
    if not series:
        return False
    wanted = set(re.findall(r"`(\w+)`", labels))
    assert all({label for label, _ in found} == wanted for found in series), (part, name)
    return True


async def _counted(running: Exposed) -> None:
    value = running.value
    assert await value("worker", "stanchion_executions_ended_total", state="completed", dry_run="false") == 1
    assert await value("worker", "stanchion_executions_ended_total", state="completed", dry_run="true") == 1
    assert await value("worker", "stanchion_executions_ended_total", state="failed") == 1
    assert await value("worker", "stanchion_executions_ended_total", state="cancelled", by="workflow") == 1
    assert await value("api", "stanchion_executions_ended_total", by="outside", state="cancelled") == 1
    assert await value("api", "stanchion_executions_ended_total") == 1
    assert await value("api", "stanchion_executions_started_total", source="api") == 5
    # One of the playbook itself, three of its loop, and one rehearsed.
    assert await value("worker", "stanchion_steps_ended_total", action="core.echo", state="completed") == 5
    assert await value("worker", "stanchion_steps_ended_total", action="foreach", state="completed") == 1
    assert await value("worker", "stanchion_steps_ended_total", action="core.fail", state="failed") == 1
    assert await value("worker", "stanchion_action_attempts_total", action="core.echo", outcome="rehearsed") == 0
    assert await value("worker", "stanchion_action_attempts_total", action="core.echo", outcome="completed") == 5
    assert await value("worker", "stanchion_action_attempts_total", action="core.fail", outcome="failed") == 1
    assert await value("worker", "stanchion_action_attempts_total", action="core.sleep", outcome="cancelled") >= 1


async def test_a_worker_that_cannot_listen_says_so(tmp_path: Path, running: Exposed) -> None:
    """The address is taken: one sentence that names the setting, and no traceback; the first goes on."""
    address = running.worker.removeprefix("http://")
    second = House(tmp_path / "second", extra={"STANCHION_WORKER_ADDRESS": address})
    second.folder.mkdir()
    try:
        second.start("worker")
        assert second._processes["worker"].wait(60) == 1
    finally:
        second.close()
    assert (second.folder / "worker.log").read_text() == (
        f"STANCHION_WORKER_ADDRESS: {address} cannot be listened on: Address already in use.\n"
    )
    async with httpx2.AsyncClient(base_url=running.worker, timeout=30) as http:
        assert (await http.get("/readyz")).status_code == 200


async def test_a_worker_tells_how_it_is(running: Exposed) -> None:
    """Ready with what it depends on; not without Temporal, though alive; nothing but the three paths is there."""
    async with httpx2.AsyncClient(base_url=running.worker, timeout=30) as http:
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {
                "status": "ready",
                "dependencies": [
                    {"name": "database", "state": "ok", "detail": "answers"},
                    {"name": "temporal", "state": "ok", "detail": "answers"},
                ],
            },
        )
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/")).status_code == 404
        running.site.signal("temporal", signal.SIGSTOP)
        away = await http.get("/readyz")
        assert (away.status_code, away.json()["status"]) == (503, "not ready")
        assert {one["name"]: one["state"] for one in away.json()["dependencies"]} == {
            "database": "ok",
            "temporal": "unavailable",
        }
        assert (await http.get("/healthz")).status_code == 200
        running.site.signal("temporal", signal.SIGCONT)
        await running.site.ready()
