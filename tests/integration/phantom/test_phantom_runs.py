"""Runs through the Phantom interface: ``shared`` table of the document, row by row, on a real Temporal."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.integration.engine.test_blocks import echo, fails, sleeps
from tests.integration.phantom.phantom import Phantom

ASK = {"id": "ask", "type": "approval", "name": "Go on?"}
RECORD_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
MESSAGE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?\+00:00")


async def playbook(phantom: Phantom, *steps: dict[str, Any], **definition: Any) -> str:
    """A playbook; its name."""
    made = await phantom.stack.playbook(list(steps) or [echo("a", n=1)], **definition)
    name: str = made["name"]
    return name


async def test_a_run_from_start_to_end(phantom: Phantom) -> None:
    """Every field of the document's table, with its type."""
    name = await playbook(phantom, echo("a", n="{{ container.name }}"), echo("b"))
    container = await phantom.container()
    run = await phantom.run(name, container)
    record = await phantom.ended(run)
    types: dict[str, Any] = {
        "action_exec": list, "cancelled": type(None), "container": int, "id": int, "last_artifact": int,
        "log_level": int, "message": str, "owner": int, "playbook": int, "start_time": str, "status": str,
        "test_mode": bool, "update_time": str, "version": int, "node_guid": str, "run_data": dict, "misc": dict,
        "effective_user": int, "ip_address": str,
    }  # fmt: skip
    for field, kind in types.items():
        assert type(record[field]) is kind, field
    assert (record["id"], record["container"], record["status"]) == (run, container, "success")
    assert (record["misc"], record["version"], record["test_mode"]) == ({"scope": "new"}, 1, False)
    assert RECORD_TIME.fullmatch(record["start_time"])
    assert RECORD_TIME.fullmatch(record["update_time"])
    assert record["start_time"] <= record["update_time"]


async def test_the_message_is_json_in_a_string(phantom: Phantom) -> None:
    """It ends in a newline; its times have an offset, and no trailing zeros; app runs tell parameters as JSON."""
    name = await playbook(phantom, echo("a", n="{{ container.name }}"), sleeps("b", 0))
    record = await phantom.ended(await phantom.run(name, await phantom.container()))
    assert record["message"].endswith("}\n")
    message = json.loads(record["message"])
    assert (message["playbook_run_id"], message["playbook"]) == (record["id"], f"local/{name}")
    assert (message["name"], message["status"], message["message"]) == (name, "success", "")
    first, second = message["result"]
    assert (first["action"], first["status"], first["type"]) == ("core.echo", "success", "generic")
    assert second["id"] == first["id"] + 1
    for field in ("create_time", "close_time"):
        assert MESSAGE_TIME.fullmatch(first[field])
    [app_run] = first["app_runs"]
    assert json.loads(app_run["parameter"]) == {"n": "An incident"}
    assert (app_run["per_parameter_status"], app_run["asset_name"]) == ("success", "An incident")
    assert (app_run["action_run_id"], app_run["app_run_id"]) == (first["id"], first["id"])
    assert isinstance(app_run["app_message"], str)
    assert first["message"] == "1 actions succeeded"


async def test_a_run_is_running_from_the_first_moment(phantom: Phantom) -> None:
    """Also while no worker runs, and in the list."""
    await phantom.stack.stop_worker()
    name = await playbook(phantom)
    container = await phantom.container()
    run = await phantom.run(name, container)
    record = await phantom.get(f"playbook_run/{run}")
    assert (record["status"], record["cancelled"]) == ("running", None)
    params = {"_filter_container": container, "_filter_status": '"running"'}
    assert (await phantom.get("playbook_run", **params))["count"] == 1
    await phantom.stack.start_worker()
    assert (await phantom.ended(run))["status"] == "success"
    assert (await phantom.get("playbook_run", **params))["count"] == 0


async def test_a_failed_run(phantom: Phantom) -> None:
    """`status` is failed, the message says why, and the log has a line of type 0."""
    name = await playbook(phantom, fails("a"))
    run = await phantom.run(name, await phantom.container())
    record = await phantom.ended(run)
    assert (record["status"], record["cancelled"]) == ("failed", None)
    message = json.loads(record["message"])
    assert message["status"] == "failed"
    assert message["message"]
    log = await phantom.get(f"playbook_run/{run}/log", page_size=0, sort="time")
    assert 0 in [line["message_type"] for line in log["data"]]
    assert log["count"] == len(log["data"])


