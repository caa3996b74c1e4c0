"""The guide's *Response Format*: the answer to a request that was accepted."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.seed.document import PARAMETERS_OBJECT, PLAYBOOK, RESPONSE
from tests.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

ECHO = {"action_ref": "core.echo", "name": "Say it", "parameters": {}}
TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


async def started(stack: Stack, steps: list[dict[str, Any]] | None = None, **body: Any) -> Any:
    """The answer to a run of a playbook of these steps, once the run has ended."""
    playbook, asset = await stack.playbook(steps or [ECHO]), await stack.asset()
    answer = await stack.post_run(playbook["id"], asset["id"], **body)
    assert answer.status_code == 202, answer.text
    await stack.finish(answer.json()["execution_id"])
    return answer


async def test_202_accepted(shared: Stack) -> None:
    """A successful request returns 202 Accepted, in JSON, and says where the execution is to be found."""
    answer = await started(shared)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/api/playbooks/executions/{answer.json()['execution_id']}"


async def test_the_example(guide: Stack) -> None:
    """The example's response: every field, with the values of the guide's playbook where they can be foreseen."""
    answer = await guide.http.post(
        f"/api/playbooks/{PLAYBOOK}/run",
        content=PARAMETERS_OBJECT.encode(),
        headers={"Content-Type": "application/json"},
    )
    body = answer.json()
    steps = [{name: step[name] for name in RESPONSE["steps"][0]} for step in body["steps"]]
    unforeseen = {name: body[name] for name in ("execution_id", "created_at")}
    assert {**{name: body[name] for name in RESPONSE}, "steps": steps} == {**RESPONSE, **unforeseen}
    await guide.finish(body["execution_id"])


async def test_execution_id(shared: Stack) -> None:
    """Field `execution_id`: string, a unique identifier for this execution run."""
    ids = {(await started(shared)).json()["execution_id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"exec-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found) for found in ids)


async def test_playbook_id(shared: Stack) -> None:
    """Field `playbook_id`: string, the playbook that was executed; its id also where the path has its slug."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    answer = await shared.post_run(playbook["slug"], asset["id"])
    assert answer.json()["playbook_id"] == playbook["id"] != playbook["slug"]
    await shared.finish(answer.json()["execution_id"])


async def test_status(shared: Stack) -> None:
    """Field `status`: string, the overall execution status; a run that was just accepted is `pending`."""
    assert (await started(shared)).json()["status"] == "pending"


@pytest.mark.parametrize("dry_run", [True, False])
async def test_dry_run(shared: Stack, dry_run: bool) -> None:
    """Field `dry_run`: boolean, whether this is a simulation."""
    assert (await started(shared, dry_run=dry_run)).json()["dry_run"] is dry_run


async def test_created_at(shared: Stack) -> None:
    """Field `created_at`: string, the ISO 8601 timestamp of the start, in UTC."""
    before = datetime.now(UTC)  # noqa: TID251
    created = (await started(shared)).json()["created_at"]
    assert re.fullmatch(TIMESTAMP, created)
    assert abs(datetime.fromisoformat(created) - before) < timedelta(seconds=30)


async def test_steps(shared: Stack) -> None:
    """Field `steps`: array, the ordered list of steps with individual statuses."""
    steps = [{**ECHO, "name": f"Step {number}"} for number in range(12)]
    body = (await started(shared, steps)).json()
    assert [step["name"] for step in body["steps"]] == [step["name"] for step in steps]
    assert {step["status"] for step in body["steps"]} == {"pending"}


async def test_step_index(shared: Stack) -> None:
    """`index` of a step: its place in the list, from 0."""
    assert [step["index"] for step in (await started(shared, [ECHO] * 3)).json()["steps"]] == [0, 1, 2]


async def test_step_action_id(shared: Stack) -> None:
    """`action_id` of a step: `act-001`, `act-002` by position, unless the step has an id of its own."""
    body = (await started(shared, [ECHO, {**ECHO, "id": "tell"}, ECHO])).json()
    assert [step["action_id"] for step in body["steps"]] == ["act-001", "tell", "act-003"]


async def test_step_name(shared: Stack) -> None:
    """`name` of a step: the one that the playbook gives it."""
    body = (await started(shared, [{**ECHO, "name": "Enrich finding"}])).json()
    assert body["steps"][0]["name"] == "Enrich finding"


async def test_nothing_has_begun(shared: Stack) -> None:
    """What the answer lists beside the guide's fields says the same: nothing has started, failed or been tried."""
    body = (await started(shared)).json()
    assert (body["started_at"], body["finished_at"], body["error"], body["cancelled"]) == (None,) * 4
    step = body["steps"][0]
    assert (step["started_at"], step["finished_at"], step["duration_ms"], step["attempt"]) == (None, None, None, 0)
