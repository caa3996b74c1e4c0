"""The plug-in of docs/examples, installed as a third party would, and run by a real worker."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PLUGINS
from tests.house import ROOT, House, house

EXAMPLE = ROOT / "docs" / "examples" / "stanchion-syslog"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder into which pip has installed the example, from a copy, since a build leaves files beside its source."""
    copy, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(EXAMPLE, copy)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--target", str(target), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (target / "stanchion_syslog.py").exists()
    return target


def break_one(target: Path) -> None:
    """Installs a package whose module fails when it is imported."""
    (target / "broken_plug_in.py").write_text("raise RuntimeError('the configuration is missing')\n")
    metadata = target / "broken_plug_in-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plug-in\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[stanchion.actions]\nbroken = broken_plug_in:Action\n")


def environment(target: Path) -> dict[str, str]:
    """The environment of processes that have the package installed."""
    return {"PYTHONPATH": f"{ROOT}:{PLUGINS}:{target}"}


def test_the_example_passes_its_own_test(installed: Path, tmp_path: Path) -> None:
    """The test that is handed on with the example is green."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "source",
        env={**os.environ, **environment(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


async def test_the_example_runs_and_a_broken_plug_in_is_named(installed: Path, tmp_path: Path) -> None:
    """A playbook uses the action on a worker that has it, while another plug-in is broken; the API names that one."""
    break_one(installed)
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    folder = tmp_path / "data"
    folder.mkdir()
    parameters = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "message": "{{ asset.name }} is on"}
    steps = [{"name": "Tell", "action_ref": "syslog.send", "parameters": parameters}]
    async with house(folder, extra=environment(installed)) as running, server:
        rehearsed = await running.finish(await running.run(steps, dry_run=True))
        assert rehearsed["status"] == "completed"
        assert (await told(running, rehearsed["execution_id"])).endswith("web-01 is on")
        assert received == []
        assert (await running.finish(await running.run(steps)))["status"] == "completed"
        assert len(received) == 1
        assert received[0].endswith(b"web-01 is on")
        await the_broken_one_is_named(running)


async def told(running: House, execution_id: str) -> str:
    """What the rehearsed step would do."""
    async with running.http as http:
        answer = await http.get(f"/api/playbooks/executions/{execution_id}", params={"include": "io"})
    sentence: str = answer.json()["steps"][0]["would"]
    return sentence


async def the_broken_one_is_named(running: House) -> None:
    """By the API, with the reason; by the worker in its log; and its action cannot be used."""
    async with running.http as http:
        listed = (await http.get("/api/actions")).json()
        refused = await http.post(
            "/api/playbooks", json={"name": "x", "steps": [{"name": "x", "action_ref": "broken.action"}]}
        )
    assert listed["left_out"] == [{"plug_in": "broken", "reason": "RuntimeError: the configuration is missing"}]
    assert refused.status_code in (400, 422)
    assert "The plug-in broken was left out" in (running.folder / "worker.log").read_text()