async def test_a_cancelled_run(phantom: Phantom) -> None:
    """The answer says true, the record says why, and its status is failed."""
    name = await playbook(phantom, sleeps("a", 60))
    run = await phantom.run(name, await phantom.container())
    answer = await phantom.post(f"playbook_run/{run}", {"cancel": True})
    assert answer["cancelled"] is True
    assert isinstance(answer["message"], str)
    record = await phantom.ended(run)
    assert (record["status"], record["cancelled"]) == ("failed", "cancelled by admin")
    assert (await phantom.post(f"playbook_run/{run}", {"cancel": True}))["cancelled"] is True


async def test_a_run_that_has_ended_cannot_be_cancelled(phantom: Phantom) -> None:
    """`{"failed": true, "message": …}`, and nothing changes."""
    run = await phantom.run(await playbook(phantom), await phantom.container())
    await phantom.ended(run)
    await phantom.fails("POST", f"playbook_run/{run}", 400, {"cancel": True})
    await phantom.fails("POST", f"playbook_run/{run}", 400, {"cancel": False})
    assert (await phantom.get(f"playbook_run/{run}"))["status"] == "success"


@pytest.mark.parametrize("face", ["native", "temporal"])
async def test_a_run_is_cancelled_from_the_other_faces_too(phantom: Phantom, face: str) -> None:
    """It stands among the native executions, ``source: phantom``, and in Temporal."""
    run = await phantom.run(await playbook(phantom, sleeps("a", 60)), await phantom.container())
    [execution] = (await phantom.stack.http.get("/api/playbooks/executions")).json()["data"]
    whole = await phantom.stack.status(execution["execution_id"])
    assert whole["source"] == "phantom"
    if face == "native":
        await phantom.stack.cancel(execution["execution_id"], reason="by hand")
    else:
        await phantom.stack.temporal.get_workflow_handle(whole["temporal"]["workflow_id"]).cancel()
    record = await phantom.ended(run)
    assert record["status"] == "failed"
    assert record["cancelled"] == ("by hand" if face == "native" else record["cancelled"])
    assert record["cancelled"]


