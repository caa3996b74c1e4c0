"""The shipped incident triage, run for real on the shipped sample of intelligence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from cli.samples import load_intelligence
from tests.stack import Stack, running_stack, stack_settings, states

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILE = Path(__file__).parents[2] / "playbooks" / "library" / "incident-triage.yaml"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A Stanchion with the sample, and the playbook as it is shipped."""
    settings = stack_settings(tmp_path_factory.mktemp("triage"))
    async with running_stack(settings) as running:
        await asyncio.to_thread(load_intelligence, settings.database)
        answer = await running.http.post("/api/playbooks", json=yaml.safe_load(FILE.read_text()))
        assert answer.status_code == 201, answer.text
        yield running


async def triage(stack: Stack, tags: dict[str, Any], run: dict[str, Any] | None = None, **parameters: Any) -> Any:
    """The status of a run on an asset with these tags."""
    asset = await stack.asset(tags=tags)
    answer = await stack.post_run("incident-triage", asset["id"], parameters=parameters, **(run or {}))
    assert answer.status_code == 202, answer.text
    return await stack.finish(answer.json()["execution_id"])


@pytest.mark.parametrize(
    ("tags", "parameters", "severity", "rule", "assignee"),
    [
        # Known to be exploited, on an asset of the production.
        ({"env": "prod"}, {"cve": "CVE-2021-44228", "auto_assign": True}, "critical", "exploited where it", "on-call"),
        # The id stands in the text; the asset says how it can be reached, and whose it is.
        ({"exposure": "internet"}, {"finding": "Backdoor of cve-2024-3094."}, "critical", "critical and", "unassigned"),
        ({"owner": "web"}, {"cve": "CVE-2024-3094", "auto_assign": True}, "high", "high score", "web"),
        (
            {"criticality": "vast"},
            {"cve": "CVE-2022-0778"},
            "high",
            "high",
            "unassigned",
        ),
        # What is given goes before what the asset says.
        (
            {"exposure": "internet", "criticality": "low"},
            {"cve": "CVE-2022-0778", "exposure": "isolated"},
            "high",
            "high score",
            "unassigned",
        ),
        # Nothing is known: the asset decides.
        ({"env": "prod"}, {}, "high", "unrated where it matters", "unassigned"),
        ({}, {"cve": "CVE-2099-99999", "finding": "Something."}, "medium", "unrated", "unassigned"),
    ],
)
async def test_it_rates_by_what_is_known(
    stack: Stack, tags: dict[str, Any], parameters: dict[str, Any], severity: str, rule: str, assignee: str
) -> None:
    """Of the CVE and of the asset."""
    status = await triage(stack, tags, **parameters)
    assert states(status)[:3] == ["completed"] * 3, status
    assert (status["outputs"]["severity"], status["outputs"]["assignee"]) == (severity, assignee)
    assert rule in status["outputs"]["reason"]
    assert status["outputs"]["due_at"]


@pytest.mark.parametrize("reads", [True, False])
async def test_a_rehearsal_takes_the_same_way(stack: Stack, reads: bool) -> None:
    """With what it may read; without, the asset alone decides."""
    run = {"dry_run": True, "dry_run_reads": reads}
    status = await triage(stack, {"env": "prod"}, run, cve="CVE-2021-44228")
    assert states(status)[:3] == ["completed"] * 3, status
    assert status["outputs"]["severity"] == ("critical" if reads else "high")


async def test_a_cve_that_is_none_is_refused_at_once(stack: Stack) -> None:
    """With the parameter's name, before a run exists."""
    asset = await stack.asset()
    answer = await stack.post_run("incident-triage", asset["id"], parameters={"cve": "log4shell"})
    assert answer.status_code in (400, 422)
    assert "cve" in answer.text
