"""`stanchion backup` of an installation at work, and what becomes of it in a new folder."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from engine.backup import _snapshot
from tests.conftest import PLUGINS
from tests.e2e.test_up import Up, eventually, up
from tests.house import ROOT
from tests.stack import FINAL

EXTRA = {"PYTHONPATH": f"{ROOT}:{PLUGINS}", "STANCHION_SWEEP_INTERVAL": "1"}


class Site:
    """An installation, spoken to by HTTP with the token of its folder."""

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def __init__(self, running: Up) -> None:
        token = (running.folder / "admin-token").read_text().strip()
        self.http = httpx2.Client(
            base_url=running.url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )

    def post(self, path: str, body: Any, status: int) -> Any:
        """POSTs and expects ``status``."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def playbook(self, *steps: dict[str, Any], **changes: Any) -> str:
        """Stores a playbook; its id."""
        name = f"Playbook {time.monotonic_ns()}"
        return str(self.post("/api/playbooks", {"name": name, "steps": list(steps), **changes}, 201)["id"])

    def run(self, playbook: str, **parameters: Any) -> str:
        """Starts a run on an asset of its own; its id."""
        asset = self.post("/api/assets", {"name": "web-01", "type": "host"}, 201)["id"]
        body = {"target_asset_id": asset, "parameters": parameters}
        return str(self.post(f"/api/playbooks/{playbook}/run", body, 202)["execution_id"])

    def status(self, execution: str) -> dict[str, Any]:
        """The status of an execution."""
        answer = self.http.get(f"/api/playbooks/executions/{execution}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def step(self, execution: str, index: int) -> str:
        """The state of a step."""
        return str(self.status(execution)["steps"][index]["status"])

    def finish(self, execution: str) -> dict[str, Any]:
        """The status once it is final."""
        eventually(lambda: self.status(execution)["status"] in FINAL)
        return self.status(execution)

    def approve(self, execution: str, index: int) -> None:
        """Approves a step."""
        step = self.status(execution)["steps"][index]["action_id"]
        self.post(f"/api/playbooks/executions/{execution}/steps/{step}/approve", {}, 200)


def effect(path: Path) -> dict[str, Any]:
    """A step that appends its run to a file, and that may be repeated."""
    return {"name": "Act", "action_ref": "test.append", "parameters": {"path": str(path), "line": "{{ execution.id }}"}}


ASK = {"name": "May I", "type": "approval", "message": "?"}


def backup(running: Up, target: Path) -> dict[str, Any]:
    """The outcome of the command, which must succeed."""
    done = running.command("backup", str(target), "--data-dir", str(running.folder), "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def restore(running: Up, source: Path, folder: Path, *options: str) -> dict[str, Any]:
    """The outcome of the command, which must succeed."""
    done = running.command("restore", str(source), "--data-dir", str(folder), "--json", *options)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def count(path: Path) -> Counter[str]:
    """How often each run has had its effect."""
    return Counter(path.read_text().split()) if path.exists() else Counter()


@pytest.mark.slow
def test_runs_go_on_from_a_backup_that_was_taken_under_load(tmp_path: Path) -> None:
    """Runs that wait, runs that sleep, and a stream of short ones: the copy is made in the middle, the original killed.

    In the new folder what was final stays so and does nothing again, what was open ends well, nothing is lost that was
    accepted before the backup began, and what comes is no other state than in the contract.
    """
    effects = tmp_path / "effects"
    with up(tmp_path / "data", extra=EXTRA) as running, Site(running) as site:
        short = site.playbook(effect(effects))
        waiting = site.run(site.playbook(effect(effects), ASK, effect(effects)))
        eventually(lambda: site.step(waiting, 1) == "running")
        sleeping = site.run(site.playbook(effect(effects), {"name": "Rest", "type": "delay", "duration": "20s"}))
        eventually(lambda: site.step(sleeping, 1) == "running")
        accepted: list[str] = []
        end = threading.Event()

        def load() -> None:
            with Site(running) as mine:
                while not end.is_set():
                    with contextlib.suppress(httpx2.TransportError):
                        accepted.append(mine.run(short))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(accepted) > 30)
        before = list(accepted)
        told = backup(running, tmp_path / "copy.tgz")
        running.process.send_signal(signal.SIGKILL)
        end.set()
        for thread in threads:
            thread.join()
    assert {"temporal.sqlite", "stanchion.sqlite", "admin-token", "temporal.version"} <= told["files"].keys()

    folder = tmp_path / "again"
    restore(running, tmp_path / "copy.tgz", folder)
    with contextlib.closing(sqlite3.connect(folder / "stanchion.sqlite")) as connection:
        final = {row[0] for row in connection.execute("SELECT id FROM executions WHERE closed_at IS NOT NULL")}
        known = {row[0] for row in connection.execute("SELECT id FROM executions")}
    assert set(before) <= known
    for execution in known - set(before):
        _age(folder, execution)
    done_before = {name: number for name, number in count(effects).items() if name in final}
    with up(folder, extra=EXTRA) as again, Site(again) as site:
        site.approve(waiting, 1)
        assert site.finish(waiting)["status"] == "completed"
        assert site.finish(sleeping)["status"] == "completed"
        for execution in sorted(known - {waiting, sleeping}):
            done = site.finish(execution)
            if done["status"] != "completed":  # its request was under way: the row was there, the run was not yet
                assert execution not in before
                assert done["error"]["code"] == "history_lost"
        assert site.finish(site.run(short))["status"] == "completed"
    assert {name: number for name, number in count(effects).items() if name in final} == done_before
    assert set(done_before.values()) <= {1}
    assert count(effects)[waiting] == 2  # once before the backup, once after the approval: the first was not repeated
    assert count(effects)[sleeping] == 1


@pytest.mark.slow
def test_what_ended_between_the_two_copies_does_nothing_again(tmp_path: Path) -> None:
    """The pair as bad as it can be: Temporal's file from before the end of a run, ours from after it.

    The run is final, and stays what it is; a run that was started in between is told as lost.
    """
    effects, pair = tmp_path / "effects", tmp_path / "pair"
    with up(tmp_path / "data", extra=EXTRA) as running, Site(running) as site:
        asking = site.playbook(ASK, effect(effects))
        ended, cancelled, still_open = site.run(asking), site.run(asking), site.run(asking)
        for one in (ended, cancelled, still_open):
            eventually(lambda one=one: site.step(one, 0) == "running")  # type: ignore[misc]
        with _snapshot(running.folder / "temporal.sqlite") as temporal:
            site.approve(ended, 0)
            assert site.finish(ended)["status"] == "completed"
            site.post(f"/api/playbooks/executions/{cancelled}/cancel", {}, 200)
            late = site.run(asking)
            backup(running, pair)
            (pair / "temporal.sqlite").unlink()
            with contextlib.closing(sqlite3.connect(pair / "temporal.sqlite")) as older:
                temporal.backup(older)
    assert count(effects) == {ended: 1}
    _describe_anew(pair, "temporal.sqlite")
    folder = tmp_path / "again"
    assert restore(running, pair, folder)["ended"] == 2
    _age(folder, late)
    with up(folder, extra=EXTRA) as again, Site(again) as site:
        site.approve(still_open, 0)
        assert site.finish(still_open)["status"] == "completed"
        assert site.status(ended)["status"] == "completed"
        assert site.status(cancelled)["status"] == "cancelled"
        lost = site.finish(late)
        assert (lost["status"], lost["error"]["code"]) == ("failed", "history_lost")
        assert site.http.post(f"/api/playbooks/executions/{ended}/rerun", json={}).status_code == 202
    assert count(effects) == {ended: 1, still_open: 1}


@pytest.mark.slow
def test_open_runs_can_be_ended_instead(tmp_path: Path) -> None:
    """With --end-open nothing goes on; the runs are told as ended, and why."""
    with up(tmp_path / "data", extra=EXTRA) as running, Site(running) as site:
        waiting = site.run(site.playbook(ASK))
        eventually(lambda: site.step(waiting, 0) == "running")
        backup(running, tmp_path / "copy")
    told = restore(running, tmp_path / "copy", tmp_path / "again", "--end-open")
    assert (told["open"], told["ended"]) == (0, 1)
    with up(tmp_path / "again", extra=EXTRA) as again, Site(again) as site:
        done = site.finish(waiting)
    assert done["status"] == "cancelled"
    assert "--end-open" in done["error"]["message"]


@pytest.mark.slow
def test_an_encrypted_installation_is_restored_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Temporal keeps of its runs can be read with the key only, which the backup does not hold."""
    key = base64.b64encode(bytes(range(32))).decode()
    with up(tmp_path / "data", extra=EXTRA | {"STANCHION_ENCRYPTION_KEY": key}) as running, Site(running) as site:
        waiting = site.run(site.playbook(ASK))
        eventually(lambda: site.step(waiting, 0) == "running")
        backup(running, tmp_path / "copy")
    arguments = ("restore", str(tmp_path / "copy"), "--end-open", "--data-dir")
    without = running.command(*arguments, str(tmp_path / "without"))
    assert without.returncode == 1
    assert "STANCHION_ENCRYPTION_KEY" in without.stderr
    assert "Traceback" not in without.stderr
    assert not (tmp_path / "without").exists()
    monkeypatch.setenv("STANCHION_ENCRYPTION_KEY", key)
    done = running.command(*arguments, str(tmp_path / "again"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ended"] == 1


def _describe_anew(folder: Path, name: str) -> None:
    """Writes into the manifest what the file is now."""
    manifest = json.loads((folder / "backup.json").read_text())
    content = (folder / name).read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "backup.json").write_text(json.dumps(manifest))


def _age(folder: Path, execution: str) -> None:
    """Makes a run older than the time in which it may still be on its way to Temporal."""
    with contextlib.closing(sqlite3.connect(folder / "stanchion.sqlite")) as connection:
        connection.execute("UPDATE executions SET created_at = created_at - 120000 WHERE id = ?", (execution,))
        connection.commit()