@pytest.mark.parametrize("form", ["name", "repo/name", "number", "digits", "slug"])
async def test_a_playbook_is_named_in_many_ways(phantom: Phantom, form: str) -> None:
    """By its name, ``repo/name``, its number, digits in a string."""
    made = await phantom.stack.playbook([echo("a")])
    number = (await phantom.get("playbook", _filter_name=json.dumps(made["name"])))["data"][0]["id"]
    given = {
        "name": made["name"], "repo/name": f"local/{made['name']}", "number": number, "digits": str(number),
        "slug": made["slug"],
    }[form]  # fmt: skip
    run = await phantom.run(given, str(await phantom.container()))  # type: ignore[arg-type]
    assert (await phantom.ended(run))["playbook"] == number


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"playbook_id": "x", "run": True}, 400, '"container_id" is required.'),
        ({"container_id": 1, "run": True}, 400, '"playbook_id" is required.'),
        ({"container_id": 1, "playbook_id": "nobody", "run": True}, 404, 'Playbook "nobody" not found'),
        ({"container_id": 1, "playbook_id": 99, "run": True}, 404, 'Playbook "99" not found'),
        ({"container_id": 1, "playbook_id": "other/repo", "run": True}, 404, 'Playbook "other/repo" not found'),
        ({"container_id": "x", "playbook_id": "p", "run": True}, 400, '"container_id" must be a number.'),
        ({"container_id": 1, "playbook_id": "p", "run": False}, 400, '"run" must be true'),
        ({"container_id": 99, "playbook_id": "known", "run": True}, 404, 'Container "99" not found'),
        ({"container_id": 1, "playbook_id": "known", "scope": "some"}, 400, '"scope" must be'),
        ({"container_id": 1, "playbook_id": "known", "scope": [77]}, 404, 'Artifact "77" not found'),
        ({"container_id": 1, "playbook_id": "known", "inputs": {"n": "x"}}, 400, "The inputs do not fit"),
        ({"container_id": 1, "playbook_id": "known", "inputs": "{"}, 400, '"inputs" must be'),
        ({"container_id": 1, "playbook_id": "known", "inputs": "[" * 50_000}, 400, '"inputs" must be'),
        ({"container_id": 1, "playbook_id": "known", "scope": "[" * 50_000}, 400, '"scope" must be'),
    ],
)
async def test_bad_requests_queue_nothing(phantom: Phantom, body: dict[str, Any], status: int, message: str) -> None:
    """Each is answered with what is wrong."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await playbook(phantom, name="known", parameters=schema)
    await phantom.container()
    told = await phantom.fails("POST", "playbook_run", status, body)
    assert told["message"].startswith(message)
    assert (await phantom.get("playbook_run"))["count"] == 0


async def test_scope_chooses_the_artifacts(phantom: Phantom) -> None:
    """``all``, a list of ids, and ``new``: what came since the playbook last ran on the container."""
    name = await playbook(phantom, echo("a", ids="{{ artifacts.map(one, one.id) }}", cef="{{ artifacts }}"))
    container = await phantom.container()
    first = await phantom.artifact(container, cef={"sourceAddress": "10.0.0.1"})
    second = await phantom.artifact(container, cef={"sourceAddress": "10.0.0.2"})

    async def taken(scope: Any) -> list[int]:
        run = await phantom.run(name, container, **({} if scope is None else {"scope": scope}))
        record = await phantom.ended(run)
        assert record["status"] == "success", record
        assert record["misc"] == {"scope": "new" if scope is None else scope}
        [app_run] = (await phantom.get("app_run", _filter_playbook_run=run))["data"]
        output = app_run["result_data"][0]["data"][0]
        assert [one["cef"] for one in output["cef"]] == [{"sourceAddress": f"10.0.0.{n}"} for n in output["ids"]]
        ids: list[int] = output["ids"]
        return ids

    assert (first, second) == (1, 2)
    assert await taken([second]) == [second]
    assert await taken("new") == [first]
    assert await taken(None) == []
    assert await taken("all") == [first, second]
    assert await phantom.artifact(container, cef={"sourceAddress": "10.0.0.3"}) == 3
    assert await taken("new") == [3]
    other = await playbook(phantom, echo("a", ids="{{ artifacts.map(one, one.id) }}", cef="{{ artifacts }}"))
    name = other
    assert await taken("new") == [1, 2, 3]


async def test_two_runs_do_not_take_the_same_artifact_as_new(phantom: Phantom) -> None:
    """However many start at the same moment: each artifact is new to one of them."""
    name = await playbook(phantom, echo("a", ids="{{ artifacts.map(one, one.id) }}"))
    container = await phantom.container(artifacts=[{"name": f"a{n}"} for n in range(20)])
    started = await asyncio.gather(*(phantom.run(name, container) for _ in range(8)))
    taken: list[int] = []
    for run in started:
        await phantom.ended(run)
        [app_run] = (await phantom.get("app_run", _filter_playbook_run=run))["data"]
        taken += app_run["result_data"][0]["data"][0]["ids"]
    assert sorted(taken) == list(range(1, 21))


async def test_what_a_refused_run_took_is_new_again(phantom: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporal would not have it: no run, and its artifacts are there for the next one."""
    from engine.errors import TemporalUnavailable
    from engine.runs import Runs

    name = await playbook(phantom, echo("a", ids="{{ artifacts.map(one, one.id) }}"))
    container = await phantom.container(artifacts=[{"name": "a"}])

    async def away(*_: object) -> str:
        raise TemporalUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(Runs, "start", away)
        body = {"container_id": container, "playbook_id": name, "run": True}
        await phantom.fails("POST", "playbook_run", 503, body)
    assert (await phantom.get("playbook_run"))["count"] == 0
    run = await phantom.run(name, container)
    await phantom.ended(run)
    [app_run] = (await phantom.get("app_run", _filter_playbook_run=run))["data"]
    assert app_run["result_data"][0]["data"][0]["ids"] == [1]


