"""Artifacts of executions over HTTP: listed, downloaded, harmless in a browser."""

from __future__ import annotations

import hashlib

import httpx2
import pytest
from fastapi import FastAPI

from playbooks.contract import Settlement
from storage import artifacts, executions
from storage.artifacts import NewArtifact
from storage.executions import NewExecution
from tests.integration.api.conftest import Minter

NOW = 1_777_374_000_000
PAGE = b"<script>alert(1)</script>"
RUN = "exec-1"
PATH = f"/api/playbooks/executions/{RUN}/artifacts"


@pytest.fixture
async def made(api: httpx2.AsyncClient, app: FastAPI, definition) -> httpx2.AsyncClient:  # type: ignore[no-untyped-def]
    """An API with an execution that has ended and has two artifacts."""
    playbook = (await api.post("/api/playbooks", json=definition())).json()
    database = app.state.services.database
    run = NewExecution(
        id=RUN,
        created_at=NOW,
        created_by="t",
        playbook_id=playbook["id"],
        revision=1,
        asset_id="a",
        asset={"id": "a"},
        parameters={},
        dry_run=False,
        workflow_id="w",
    )
    await database.write(executions.insert, run)
    for name, media_type, data in (("report.html", "text/html", PAGE), ("data.json", "application/json", b"{}")):
        new = NewArtifact(execution_id=RUN, name=name, step="act-001", media_type=media_type, created_at=NOW, data=data)
        await database.write(artifacts.put, new)
    end = Settlement(
        execution_id=RUN, workflow_run_id="r", state="completed", started_at=NOW, finished_at=NOW, steps=[["c"]]
    )
    await database.write(executions.settle, end, NOW)
    return api


async def test_artifacts_are_listed(made: httpx2.AsyncClient) -> None:
    """The list says of each what it is, who made it and where it is."""
    answer = (await made.get(PATH)).json()
    assert answer["meta"] == {"total": 2, "page": 1, "per_page": 20}
    assert answer["data"][1] == {
        "name": "report.html",
        "media_type": "text/html",
        "size": len(PAGE),
        "sha256": hashlib.sha256(PAGE).hexdigest(),
        "step": "act-001",
        "created_at": "2026-04-28T11:00:00Z",
        "url": f"{PATH}/report.html",
    }
    assert [one["name"] for one in (await made.get(PATH, params={"per_page": 1, "page": 2})).json()["data"]] == [
        "report.html"
    ]


async def test_an_execution_names_its_artifacts_when_asked(made: httpx2.AsyncClient) -> None:
    """They stand in the execution with `include=artifacts`, and cost the plain read nothing."""
    path = f"/api/playbooks/executions/{RUN}"
    assert "artifacts" not in (await made.get(path)).json()
    included = (await made.get(path, params={"include": "artifacts,io"})).json()
    assert included["artifacts"] == (await made.get(PATH)).json()["data"]
    assert included["io_available"] is True


async def test_a_download_is_harmless(made: httpx2.AsyncClient) -> None:
    """The bytes come as an attachment that no browser runs, whatever they are."""
    answer = await made.get(f"{PATH}/report.html")
    assert (answer.status_code, answer.content) == (200, PAGE)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


async def test_a_known_artifact_is_not_sent_again(made: httpx2.AsyncClient) -> None:
    """The ETag is the hash; a client that has it gets 304 and no content."""
    tag = (await made.head(f"{PATH}/report.html")).headers["etag"]
    assert tag == f'"{hashlib.sha256(PAGE).hexdigest()}"'
    again = await made.get(f"{PATH}/report.html", headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await made.get(f"{PATH}/report.html", headers={"If-None-Match": '"x"'})).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PATH}/other.html", 404),
        ("/api/playbooks/executions/exec-none/artifacts", 404),
        ("/api/playbooks/executions/exec-none/artifacts/report.html", 404),
        (f"{PATH}/.hidden", 404),
        (f"{PATH}/..%2F..%2Fetc", 404),
    ],
)
async def test_what_is_not_there(made: httpx2.AsyncClient, path: str, status: int) -> None:
    """Unknown executions and names are 404, and so is what can be no name."""
    answer = await made.get(path)
    assert (answer.status_code, answer.json()["status"]) == (status, "error")


async def test_reading_artifacts_needs_the_permission(made: httpx2.AsyncClient, mint: Minter) -> None:
    """Who may read executions may read what they made; nobody else."""
    for permission, status in (("playbook:read", 200), ("playbook:execute", 200), ("asset:read", 403)):
        headers = await mint(permission)
        assert (await made.get(PATH, headers=headers)).status_code == status
        assert (await made.get(f"{PATH}/data.json", headers=headers)).status_code == status
