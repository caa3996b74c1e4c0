"""What is asked again, with what, and what never is."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from stanchion_client import ApiError, Conflict, ConnectionFailed, NotFound, Retries, Unavailable
from tests.fake_api import Asked, FakeApi, Reply, error, execution
from tests.unit.client.speaking import QUICK, both, speaking

AWAY = error(503, "unavailable", "The database cannot be reached; nothing was changed.")
LIMITED = error(429, "rate_limited", "Too many requests.")
PROXY = Reply(502, b"<html>bad gateway</html>", "text/html")
SILENT = Reply(0)
STARTED = Reply(202, execution("pending", "pending"))


def keys(api: FakeApi) -> list[str | None]:
    """The idempotency keys that came."""
    return [asked.headers.get("Idempotency-Key") for asked in api.asked]


@both
@pytest.mark.parametrize("first", [AWAY, LIMITED, PROXY, SILENT])
def test_a_start_is_repeated_with_its_key(kind: str, first: Reply) -> None:
    """Whatever came instead of an answer, the run is asked for again with the key that was made for it."""
    replies = iter([first, first, STARTED])
    with FakeApi(lambda _: next(replies)) as api:
        started = speaking(kind, api.url)("executions.run", "triage", "web-01")
    assert started["execution_id"] == "exec-1"
    assert len(keys(api)) == 3
    assert len(set(keys(api))) == 1
    assert len(keys(api)[0] or "") == 36


@both
def test_each_start_has_a_key_of_its_own(kind: str) -> None:
    """Two runs are two runs."""
    with FakeApi(lambda _: STARTED) as api:
        for _ in range(2):
            speaking(kind, api.url)("executions.run", "triage", "web-01")
    assert len(set(keys(api))) == 2


@both
def test_the_key_of_the_caller_is_kept(kind: str) -> None:
    """A key that was given is the one that is sent."""
    with FakeApi(lambda _: STARTED) as api:
        speaking(kind, api.url)("executions.run", "triage", "web-01", idempotency_key="mine")
    assert keys(api) == ["mine"]


@both
@pytest.mark.parametrize("first", [SILENT, PROXY])
def test_what_may_have_been_done_is_not_repeated(kind: str, first: Reply) -> None:
    """A playbook that may have been stored is not sent again: the caller is told that nobody knows."""
    with FakeApi(lambda _: first) as api, pytest.raises((ConnectionFailed, ApiError)):
        speaking(kind, api.url)("playbooks.create", {"name": "x"})
    assert len(api.asked) == 1


@both
@pytest.mark.parametrize("first", [AWAY, LIMITED])
def test_what_was_surely_not_done_is_repeated(kind: str, first: Reply) -> None:
    """The API's own 503 and 429 say that nothing was done: even a creation is sent again."""
    replies = iter([first, Reply(201, {"id": "pb-1"})])
    with FakeApi(lambda _: next(replies)) as api:
        assert speaking(kind, api.url)("playbooks.create", {"name": "x"}) == {"id": "pb-1"}


@both
def test_retry_after_is_waited_for(kind: str) -> None:
    """An API that asks for more time than the pause would be gets it."""
    replies = iter([Reply(503, AWAY.body, headers={"Retry-After": "1"}), Reply(body={"id": "1"})])
    with FakeApi(lambda _: next(replies)) as api:
        before = time.monotonic()
        speaking(kind, api.url)("assets.read", "1")
    assert time.monotonic() - before >= 1


@both
@pytest.mark.parametrize("as_date", [False, True])
def test_more_time_than_there_is_is_not_waited_for(kind: str, as_date: bool) -> None:
    """A Retry-After beyond the patience, as seconds or as a date, gives the error at once."""
    moment = formatdate(time.time() + 1000, usegmt=True) if as_date else "1000"
    reply = Reply(503, AWAY.body, headers={"Retry-After": moment})
    with FakeApi(lambda _: reply) as api, pytest.raises(Unavailable) as caught:
        speaking(kind, api.url)("assets.read", "1")
    assert len(api.asked) == 1
    assert 500 < (caught.value.retry_after or 0) <= 1000


