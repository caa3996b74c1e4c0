"""Server-Sent Events of an execution (API.md, *events*)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.stack import Stack

EXECUTIONS = "/api/playbooks/executions"
ECHO = {"id": "echo", "action_ref": "core.echo", "parameters": {"x": 1}}
ASK = {"id": "ask", "type": "approval"}


async def listen(stack: Stack, execution: str, last: str | None = None, most: int = 1000) -> list[dict[str, Any]]:
    """The events of a stream until it ends, or until ``most`` have come."""
    headers = {"Last-Event-ID": last} if last else {}
    found: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(60),
        stack.http.stream("GET", f"{EXECUTIONS}/{execution}/events", headers=headers) as got,
    ):
        assert (got.status_code, got.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        event: dict[str, Any] = {}
        async for line in got.aiter_lines():
            name, _, value = line.partition(": ")
            if not line and "data" in event:
                found.append(event)
                event = {}
                if len(found) == most:
                    break
            elif name in ("id", "event"):
                event[name] = value
            elif name == "data":
                event["data"] = json.loads(value)
    return found


async def test_the_whole_first_then_every_change(stack: Stack) -> None:
    """The stream begins with the execution, tells each step, and ends after the final state."""
    execution = await stack.start([ECHO, ASK, {**ECHO, "id": "last"}])
    listening = asyncio.create_task(listen(stack, execution))
    await stack.until_step(execution, 1, "running")
    await stack.http.post(f"{EXECUTIONS}/{execution}/steps/ask/approve")
    events = await listening
    assert (events[0]["event"], events[0]["data"]["execution_id"]) == ("execution", execution)
    assert (events[-1]["event"], events[-1]["data"]["status"]) == ("execution", "completed")
    told = {event["data"]["step"]["action_id"] for event in events if event["event"] == "step"}
    assert {"ask", "last"} <= told
    assert len({event["id"] for event in events}) == len(events)
    final = await stack.status(execution)
    assert events[-1]["data"]["steps"] == final["steps"]


async def test_of_a_closed_execution(stack: Stack) -> None:
    """One event with the final state, and the end."""
    execution = await stack.start([ECHO])
    await stack.finish(execution)
    (event,) = await listen(stack, execution)
    assert event["data"]["status"] == "completed"


async def test_last_event_id_resumes(stack: Stack) -> None:
    """A client that comes back is told what has changed since, and nothing else."""
    execution = await stack.start([ECHO, ASK, {**ECHO, "id": "last"}])
    await stack.until_step(execution, 1, "running")
    (first,) = await listen(stack, execution, most=1)
    await stack.http.post(f"{EXECUTIONS}/{execution}/steps/ask/approve")
    await stack.finish(execution)
    events = await listen(stack, execution, last=first["id"])
    assert {event["data"]["step"]["action_id"] for event in events if event["event"] == "step"} == {"ask", "last"}
    assert (events[-1]["event"], events[-1]["data"]["status"]) == ("execution", "completed")


async def test_an_unknown_last_event_id_starts_anew(stack: Stack) -> None:
    """What is no id of ours is passed by."""
    execution = await stack.start([ECHO])
    await stack.finish(execution)
    (event,) = await listen(stack, execution, last="nonsense")
    assert (event["event"], event["data"]["status"]) == ("execution", "completed")


async def test_each_iteration_is_told(stack: Stack) -> None:
    """A loop is told as it goes on, with its counts."""
    nap = {"id": "nap", "action_ref": "core.sleep", "parameters": {"seconds": 0.3}}
    execution = await stack.start([{"id": "each", "type": "foreach", "items": [1, 2, 3], "steps": [nap]}])
    events = await listen(stack, execution)
    counts = [
        event["data"]["step"]["iterations"]["completed"]
        for event in events
        if event["event"] == "step" and "iterations" in event["data"]["step"]
    ]
    assert counts == sorted(counts)
    assert len(set(counts)) > 1


async def test_unknown(stack: Stack) -> None:
    """404 in the one shape."""
    answer = await stack.http.get(f"{EXECUTIONS}/exec-none/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
