"""Playbooks that run by the clock: their schedules in Temporal, the conflict rule, and what was missed."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, update
from temporalio.client import ScheduleBackfill, ScheduleHandle, ScheduleOverlapPolicy
from temporalio.service import RPCError

from engine.schedules import Schedules
from executions.firing import Firer
from executions.starting import Starter
from executions.timetables import Timetables
from playbooks.contract import Fire
from storage import tables
from tests.integration.engine.test_blocks import echo, sleeps
from tests.stack import Stack

HOUR_MS = 3_600_000


def nightly(asset: str, **trigger: Any) -> dict[str, Any]:
    """A trigger for two o'clock in the night."""
    return {"event": "schedule", "cron": "0 2 * * *", "asset": asset, **trigger}


async def stored(stack: Stack, *steps: dict[str, Any], **trigger: Any) -> dict[str, Any]:
    """A playbook with a schedule on an asset of its own."""
    asset = await stack.asset()
    return await stack.playbook(list(steps) or [echo("a")], trigger=nightly(asset["id"], **trigger))


def handle_of(stack: Stack, playbook: dict[str, Any]) -> ScheduleHandle:
    """The schedule in Temporal."""
    return stack.temporal.get_schedule_handle(f"{stack.settings.task_queue}:{playbook['id']}")


async def schedule(stack: Stack, playbook: dict[str, Any]) -> dict[str, Any]:
    """What the API tells of a schedule."""
    answer = await stack.http.get(f"/api/playbooks/{playbook['id']}/schedule")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def make_due(stack: Stack, playbook: dict[str, Any], days_ago: int = 1) -> datetime:
    """Has Temporal act as if one of the last nights were now; returns when that was."""
    due = (datetime.fromtimestamp(time.time(), UTC) - timedelta(days=days_ago)).replace(
        hour=2, minute=0, second=0, microsecond=0
    )
    window = ScheduleBackfill(
        due - timedelta(minutes=1), due + timedelta(minutes=1), overlap=ScheduleOverlapPolicy.ALLOW_ALL
    )
    await handle_of(stack, playbook).backfill(window)
    return due