@both
def test_patience_ends(kind: str) -> None:
    """An API that stays away is given up with its own error."""
    with FakeApi(lambda _: AWAY) as api, pytest.raises(Unavailable):
        speaking(kind, api.url, Retries(seconds=0.05, first_pause=0.01))("assets.read", "1")
    assert len(api.asked) > 1


@both
def test_an_address_where_nobody_listens(kind: str) -> None:
    """Nobody has ever answered there, and the caller wants to know at once."""
    with FakeApi(lambda _: AWAY) as api:
        pass
    with pytest.raises(ConnectionFailed) as caught:
        speaking(kind, api.url, Retries(seconds=60, from_the_start=False))("assets.read", "1")
    assert (caught.value.code, caught.value.sent) == ("unreachable", False)


@both
def test_a_refusal_is_not_repeated(kind: str) -> None:
    """A 409 is an answer, with the execution that stands in the way."""
    body = {"status": "error", "error": {"code": "conflict", "message": "Busy.", "execution_id": "exec-9"}}
    with FakeApi(lambda _: Reply(409, body)) as api, pytest.raises(Conflict) as caught:
        speaking(kind, api.url)("executions.run", "triage", "web-01")
    assert (len(api.asked), caught.value.execution_id) == (1, "exec-9")


@both
def test_a_deletion_that_was_repeated_has_happened(kind: str) -> None:
    """No answer came to the first DELETE; that there is nothing any more is what was wanted."""
    replies = iter([SILENT, error(404, "not_found", "There is no asset 1.")])
    with FakeApi(lambda _: next(replies)) as api:
        assert speaking(kind, api.url)("assets.delete", "1") is None


@both
def test_a_deletion_of_nothing_is_told(kind: str) -> None:
    """A 404 to the first DELETE is an error, also after a 503 that said that nothing was done."""
    replies = iter([AWAY, error(404, "not_found", "There is no asset 1.")])
    with FakeApi(lambda _: next(replies)) as api, pytest.raises(NotFound):
        speaking(kind, api.url)("assets.delete", "1")


@both
def test_an_error_has_everything_that_the_api_says(kind: str) -> None:
    """Code, sentence, each detail with its place, and the id under which the API's log has the request."""
    details = [{"path": "/steps/0", "message": "unknown field", "line": 3, "column": 5}]
    reply = error(400, "bad_request", "The definition has faults.", details)
    reply = Reply(400, reply.body, headers={"X-Request-ID": "r-1"})
    with FakeApi(lambda _: reply) as api, pytest.raises(ApiError) as caught:
        speaking(kind, api.url)("playbooks.create", "name: x")
    fault = caught.value
    assert (fault.status, fault.code, fault.message) == (400, "bad_request", "The definition has faults.")
    assert [(one.path, one.message, one.line, one.column) for one in fault.details] == [
        ("/steps/0", "unknown field", 3, 5)
    ]
    assert fault.request_id == "r-1"


@both
def test_lists_are_read_page_after_page(kind: str) -> None:
    """Every entry comes once, also where one that was added meanwhile has pushed another onto the next page."""
    pages = {"1": ["a", "b"], "2": ["b", "c"], "3": ["d"]}

    def answer(asked: Asked) -> Reply:
        number = asked.path.partition("page=")[2].partition("&")[0]
        data = [{"id": name} for name in pages[number]]
        return Reply(body={"data": data, "meta": {"total": 5, "page": int(number), "per_page": 2}})

    with FakeApi(answer) as api:
        found = speaking(kind, api.url, QUICK)("assets.list", per_page=2)
    assert [one["id"] for one in found] == ["a", "b", "c", "d"]
    assert len(api.asked) == 3
