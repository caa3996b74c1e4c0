"""Following an execution over HTTP."""

from __future__ import annotations

import pytest

from cli import stream
from cli.http import Api, ApiError
from cli.stream import follow
from tests.unit.cli.serving import Asked, FakeApi, Reply, error, events, execution

STREAM = "text/event-stream"
PENDING = execution("pending", "pending")
RUNNING = execution("running", "running")
DONE = execution("completed", "completed")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.01)


def states(api: FakeApi, patience: float = 30.0) -> list[str]:
    """The states that ``follow`` yields."""
    with Api(api.url, "token") as client:
        return [snapshot["status"] for snapshot in follow(client, "exec-1", patience)]


def test_each_event_is_yielded_up_to_the_final_state() -> None:
    """Every snapshot of the stream is yielded, the last one is final."""
    with FakeApi(lambda _: Reply(body=events(PENDING, RUNNING, DONE), media=STREAM)) as api:
        assert states(api) == ["pending", "running", "completed"]


def test_broken_stream_is_resumed_after_the_last_event() -> None:
    """A stream that is cut is asked for again with the id of the last event that came."""
    parts = iter([Reply(body=events(PENDING), media=STREAM, cut=True), Reply(body=events(DONE), media=STREAM)])
    with FakeApi(lambda _: next(parts)) as api:
        assert states(api) == ["pending", "completed"]
    assert [asked.headers.get("Last-Event-ID") for asked in api.asked] == [None, "1"]


def test_api_without_events_is_polled() -> None:
    """Where there is no stream, the status is asked for until it is final."""
    polls = iter([PENDING, PENDING, DONE])

    def answer(asked: Asked) -> Reply:
        return error(404, "not_found", "no such route") if asked.path.endswith("/events") else Reply(body=next(polls))

    with FakeApi(answer) as api:
        assert states(api) == ["pending", "completed"]


def test_stream_that_ends_without_final_state_is_not_believed() -> None:
    """After a stream that just ended the status decides."""

    def answer(asked: Asked) -> Reply:
        return Reply(body=events(RUNNING), media=STREAM) if asked.path.endswith("/events") else Reply(body=DONE)

    with FakeApi(answer) as api:
        assert states(api) == ["running", "completed"]


def test_api_that_is_away_for_a_moment_is_waited_for() -> None:
    """A 503 is not the end: the stream is asked for again."""
    parts = iter([error(503, "unavailable", "restarting"), Reply(body=events(DONE), media=STREAM)])
    with FakeApi(lambda _: next(parts)) as api:
        assert states(api) == ["completed"]


def test_api_that_stays_away_is_given_up() -> None:
    """After the patience the API's own error is raised."""
    with FakeApi(lambda _: error(503, "unavailable", "restarting")) as api, pytest.raises(ApiError) as caught:
        states(api, patience=0.05)
    assert caught.value.code == "unavailable"


def test_unknown_execution_is_told_at_once() -> None:
    """A 404 for the execution itself is not waited for."""
    with (
        FakeApi(lambda _: error(404, "not_found", "no such execution")) as api,
        pytest.raises(ApiError, match="no such execution"),
    ):
        states(api)
    assert [asked.path.rsplit("/", 1)[-1] for asked in api.asked] == ["events", "exec-1"]
