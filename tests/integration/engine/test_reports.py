"""Reports of real runs: kept with the run, handed out, followed by reruns, only spoken of by rehearsals."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.stack import Stack, states

pytestmark = pytest.mark.asyncio(loop_scope="session")

REPORT: dict[str, Any] = {
    "id": "report",
    "action_ref": "report.render",
    "parameters": {"report": "incident", "title": "Incident on {{ asset.name }}", "data": {"summary": "It rained."}},
}


async def test_a_run_hands_out_its_report(shared: Stack) -> None:
    """What the step has made is listed with the execution and downloaded, byte for byte what the output says."""
    execution = await shared.start([REPORT])
    status = await shared.finish(execution, include="io,artifacts")
    assert states(status) == ["completed"]
    output = status["steps"][0]["output"]
    (listed,) = status["artifacts"]
    assert (listed["name"], listed["step"], listed["url"]) == ("incident.html", "report", output["url"])
    answer = await shared.http.get(listed["url"])
    assert answer.text == output["content"]
    assert "<h1>Incident on web-01</h1>" in answer.text
    assert hashlib.sha256(answer.content).hexdigest() == output["sha256"] == listed["sha256"]


async def test_a_rehearsal_keeps_no_report(shared: Stack) -> None:
    """The dry run predicts the report, and nothing is there to download."""
    execution = await shared.start([REPORT], run={"dry_run": True})
    status = await shared.finish(execution, include="io,artifacts")
    assert status["artifacts"] == []
    step = status["steps"][0]
    assert step["would"].startswith("Would keep the report 'Incident on web-01' of ")
    assert "report of a rehearsal" in step["output"]["content"]
    assert (await shared.http.get(step["output"]["url"])).status_code == 404


async def test_two_steps_cannot_have_one_name(shared: Stack) -> None:
    """The second step fails, and the report of the first is left as it was."""
    other = {**REPORT, "id": "again", "parameters": {**REPORT["parameters"], "title": "Another"}}
    execution = await shared.start([REPORT, other])
    status = await shared.finish(execution, include="artifacts")
    assert states(status) == ["completed", "failed"]
    assert status["steps"][1]["error"]["code"] == "artifact_exists"
    assert [one["step"] for one in status["artifacts"]] == ["report"]


async def test_each_iteration_has_its_report(shared: Stack) -> None:
    """In a loop the name is made of the item, and the artifact names the iteration."""
    template = {"template": "[[ data.n ]] of {{ asset.name }}", "values_in": "brackets", "layout": False}
    step = {**REPORT, "parameters": {**template, "data": {"n": "{{ item }}"}, "name": "r-{{ item }}.html"}}
    execution = await shared.start([{"type": "foreach", "items": [1, 2], "steps": [step]}])
    status = await shared.finish(execution, include="artifacts")
    assert status["status"] == "completed", status
    assert [(one["name"], one["step"]) for one in status["artifacts"]] == [
        ("r-1.html", "report.0"),
        ("r-2.html", "report.1"),
    ]
    assert (await shared.http.get(status["artifacts"][1]["url"])).text == "2 of web-01"


async def test_a_hostile_template_fails_its_step_alone(shared: Stack) -> None:
    """A template that would fill the memory ends in a failed step with a code and a sentence."""
    hostile = {"action_ref": "report.render", "parameters": {"template": "[[ 'x' * 10**10 ]]", "values_in": "brackets"}}
    status = await shared.finish(await shared.start([hostile]))
    assert status["steps"][0]["error"] == {
        "code": "report_too_large",
        "message": "The template needs more than 512 MiB.",
    }