async def test_one_playbook_runs_twice_on_one_container(phantom: Phantom) -> None:
    """Phantom lets it."""
    name = await playbook(phantom, sleeps("a", 60))
    container = await phantom.container()
    first, second = await phantom.run(name, container), await phantom.run(name, container)
    assert (await phantom.get("playbook_run", _filter_status="running"))["count"] == 2
    for run in (first, second):
        await phantom.post(f"playbook_run/{run}", {"cancel": True})


async def test_inputs_are_the_parameters(phantom: Phantom) -> None:
    """As an object, or as JSON in a string; unknown fields of the request are left out."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    name = await playbook(phantom, echo("a", n="{{ parameters.n }}"), parameters=schema)
    container = await phantom.container()
    for inputs in ({"n": 3}, '{"n": 3}'):
        run = await phantom.run(name, container, inputs=inputs, whatever=True)
        assert (await phantom.ended(run))["inputs"] == {"n": 3}


async def test_actions_and_app_runs(phantom: Phantom) -> None:
    """Each step that ran is an action run with one app run."""
    name = await playbook(phantom, echo("a", n=1), {**echo("b"), "when": "false"}, sleeps("c", 0))
    container = await phantom.container()
    run = await phantom.run(name, container)
    await phantom.ended(run)
    actions = await phantom.get(f"playbook_run/{run}/actions")
    assert [(one["name"], one["action"], one["status"]) for one in actions["data"]] == [
        ("a", "core.echo", "success"),
        ("c", "core.sleep", "success"),
    ]
    first = actions["data"][0]
    assert (first["playbook_run"], first["container"]) == (run, container)
    assert await phantom.get(f"action_run/{first['id']}") == {
        key: value for key, value in first.items() if key not in ("playbook_run_id", "container_id")
    }
    assert (await phantom.get("action_run", _filter_action__icontains='"SLEEP"'))["count"] == 1
    [app_run] = (await phantom.get("app_run", _filter_action_run=first["id"]))["data"]
    assert app_run["result_data"][0]["parameter"] == {"n": 1}
    assert (await phantom.get(f"container/{container}/actions"))["count"] == 2
    assert (await phantom.get(f"action_run/{first['id']}/message")) == {"message": "1 actions succeeded"}
    await phantom.fails("GET", "action_run/123456789", 404)


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"_filter_playbook_run__status": '"failed"'}, ["b"]),
        ({"_exclude_playbook_run__status": '"failed"'}, ["a"]),
        ({"_filter_playbook__name__icontains": '"GOOD"'}, ["a"]),
        ({"_filter_container__name": '"An incident"', "_filter_container__label__in": '["events"]'}, ["a", "b"]),
        ({"_filter_container__name": '"another"'}, []),
    ],
)
async def test_steps_are_found_by_their_run(phantom: Phantom, params: dict[str, str], names: list[str]) -> None:
    """Fields of the run, its playbook and its container filter them, and are not shown."""
    good, bad = await playbook(phantom, echo("a"), name="Good one"), await playbook(phantom, fails("b"))
    container = await phantom.container()
    for name in (good, bad):
        await phantom.ended(await phantom.run(name, container))
    for path in ("action_run", f"container/{container}/actions"):
        found = await phantom.get(path, **params)
        assert sorted(one["name"] for one in found["data"]) == names
        assert not any("__" in field for one in found["data"] for field in one)
    assert (await phantom.get("app_run", **params))["count"] == len(names)


async def test_a_deactivated_playbook_ends_its_runs(phantom: Phantom) -> None:
    """Where `cancel_runs` asks for it; those of other playbooks go on."""
    name, other = await playbook(phantom, sleeps("a", 60)), await playbook(phantom, sleeps("b", 60))
    container = await phantom.container()
    run, beside = await phantom.run(name, container), await phantom.run(other, container)
    number = (await phantom.get(f"playbook_run/{run}"))["playbook"]
    await phantom.post(f"playbook/{number}", {"active": True, "cancel_runs": True})
    assert (await phantom.get(f"playbook_run/{run}"))["status"] == "running"
    await phantom.post(f"playbook/{number}", {"active": False, "cancel_runs": True})
    ended = await phantom.get(f"playbook_run/{run}")
    assert (ended["status"], ended["cancelled"]) == ("failed", "the playbook was deactivated")
    assert (await phantom.get(f"playbook_run/{beside}"))["status"] == "running"
    await phantom.post(f"playbook_run/{beside}", {"cancel": True})


async def test_approvals_are_answered(phantom: Phantom) -> None:
    """As clients do it: they look what is pending on a container, and answer."""
    name = await playbook(phantom, ASK, echo("b"))
    container = await phantom.container()
    params = {"_filter_status": '"pending"', "_filter_action_run__container_id": f'"{container}"', "sort": "start_time"}
    for said, status in (("approve", "success"), ("deny", "failed")):
        run = await phantom.run(name, container)
        async with asyncio.timeout(60):
            while not (found := await phantom.get("approval", **params))["data"]:
                await asyncio.sleep(0.05)
        [approval] = found["data"]
        assert (await phantom.get("action_run", _filter_action='"prompt"', _filter_playbook_run=run))["count"] == 1
        assert (approval["name"], approval["playbook_run"]) == ("Go on?", run)
        assert (await phantom.post(f"approval/{approval['id']}", {"status": said, "responses": ["ok"]}))["success"]
        assert (await phantom.ended(run))["status"] == status
        await phantom.fails("POST", f"approval/{approval['id']}", 400, {"status": "approve"})


async def test_lists_are_filtered_sorted_and_paged(phantom: Phantom) -> None:
    """As Phantom's *Query for Data* says."""
    name = await playbook(phantom)
    containers = [await phantom.container(name=f"incident {n}") for n in range(3)]
    numbers = [await phantom.run(name, container) for container in containers]
    for run in numbers:
        await phantom.ended(run)
    listed = await phantom.get("playbook_run", sort="id", order="desc", page_size=2)
    assert (listed["count"], listed["num_pages"]) == (3, 2)
    assert [one["id"] for one in listed["data"]] == numbers[:0:-1]
    assert [one["id"] for one in (await phantom.get("playbook_run", page=1, page_size=2))["data"]] == numbers[2:]
    found = await phantom.get("playbook_run", _filter_container__name__icontains='"INCIDENT 1"')
    assert [one["container"] for one in found["data"]] == [containers[1]]
    found = await phantom.get("playbook_run", _exclude_container__in=f"({containers[0]},{containers[2]})")
    assert [one["container"] for one in found["data"]] == [containers[1]]
    found = await phantom.get("playbook_run", _filter_start_time__gt='"2016-01-15"', _filter_owner__username="'admin'")
    assert found["count"] == 3
    whole = await phantom.get("playbook_run", page_size=0, pretty="")
    assert len(whole["data"]) == 3
    assert whole["data"][0]["_pretty_playbook"] == name
    assert whole["data"][0]["_pretty_owner"] == "admin"
    assert whole["data"][0]["_pretty_start_time"]
    told = await phantom.fails("GET", "playbook_run", 400, _filter_colour='"red"')
    assert "container" in told["message"]
    assert "start_time" in told["message"]


async def test_secret_parameters_are_masked(phantom: Phantom) -> None:
    """Wherever a run tells what it was given, what it answered and why it failed; as the native interface does."""
    secret = "s3cret-of-the-run"
    steps = [echo("a", said="with {{ parameters.password }}"), {**fails("b"), "parameters": {"message": "no"}}]
    steps[1]["parameters"] = {"message": "refused {{ parameters.password }}"}
    parameters = {"type": "object", "properties": {"password": {"type": "string", "writeOnly": True}}}
    name = await playbook(phantom, *steps, parameters=parameters)
    run = await phantom.run(name, await phantom.container(), inputs={"password": secret})
    record = await phantom.ended(run)
    told = [record, *[await phantom.get(f"playbook_run/{run}/{part}") for part in ("actions", "log", "inputs")]]
    told += [await phantom.get(part, _filter_playbook_run=run) for part in ("action_run", "app_run")]
    text = json.dumps(told)
    assert "with ***" in text
    assert "refused ***" in text
    assert secret not in text
    [native] = (await phantom.stack.http.get("/api/playbooks/executions")).json()["data"]
    assert secret not in json.dumps(await phantom.stack.status(native["execution_id"], include="io"))
