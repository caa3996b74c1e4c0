"""Watching an execution, and waiting for its end, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stanchion_client import ApiError, NotFound, Retries, Unavailable, WaitTimeout, following
from tests.fake_api import Asked, FakeApi, Reply, error, events, execution
from tests.unit.client.speaking import QUICK, both, speaking

STREAM = "text/event-stream"
PENDING = execution("pending", "pending")
RUNNING = execution("running", "running")
DONE = execution("completed", "completed")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)


def states(kind: str, api: FakeApi, retries: Retries = QUICK, **named: Any) -> list[str]:
    """The states that ``watch`` yields."""
    return [snapshot["status"] for snapshot in speaking(kind, api.url, retries)("executions.watch", "exec-1", **named)]


@both
def test_each_event_is_yielded_up_to_the_final_state(kind: str) -> None:
    """Every snapshot of the stream is yielded, the last one is final."""
    with FakeApi(lambda _: Reply(body=events(PENDING, RUNNING, DONE), media=STREAM)) as api:
        assert states(kind, api) == ["pending", "running", "completed"]


@both
def test_waiting_gives_the_end(kind: str) -> None:
    """``wait`` returns the execution in its final state."""
    with FakeApi(lambda _: Reply(body=events(PENDING, RUNNING, DONE), media=STREAM)) as api:
        assert speaking(kind, api.url)("executions.wait", "exec-1") == DONE


@both
def test_a_step_is_put_in_its_place(kind: str) -> None:
    """An event of one step changes that step of the execution, and no snapshot that was given before."""
    step = {**PENDING["steps"][0], "status": "running"}
    told = json.dumps({"execution_id": "exec-1", "status": "running", "step": step})
    body = events(PENDING) + f": still here\n\nid: 2\nevent: step\ndata: {told}\n\n".encode() + events(DONE, first=3)
    with FakeApi(lambda _: Reply(body=body, media=STREAM)) as api:
        found = speaking(kind, api.url)("executions.watch", "exec-1")
    assert [(one["status"], one["steps"][0]["status"]) for one in found] == [
        ("pending", "pending"),
        ("running", "running"),
        ("completed", "completed"),
    ]


@both
def test_broken_stream_is_resumed_after_the_last_event(kind: str) -> None:
    """A stream that is cut is asked for again with the id of the last event that came."""
    parts = iter([Reply(body=events(PENDING), media=STREAM, cut=True), Reply(body=events(DONE), media=STREAM)])
    with FakeApi(lambda _: next(parts)) as api:
        assert states(kind, api) == ["pending", "completed"]
    assert [asked.headers.get("Last-Event-ID") for asked in api.asked] == [None, "1"]


@both
def test_api_without_events_is_polled(kind: str) -> None:
    """Where there is no stream, the status is asked for until it is final."""
    polls = iter([PENDING, PENDING, DONE])

    def answer(asked: Asked) -> Reply:
        return error(404, "not_found", "no such route") if asked.path.endswith("/events") else Reply(body=next(polls))

    with FakeApi(answer) as api:
        assert states(kind, api) == ["pending", "completed"]


@both
def test_stream_that_ends_without_final_state_is_not_believed(kind: str) -> None:
    """After a stream that just ended the status decides."""

    def answer(asked: Asked) -> Reply:
        return Reply(body=events(RUNNING), media=STREAM) if asked.path.endswith("/events") else Reply(body=DONE)

    with FakeApi(answer) as api:
        assert states(kind, api) == ["running", "completed"]


@both
@pytest.mark.parametrize("first", [error(503, "unavailable", "restarting"), Reply(502, b"", "text/html"), Reply(0)])
def test_api_that_is_away_for_a_moment_is_waited_for(kind: str, first: Reply) -> None:
    """A 503, a proxy without an API and a silence are not the end: the stream is asked for again."""
    parts = iter([first, Reply(body=events(DONE), media=STREAM)])
    with FakeApi(lambda _: next(parts)) as api:
        assert states(kind, api) == ["completed"]


@both
def test_api_that_stays_away_is_given_up(kind: str) -> None:
    """After the patience the API's own error is raised."""
    with FakeApi(lambda _: error(503, "unavailable", "restarting")) as api, pytest.raises(Unavailable):
        states(kind, api, Retries(seconds=0.05, first_pause=0.01))


@both
def test_unknown_execution_is_told_at_once(kind: str) -> None:
    """A 404 for the execution itself is not waited for."""
    gone = error(404, "not_found", "no such execution")
    with FakeApi(lambda _: gone) as api, pytest.raises(NotFound, match="no such execution"):
        states(kind, api)
    assert [asked.path.rsplit("/", 1)[-1] for asked in api.asked] == ["events", "exec-1"]


@both
def test_waiting_ends_when_its_time_is_over(kind: str) -> None:
    """The execution goes on: the error has it as it was seen last."""
    with FakeApi(lambda _: Reply(body=RUNNING)) as api, pytest.raises(WaitTimeout) as caught:
        speaking(kind, api.url)("executions.wait", "exec-1", timeout=0.1)
    assert caught.value.execution == RUNNING


@both
def test_time_that_is_over_ends_the_wait_for_an_api_that_is_away_too(kind: str) -> None:
    """What is waited for is the execution, for as long as was said."""
    with FakeApi(lambda _: error(503, "unavailable", "restarting")) as api, pytest.raises(WaitTimeout) as caught:
        speaking(kind, api.url)("executions.wait", "exec-1", timeout=0.1)
    assert caught.value.execution is None


def test_a_proxy_error_without_our_shape_is_told_by_its_status() -> None:
    """What no API of ours has said has no code of ours."""
    with FakeApi(lambda _: Reply(418, b"teapot", "text/plain")) as api, pytest.raises(ApiError) as caught:
        states("sync", api)
    assert (caught.value.status, caught.value.code) == (418, "error")
