"""Retention as the sweep does it, beside a run that is open, and what clients are told afterwards."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from api.executions import Executions
from api.metrics import Metrics
from api.retention import Retention
from engine.sealing import Sealer
from storage.audit_chain import CHECKPOINT, verify
from storage.clock import now_ms
from tests.stack import Stack, running_stack, stack_settings
from tests.storage_fixtures import postgres_server, postgres_template, postgres_url

ECHO = {"action_ref": "core.echo", "parameters": {"x": 1}}
ASK = {"type": "approval", "name": "May I", "message": "?"}
DAY = 86_400_000

__all__ = ["postgres_server", "postgres_template", "postgres_url"]


def retention(stack: Stack, days: int, **changes: Any) -> Retention:
    """Retention of ten days for everything, ``days`` from now."""
    given = {"retention_executions_days": 10, "retention_audit_days": 10, **changes}
    settings = stack.settings.model_copy(update=given)
    service = Executions.build(settings, stack.database, stack.temporal)
    return Retention(service, settings, Sealer(), Metrics(), lambda: now_ms() + days * DAY)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_an_open_run_outlives_every_limit(tmp_path: Path, request: pytest.FixtureRequest, database: str) -> None:
    """It waits for 100 days among runs that come and go, and then goes on and ends as if nothing had been."""
    url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    async with running_stack(stack_settings(tmp_path, database_url=url)) as stack:
        waiting = await stack.start([ECHO, ASK, {**ECHO, "parameters": {"x": "{{ steps['act-001'].output.x + 1 }}"}}])
        await stack.until_step(waiting, 1, "running")
        done = [await stack.start([ECHO]) for _ in range(3)]
        for one in done:
            await stack.finish(one)
        await retention(stack, 9).apply()
        assert [(await stack.status(one))["status"] for one in done] == ["completed"] * 3
        old = retention(stack, 100)
        await old.apply()
        step = (await stack.status(waiting))["steps"][1]["action_id"]
        path = f"/api/playbooks/executions/{waiting}"
        assert (await stack.http.post(f"{path}/steps/{step}/approve")).status_code == 200
        status = await stack.finish(waiting)
        assert (status["status"], status["steps"][2]["output"]["x"]) == ("completed", 2)
        listed = (await stack.http.get("/api/playbooks/executions")).json()
        assert [one["execution_id"] for one in listed["data"]] == [waiting]
        chain = await stack.database.read(verify, lambda told, signed: Sealer().is_signed(told, CHECKPOINT, signed))
        assert chain.is_whole
        assert chain.forgotten_through is not None
        told = old.metrics.render().decode()
        assert re.search(r'stanchion_retention_deleted_total\{kind="executions"\} 3\.0', told)
        assert re.search(r'stanchion_retention_deleted_total\{kind="audit_entries"\} [1-9]', told)
        assert re.search(r"stanchion_retention_last_success_seconds [1-9]", told)


async def test_without_settings_everything_stays(stack: Stack) -> None:
    """Executions and the audit trail are kept for ever unless somebody says otherwise."""
    execution = await stack.start([ECHO])
    await stack.finish(execution)
    never = retention(stack, 10_000, retention_executions_days=None, retention_audit_days=None)
    await never.apply()
    assert (await stack.status(execution))["status"] == "completed"
    assert (await stack.http.get("/api/audit")).json()["meta"]["total"] > 0


async def test_what_was_forgotten_is_not_found(stack: Stack) -> None:
    """404, and its idempotency key can be used again; two processes that forget at once do it once."""
    run = {"headers": {"Idempotency-Key": "once"}}
    execution = await stack.start([ECHO], run=run)
    await stack.finish(execution)
    both = [retention(stack, 100, retention_keys_days=1000) for _ in range(2)]
    await asyncio.gather(*(one.apply() for one in both))
    found = [
        float(re.findall(r'deleted_total\{kind="executions"\} (\S+)', one.metrics.render().decode())[0]) for one in both
    ]
    assert sum(found) == 1
    assert (await stack.http.get(f"/api/playbooks/executions/{execution}?include=io")).status_code == 404
    again = await stack.start([ECHO], run=run)
    assert again != execution
    assert (await stack.finish(again))["status"] == "completed"


async def test_every_process_forgets_what_one_has_deleted(stack: Stack) -> None:
    """An answer that another process of the API keeps in memory goes with its next look at what is old."""
    execution = await stack.start([ECHO])
    await stack.finish(execution)
    one, other = retention(stack, 20), retention(stack, 20)
    other.service.closed.put(execution, b"{}")
    await one.apply()
    await other.apply()
    assert other.service.closed.get(execution) is None
