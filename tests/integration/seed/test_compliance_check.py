"""The guide's *Compliance check*, whole: a real host is scanned, held against a baseline, and reported on."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import Machine, running_machine
from tests.stack import Stack, running_stack, stack_settings

LOOSE = "mkdir -p /etc/ssh/sshd_config.d; echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/loose.conf"
TIGHT = "echo 'PermitRootLogin no' > /etc/ssh/sshd_config.d/loose.conf"
STEPS = ["Run the scan", "Compare with the baseline", "Write the report", "Email stakeholders"]


async def check(stack: Stack, asset: str, parameters: dict[str, Any], **body: Any) -> dict[str, Any]:
    """How a run of the shipped playbook ended."""
    started = await stack.post_run("compliance-check", asset, parameters=parameters, **body)
    assert started.status_code == 202, started.text
    return await stack.finish(started.json()["execution_id"])


async def prepared(stack: Stack, **asset: Any) -> str:
    """The id of an asset, beside the stored playbook."""
    definition = files("playbooks.library").joinpath("compliance-check.yaml").read_bytes()
    stored = await stack.http.post("/api/playbooks", content=definition, headers={"content-type": "application/yaml"})
    assert stored.status_code in (201, 409), stored.text
    return str((await stack.asset(**asset))["id"])


def outputs(status: dict[str, Any]) -> dict[str, Any]:
    """The output of each step by its name."""
    return {step["name"]: step["output"] for step in status["steps"]}


def parameters_of(machine: Machine) -> dict[str, Any]:
    """What a run on ``machine`` is given; one group of tests, since a whole scan takes minutes."""
    login = {"host": "127.0.0.1", "ssh_port": machine.port, "host_key": [machine.host_key]}
    return {**login, "scan_groups": ["ssh"], "baseline": "ssh-hardening"}


async def test_a_host_is_scanned_compared_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rehearsed and live in the same steps; what is mended in between is told by the next run."""
    with running_machine(tmp_path / "host", LOOSE) as machine:
        monkeypatch.setenv("STANCHION_SECRET_SSH_KEY", machine.private_key)
        parameters = parameters_of(machine)
        async with running_stack(stack_settings(tmp_path)) as stack:
            asset = await prepared(stack)
            rehearsed = await check(stack, asset, parameters, dry_run=True)
            first = await check(stack, asset, parameters)
            machine.inside(TIGHT)
            second = await check(stack, asset, parameters)
            page = await stack.http.get(outputs(first)["Write the report"]["url"])
            ids = rehearsed["execution_id"], first["execution_id"]
            compared = (await stack.http.get(f"/api/playbooks/executions/{ids[0]}/compare/{ids[1]}")).json()
    for status in (rehearsed, first, second):
        assert status["status"] == "completed", status
        assert [step["name"] for step in status["steps"]][:4] == STEPS
    told = outputs(first)
    failed = {rule["name"]: rule["detail"] for rule in told["Compare with the baseline"]["failed"]}
    assert failed["no-root-password"] == 'ssh.permitrootlogin: "yes"'
    assert told["Compare with the baseline"]["changes"] is None, "a rehearsal keeps nothing"
    assert outputs(rehearsed)["Compare with the baseline"] == told["Compare with the baseline"]
    assert (page.status_code, "Root does not log in with a password" in page.text) == (200, True)
    changes = outputs(second)["Compare with the baseline"]["changes"]
    assert (changes["fixed"], changes["newly_failed"]) == (["no-root-password"], [])
    assert changes["execution_id"] == first["execution_id"]
    assert second["outputs"]["score"] > first["outputs"]["score"]
    assert [step["name"] for step in compared["steps"]] == [step["name"] for step in first["steps"]]
    assert all(step["left"]["status"] == step["right"]["status"] for step in compared["steps"])


async def test_without_a_host_the_attributes_are_the_facts(tmp_path: Path) -> None:
    """Held against rules of one's own; with as little as the asset's name all is undecided, and no pass."""
    own = {"name": "own", "rules": [{"name": "debian", "expression": "facts.os == 'debian-13'"}]}
    async with running_stack(stack_settings(tmp_path)) as stack:
        asset = await prepared(stack, attributes={"os": "debian-13"})
        good = await check(stack, asset, {"baseline": own})
        empty = await check(stack, asset, {})
        unreachable = await check(stack, asset, {"host": "127.0.0.1", "ssh_port": 1})
    assert (good["status"], good["outputs"]["compliant"], good["outputs"]["score"]) == ("completed", True, 100)
    assert [step["status"] for step in good["steps"]][:4] == ["skipped", "completed", "completed", "skipped"]
    assert (empty["outputs"]["compliant"], empty["outputs"]["score"]) == (False, 0)
    assert unreachable["status"] == "failed"