async def until_told(stack: Stack, playbook: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """What came of the last times, once there are ``count`` of them."""
    async with asyncio.timeout(60):
        while len(recent := (await schedule(stack, playbook))["recent"]) < count:
            await asyncio.sleep(0.05)
    return list(recent)


async def executions(stack: Stack, playbook: dict[str, Any]) -> list[dict[str, Any]]:
    """The executions of a playbook."""
    answer = await stack.http.get(f"/api/playbooks/{playbook['id']}/executions")
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def test_a_playbook_that_is_due_runs(stack: Stack) -> None:
    """On its asset, with its parameters, once; the execution and the audit trail say that the schedule did it."""
    asset = await stack.asset()
    parameters = {"type": "object", "properties": {"depth": {"type": "integer"}}}
    playbook = await stack.playbook(
        [echo("a", n="{{ parameters.depth }}")],
        parameters=parameters,
        trigger=nightly(asset["id"], parameters={"depth": 3}),
    )
    due = await make_due(stack, playbook)
    [told] = await until_told(stack, playbook)
    assert (told["outcome"], told["due_at"]) == ("started", due.isoformat().replace("+00:00", "Z"))
    status = await stack.finish(told["execution_id"])
    assert (status["status"], status["source"], status["target_asset_id"]) == ("completed", "schedule", asset["id"])
    assert status["steps"][0]["output"] == {"n": 3}
    entries = (await stack.http.get("/api/audit", params={"object_id": told["execution_id"]})).json()["data"]
    assert [entry["actor_id"] for entry in entries] == ["schedule"]


async def test_a_due_time_runs_once(stack: Stack) -> None:
    """Temporal may say the same time twice; the second finds the run of the first."""
    playbook = await stored(stack)
    due = await make_due(stack, playbook)
    [told] = await until_told(stack, playbook)
    await stack.finish(told["execution_id"])
    firer = Firer(stack.database, Starter.build(stack.database, stack.temporal, stack.settings.task_queue))
    key = (await handle_of(stack, playbook).describe()).schedule.state.note.split("[")[-1].rstrip("]")
    again = await firer.fire(Fire(playbook_id=playbook["id"], key=key, due_at=int(due.timestamp() * 1000)))
    assert (again.outcome, again.execution_id) == ("started", told["execution_id"])
    assert len(await executions(stack, playbook)) == 1
    assert len((await schedule(stack, playbook))["recent"]) == 1


async def test_an_overlap_obeys_the_conflict_rule(stack: Stack) -> None:
    """While the playbook runs on the asset, the schedule starts nothing and says what stood in the way."""
    playbook = await stored(stack, sleeps("long", 60))
    await make_due(stack, playbook, 2)
    [first] = await until_told(stack, playbook)
    await make_due(stack, playbook, 1)
    second, _ = await until_told(stack, playbook, 2)
    assert (second["outcome"], second["execution_id"]) == ("conflict", first["execution_id"])
    assert len(await executions(stack, playbook)) == 1
    await stack.cancel(first["execution_id"])


async def test_a_due_time_waits_for_a_worker(stack: Stack) -> None:
    """No worker, no start; and none is lost."""
    playbook = await stored(stack)
    await stack.stop_worker()
    await make_due(stack, playbook)
    await asyncio.sleep(0.5)
    assert await executions(stack, playbook) == []
    await stack.start_worker()
    [told] = await until_told(stack, playbook)
    assert (await stack.finish(told["execution_id"]))["status"] == "completed"


async def test_what_cannot_be_started_is_told(stack: Stack) -> None:
    """The asset has gone since the playbook was stored."""
    asset = await stack.asset()
    playbook = await stack.playbook([echo("a")], trigger=nightly(asset["id"]))
    assert (await stack.http.delete(f"/api/assets/{asset['id']}")).status_code == 204
    await make_due(stack, playbook)
    [told] = await until_told(stack, playbook)
    assert (told["outcome"], told["execution_id"]) == ("refused", None)
    assert asset["id"] in told["message"]


async def test_the_schedule_follows_the_playbook(stack: Stack) -> None:
    """Made, changed and taken away with it; the times are those of its time zone."""
    playbook = await stored(stack, timezone="Asia/Kolkata")
    told = await schedule(stack, playbook)
    assert (told["cron"], told["timezone"], told["paused"], told["recent"]) == ("0 2 * * *", "Asia/Kolkata", False, [])
    assert [time[10:] for time in told["next"]] == ["T20:30:00Z"] * 5
    await handle_of(stack, playbook).pause(note="not this week")
    url = f"/api/playbooks/{playbook['id']}"
    definition = {"name": playbook["name"], "steps": playbook["steps"]}
    trigger = {**playbook["trigger"], "cron": "15 8 * * mon", "timezone": "UTC"}
    assert (await stack.http.put(url, json={**definition, "trigger": trigger})).status_code == 200
    told = await schedule(stack, playbook)
    assert told["paused"] is True
    assert all(datetime.fromisoformat(time).isoweekday() == 1 for time in told["next"])
    assert [time[10:] for time in told["next"]] == ["T08:15:00Z"] * 5
    assert (await stack.http.put(url, json=definition)).status_code == 200
    with pytest.raises(RPCError, match="not found"):
        await handle_of(stack, playbook).describe()
    assert (await stack.http.get(f"{url}/schedule")).status_code == 404
    assert (await stack.http.put(url, json={**definition, "trigger": trigger})).status_code == 200
    assert (await stack.http.delete(url)).status_code == 204
    with pytest.raises(RPCError, match="not found"):
        await handle_of(stack, playbook).describe()


async def test_a_schedule_that_is_out_of_date_starts_nothing(stack: Stack) -> None:
    """A time that was due by the schedule before belongs to nobody."""
    playbook = await stored(stack)
    firer = Firer(stack.database, Starter.build(stack.database, stack.temporal, stack.settings.task_queue))
    fired = await firer.fire(Fire(playbook_id=playbook["id"], key="of-another", due_at=0))
    assert fired.outcome == "superseded"
    assert await executions(stack, playbook) == []


async def test_what_is_lost_between_database_and_temporal_is_made_good(stack: Stack) -> None:
    """A schedule that is missing is made, one that nobody wants is taken away."""
    playbook, stray = await stored(stack), await stored(stack)
    await handle_of(stack, playbook).delete()

    def forget_trigger(connection: Connection) -> None:
        playbooks = tables.playbooks
        connection.execute(update(playbooks).where(playbooks.c.id == stray["id"]).values(trigger={"event": "manual"}))

    await stack.database.write(forget_trigger)
    timetables = Timetables(stack.database, Schedules(stack.temporal, stack.settings.task_queue))
    async with asyncio.timeout(60):
        while True:
            await timetables.keep()
            kept = await timetables.schedules.kept()
            if set(kept) == {playbook["id"]}:
                break
            await asyncio.sleep(0.1)
    assert (await handle_of(stack, playbook).describe()).schedule.state.paused is False


async def test_missed_times_are_told(stack: Stack) -> None:
    """Times at which nothing could start the playbook: once each, with how many; those that were noted are not."""
    asset = await stack.asset()
    trigger = nightly(asset["id"], cron="*/10 * * * *")
    playbook = await stack.playbook([echo("a")], trigger=trigger)
    now = int(time.time() * 1000)

    def make_old(connection: Connection) -> None:
        playbooks = tables.playbooks
        connection.execute(
            update(playbooks).where(playbooks.c.id == playbook["id"]).values(updated_at=now - 3 * HOUR_MS)
        )

    await stack.database.write(make_old)
    schedules = Schedules(stack.temporal, stack.settings.task_queue)
    missed = await Timetables(stack.database, schedules).tell_missed()
    assert 14 <= missed <= 16  # three hours less the 25 minutes in which a time may still come to something
    assert await Timetables(stack.database, schedules).tell_missed() == 0
    [told] = (await schedule(stack, playbook))["recent"]
    assert (told["outcome"], told["count"], told["execution_id"]) == ("missed", missed, None)
    entries = (await stack.http.get("/api/audit", params={"action": "playbook.schedule"})).json()["data"]
    assert [(entry["object_id"], entry["outcome"]) for entry in entries] == [(playbook["id"], "missed")]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"cron": "61 * * * *"}, "/trigger/cron"),
        ({"cron": None}, "/trigger"),
        ({"asset": None}, "/trigger"),
        ({"asset": "no-such-asset"}, "/trigger/asset"),
        ({"asset": "{{ payload.host }}"}, "/trigger/asset"),
        ({"timezone": "Europe/Atlantis"}, "/trigger/timezone"),
        ({"parameters": {"depth": "deep"}}, "/trigger/parameters/depth"),
        ({"event": "manual"}, "/trigger/cron"),
    ],
)
async def test_a_faulty_schedule_is_refused(stack: Stack, change: dict[str, Any], path: str) -> None:
    """With the place of the fault, and nothing is stored."""
    trigger = {key: value for key, value in {**nightly("web-01"), **change}.items() if value is not None}
    await stack.asset(name="web-01")
    body = {
        "name": f"Faulty {uuid.uuid4()}",
        "parameters": {"type": "object", "properties": {"depth": {"type": "integer"}}},
        "trigger": trigger,
        "steps": [echo("a")],
    }
    answer = await stack.http.post("/api/playbooks", json=body)
    assert answer.status_code == 400
    assert path in [detail["path"] for detail in answer.json()["error"]["details"]]
    assert (await stack.http.get("/api/playbooks")).json()["meta"]["total"] == 0


async def test_the_clock_itself(stack: Stack) -> None:
    """Every minute, on an asset that is known by its hostname."""
    await stack.asset(hostname="clock.example")
    playbook = await stack.playbook([echo("a")], trigger=nightly("clock.example", cron="* * * * *"))
    async with asyncio.timeout(75):
        while not (recent := (await schedule(stack, playbook))["recent"]):
            await asyncio.sleep(0.5)
    assert recent[0]["outcome"] == "started"
    assert recent[0]["due_at"].endswith(":00Z")
    assert (await stack.finish(recent[0]["execution_id"]))["status"] == "completed"
    assert (await stack.http.delete(f"/api/playbooks/{playbook['id']}")).status_code == 204
