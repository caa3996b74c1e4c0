"""Tickets of GitHub, GitLab and Jira, on servers that behave as theirs: above all, nothing is done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from activities import rest
from activities.action import ActionContext, ActionError
from activities.egress import EgressPolicy
from activities.marker import marker
from activities.tickets import actions, service
from activities.tickets.actions import TicketClose, TicketComment, TicketCreate, once
from activities.tickets.models import (
    CloseOutput,
    CommentOutput,
    TicketCloseInput,
    TicketCommentInput,
    TicketCreateInput,
    TicketOutput,
)
from tests.ticket_services import (
    READ_TOKEN,
    SITES,
    TOKEN,
    Fault,
    GitHubSite,
    JiraSite,
    Reply,
    TicketSite,
    text_of,
    ticket_site,
)
from tests.unit.activities.action_support import LocalServer, Stage, http_answer, make_context, make_stage

FINDING: dict[str, Any] = {"title": "Finding on web-01", "text": "Line one\nline two\n\nThanks, @ada"}
CREATES = r"/issues?$"
COMMENTS = r"/(comments|notes|comment)$"
CLOSES = r"/(issues/1|issue/SEC-1/transitions)$"
CLOSING_METHOD = {"github": "PATCH", "gitlab": "PUT", "jira": "POST", "jira_data_center": "POST"}


@pytest.fixture(params=SITES)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[TicketSite]:
    """Each of the services."""
    async with ticket_site(request.param) as running:
        yield running


async def create(site: TicketSite, context: ActionContext, **changes: Any) -> TicketOutput:
    inputs = TicketCreateInput.model_validate({**site.target, **FINDING, **changes})
    return await TicketCreate().run(inputs, context)


async def comment(site: TicketSite, context: ActionContext, ticket: str, **changes: Any) -> CommentOutput:
    given = {**site.target, "ticket": ticket, "text": "Patched.", **changes}
    return await TicketComment().run(TicketCommentInput.model_validate(given), context)


async def close(site: TicketSite, context: ActionContext, ticket: str, **changes: Any) -> CloseOutput:
    inputs = TicketCloseInput.model_validate({**site.target, "ticket": ticket, **changes})
    return await TicketClose().run(inputs, context)


async def failure(site: TicketSite, context: ActionContext, **changes: Any) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await create(site, context, **changes)
    return raised.value


def first_id(site: TicketSite) -> str:
    return "SEC-1" if isinstance(site, JiraSite) else "1"


async def test_a_ticket_is_opened(site: TicketSite, context: ActionContext) -> None:
    """With its number, its address and its mark in the output."""
    output = await create(site, context, labels=["security"])
    assert len(site.issues) == 1
    assert (output.id, output.state, output.created) == (first_id(site), "open", True)
    assert output.url is not None
    assert output.url.endswith(f"/{output.id}")
    assert output.marker == marker(context)


async def test_what_each_service_gets() -> None:
    """Title, text, labels and assignees in the words of each."""
    context = make_context()
    given = {"labels": ["security"], "assignees": ["ada"]}
    async with ticket_site("github") as github, ticket_site("gitlab") as gitlab, ticket_site("jira") as jira:
        await create(github, context, **given, fields={"milestone": 3, "title": "No"})
        await create(gitlab, context, **given, fields={"due_date": "2026-12-01"})
        await create(jira, context, **given, type="Bug", fields={"priority": {"name": "High"}})
    hub, lab, atlas = github.issues[0], gitlab.issues[0], jira.issues[0]["fields"]
    mark = marker(context)
    assert (hub["title"], hub["labels"], hub["assignees"], hub["milestone"]) == (
        "Finding on web-01",
        ["security"],
        ["ada"],
        3,
    )
    assert hub["body"] == f"Line one\nline two\n\nThanks, @\u2060ada\n\n<!-- {mark} -->"
    assert (lab["labels"], lab["assignee_ids"], lab["due_date"]) == ("security", [42], "2026-12-01")
    assert lab["description"] == hub["body"]
    assert (atlas["summary"], atlas["labels"], atlas["issuetype"]) == (
        "Finding on web-01",
        ["security", mark],
        {"name": "Bug"},
    )
    assert (atlas["assignee"], atlas["priority"]) == ({"accountId": "ada"}, {"name": "High"})
    assert text_of(atlas["description"]) == FINDING["text"]


async def test_an_answer_that_is_lost_opens_no_second_ticket(site: TicketSite, context: ActionContext) -> None:
    """The request was done and the connection broke: the same attempt finds what it has done."""
    site.faults.append(Fault("POST", CREATES, "lost"))
    output = await create(site, context)
    assert (len(site.issues), output.id, output.created) == (1, first_id(site), True)


async def test_a_repeat_opens_no_second_ticket(site: TicketSite, context: ActionContext) -> None:
    """The search does not know the ticket yet: it is found all the same, among the tickets of others."""
    site.fill(30)
    site.index()
    first = await create(site, context)
    site.fill(20)
    again = await create(site, make_context(attempt=2))
    assert (len(site.issues), again.id, again.created) == (51, first.id, False)


async def test_a_repeat_long_after_opens_no_second_ticket(site: TicketSite, context: ActionContext) -> None:
    """When hundreds came after it the search knows it."""
    first = await create(site, context, key="CVE-2026-1 on web-01")
    site.fill(400)
    site.index()
    again = await create(site, make_context(), key="CVE-2026-1 on web-01")
    assert (len(site.issues), again.id, again.created) == (401, first.id, False)


async def test_other_steps_and_keys_open_their_own(site: TicketSite, context: ActionContext) -> None:
    """Each step has a ticket, and so has each key."""
    await create(site, context)
    other = ActionContext("exec-1", "pb-1", "asset-1", "act-002", egress=context.egress)
    assert (await create(site, other)).created
    assert (await create(site, context, key="a")).created
    assert (await create(site, context, key="b")).created
    assert len(site.issues) == 4


async def test_a_ticket_that_only_quotes_the_mark_is_another(context: ActionContext) -> None:
    """The mark counts where it was put, not where somebody writes of it."""
    async with ticket_site("github") as site:
        site.issues.append({"number": 1, "state": "open", "html_url": "x", "body": f"see {marker(context)}"})
        site.index()
        assert (await create(site, context)).id == "2"


async def test_a_worker_that_died_opens_no_second_ticket(site: TicketSite) -> None:
    """It was stopped between the request and its answer, and knows nothing of it: the next one does."""
    site.faults.append(Fault("POST", CREATES, "hang"))
    dying = asyncio.ensure_future(create(site, make_context()))
    await asyncio.wait_for(site.hanging.wait(), 10)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    again = await create(site, make_context())
    assert (len(site.issues), again.id, again.created) == (1, first_id(site), False)


async def test_a_request_that_was_not_done_may_be_repeated(site: TicketSite, context: ActionContext) -> None:
    """The service failed before it did anything: the failure is told, and the repeat opens the ticket."""
    site.faults.append(Fault("POST", CREATES, Reply(502, {"message": "Bad gateway"})))
    error = await failure(site, context)
    assert (error.code, error.retryable, site.issues) == ("service_failed", True, [])
    assert (await create(site, context)).created


async def test_an_answer_that_never_comes_opens_no_second_ticket(
    site: TicketSite, context: ActionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request was done and its time is over: the ticket is there, and the step has it."""
    monkeypatch.setattr(rest, "TIMEOUT", 0.5)
    site.faults.append(Fault("POST", CREATES, "hang"))
    output = await create(site, context)
    assert (len(site.issues), output.created) == (1, True)


async def test_a_comment_is_written_once(site: TicketSite, context: ActionContext) -> None:
    """Also when its answer is lost, and when a repeat comes after others have written hundreds."""
    ticket = (await create(site, context)).id or ""
    site.faults.append(Fault("POST", COMMENTS, "lost"))
    first = await comment(site, context, ticket)
    kept = site.comments[ticket]
    assert (len(kept), first.created) == (1, True)
    kept.extend({"id": str(number), "html_url": "x", "body": "Other", "properties": []} for number in range(350))
    again = await comment(site, make_context(attempt=2), ticket)
    assert (len(kept), again.id, again.url, again.created) == (351, first.id, first.url, False)
    assert (await comment(site, context, ticket, key="second")).created
    assert text_of(kept[-1]["body"]).startswith("Patched.")


async def test_a_ticket_is_closed(site: TicketSite, context: ActionContext) -> None:
    """And stays as it is when it is closed again."""
    ticket = (await create(site, context)).id or ""
    output = await close(site, context, ticket)
    assert (output.id, output.state, output.changed) == (ticket, "closed", True)
    before = site.changes()
    again = await close(site, context, ticket)
    assert (again.state, again.changed) == ("closed", False)
    assert site.changes() == before


async def test_a_close_whose_answer_is_lost(site: TicketSite, context: ActionContext) -> None:
    """Looks at the ticket, which is closed."""
    ticket = (await create(site, context)).id or ""
    site.faults.append(Fault(CLOSING_METHOD[site.service], CLOSES, "lost"))
    assert (await close(site, context, ticket)).changed


async def test_a_close_that_was_not_done(site: TicketSite, context: ActionContext) -> None:
    """Is told as the failure that it is."""
    ticket = (await create(site, context)).id or ""
    site.faults.append(Fault(CLOSING_METHOD[site.service], CLOSES, Reply(503)))
    with pytest.raises(ActionError, match="service_failed"):
        await close(site, context, ticket)


async def test_the_reason_and_the_transition(context: ActionContext) -> None:
    """GitHub is told why; Jira takes the transition that is named, with its fields."""
    async with ticket_site("github") as github, ticket_site("jira") as jira:
        await create(github, context)
        await create(jira, context)
        await close(github, context, "1", reason="not_planned")
        await close(jira, context, "SEC-1", transition="done", fields={"resolution": {"name": "Fixed"}})
    assert (github.issues[0]["state"], github.issues[0]["state_reason"]) == ("closed", "not_planned")
    assert jira.issues[0]["fields"]["status"]["name"] == "Done"
    assert jira.issues[0]["fields"]["resolution"] == {"name": "Fixed"}


async def test_jira_without_a_way_to_close(context: ActionContext) -> None:
    """The message has the transitions that there are."""
    async with ticket_site("jira") as site:
        await create(site, context)
        site.transitions = (JiraSite.transitions[0],)  # type: ignore[attr-defined]
        with pytest.raises(ActionError, match=r"no_transition: SEC-1 .* as done now; it has Start\."):
            await close(site, context, "SEC-1")


async def test_jira_finds_keys_behind_a_gap(context: ActionContext) -> None:
    """Issues are deleted: a missing key is not the end."""
    async with ticket_site("jira") as site:
        site.fill(3)
        site.index()
        site.fill(4)
        first = await create(site, context)
        del site.issues[3:7]
        assert (await create(site, make_context())).id == first.id == "SEC-8"


@pytest.mark.parametrize(
    "text", ["/close", "fine\n/close", "fine\r\n  /assign @ada", "\t/due 2026-01-01", "/relabel ~x\n\n/close"]
)
async def test_no_text_is_a_command(context: ActionContext, text: str) -> None:
    """GitLab obeys lines that begin with a slash; a finding's text is not one of them."""
    async with ticket_site("gitlab") as site:
        await create(site, context, text=text)
        await comment(site, context, "1", text=text)
    assert site.issues[0]["state"] == "opened"


async def test_a_user_whom_gitlab_does_not_know(context: ActionContext) -> None:
    """Ends the step before a ticket is opened."""
    async with ticket_site("gitlab") as site:
        error = await failure(site, context, assignees=["nobody"])
    assert (error.code, error.retryable, site.issues) == ("unknown_assignee", False, [])


async def test_a_token_that_is_unknown_or_may_not(site: TicketSite, context: ActionContext) -> None:
    """401 and 403 have their codes, and no message has the token."""
    error = await failure(site, context, token="wr0ng")
    assert (error.code, error.retryable) == ("unauthorized", False)
    error = await failure(site, context, token=READ_TOKEN)
    assert (error.code, error.retryable, site.issues) == ("forbidden", False, [])
    assert READ_TOKEN not in str(error)


async def test_a_project_that_is_not_there(site: TicketSite, context: ActionContext) -> None:
    """404 of GitHub and GitLab, 400 of Jira's search."""
    wrong = "ABC" if isinstance(site, JiraSite) else "acme/other"
    error = await failure(site, context, project=wrong)
    assert (error.code in ("not_found", "refused"), error.retryable) == (True, False)


async def test_what_the_service_refuses_is_told_in_its_words() -> None:
    """A kind of issue that the project does not have."""
    async with ticket_site("jira") as site:
        error = await failure(site, make_context(), type="Epic")
    assert (error.code, error.retryable) == ("refused", False)
    assert "The issue type selected is invalid" in error.message


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (Reply(429, {"message": "429"}, {"Retry-After": "17"}), 17.0),
        (Reply(429, {"message": "429"}), None),
        (Reply(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "60"}), 60.0),
        (
            Reply(
                403, {"message": "API rate limit exceeded"}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}
            ),
            1.0,
        ),
        (Reply(429, {}, {"RateLimit-Reset": "99999999999"}), 3600.0),
    ],
)
async def test_a_limit_of_requests_is_worth_a_retry(
    site: TicketSite, context: ActionContext, reply: Reply, wait: float | None
) -> None:
    """After the time that the service says; 403 is one of GitHub's ways to say it."""
    site.faults.append(Fault("POST", CREATES, reply))
    error = await failure(site, context)
    assert (error.code, error.retryable, error.retry_after) == ("rate_limited", True, wait)


async def test_a_reset_in_the_future_is_waited_for(context: ActionContext) -> None:
    """GitHub names the second from which on it may be asked again."""
    reset = str(int(time.time()) + 100)
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    async with ticket_site("github") as site:
        site.faults.append(Fault("GET", "/search", Reply(403, {"message": "API rate limit exceeded"}, headers)))
        error = await failure(site, context)
    assert error.retry_after is not None
    assert 90 < error.retry_after <= 100


async def test_where_the_search_cannot_answer_all_pages_are_read(context: ActionContext) -> None:
    """GitHub refuses to search what it has not indexed, and says when it gave up early."""
    async with ticket_site("github") as site:
        first = await create(site, context)
        site.fill(450)
        site.faults.append(Fault("GET", "/search", Reply(422, {"message": "Validation Failed"})))
        assert (await create(site, context)).id == first.id
        early = {"total_count": 0, "incomplete_results": True, "items": []}
        site.faults.append(Fault("GET", "/search", Reply(200, early)))
        assert (await create(site, context)).id == first.id


async def test_a_next_page_elsewhere_is_not_read(context: ActionContext, server: LocalServer) -> None:
    """It would get the token."""
    async with ticket_site("github") as site:
        headers = {"Link": f'<{server.url}/steal>; rel="next"'}
        site.faults.append(Fault("GET", "/issues$", Reply(200, [], headers)))
        error = await failure(site, context)
    assert (error.code, server.received) == ("bad_answer", [])


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(200, raw=b"<html>Please log in</html>"), "bad_answer"),
        (Reply(200, {"a": 1}), "bad_answer"),
        (Reply(200, [1, 2]), "bad_answer"),
        (Reply(200, raw=b"[" * 100_000), "bad_answer"),
        (Reply(301, headers={"Location": "/elsewhere"}), "refused"),
        (Reply(500, raw=b"x" * 100_000), "service_failed"),
    ],
)
async def test_answers_that_are_none(site: TicketSite, context: ActionContext, reply: Reply, code: str) -> None:
    """Before anything is opened: a look that failed opens nothing."""
    path = "/search" if isinstance(site, JiraSite) else "/issues$"
    site.faults.append(Fault("POST" if isinstance(site, JiraSite) else "GET", path, reply))
    if isinstance(site, GitHubSite):
        site.faults[0].path = "/repos/.*/issues$"
    error = await failure(site, context)
    assert (error.code, site.issues) == (code, [])
    assert len(error.message) < 500


async def test_an_answer_without_end(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is read no further than the limit."""
    monkeypatch.setattr(service, "MAX_BYTES", 1000)
    async with ticket_site("gitlab") as site:
        site.faults.append(Fault("GET", "/issues$", Reply(200, ["x" * 2000])))
        assert (await failure(site, context)).code == "response_too_large"


async def test_the_egress_guard_stands_under_it(site: TicketSite) -> None:
    """Without leave nothing on this machine is asked."""
    error = await failure(site, make_context(egress=EgressPolicy()))
    assert (error.code, site.asked) == ("egress_refused", [])


async def test_a_cancel_ends_at_once(site: TicketSite, stage: Stage) -> None:
    """While the service says nothing."""
    site.faults.append(Fault("POST", CREATES, "hang"))
    call = asyncio.ensure_future(stage.perform("ticket.create", {**site.target, **FINDING}))
    await asyncio.wait_for(site.hanging.wait(), 10)
    stage.environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, 2)


async def test_a_look_that_is_old_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker stood still meanwhile, and another has done the work."""
    monkeypatch.setattr(actions, "FRESH", 0.05)
    looks = 0

    async def find() -> str | None:
        nonlocal looks
        looks += 1
        if looks == 1:
            await asyncio.sleep(0.1)
            return None
        return "made by another"

    async def make() -> str:
        raise AssertionError("a second one")

    assert await once(find, make) == ("made by another", False)


@pytest.mark.parametrize(
    "change",
    [
        {"service": "github", "project": "acme"},
        {"service": "github", "project": "acme/web/../../user"},
        {"service": "github", "project": "acme/.."},
        {"service": "gitlab", "project": "acme/../other"},
        {"service": "jira", "project": 'SEC" OR project = "X'},
        {"service": "jira", "project": "SEC", "url": None},
        {"service": "jira", "project": "SEC", "labels": ["two words"]},
        {"service": "jira", "project": "SEC", "assignees": ["a", "b"]},
        {"service": "gitlab", "labels": ["a,b"]},
        {"title": "two\nlines"},
        {"title": ""},
        {"token": "a\nb"},
        {"assignees": ["a&username=b"]},
        {"unknown": 1},
    ],
)
def test_input_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    """Before anything is asked."""
    given = {"service": "gitlab", "project": "acme/web", "token": TOKEN, "url": "https://x.example", **FINDING}
    TicketCreateInput.model_validate(given)
    with pytest.raises(ValidationError):
        TicketCreateInput.model_validate(given | change)


@pytest.mark.parametrize(
    ("service_name", "project", "ticket"),
    [("github", "a/b", "1/../../x"), ("github", "a/b", "SEC-1"), ("jira", "SEC", "OPS-1"), ("jira", "SEC", "12")],
)
def test_a_ticket_of_elsewhere_is_refused(service_name: str, project: str, ticket: str) -> None:
    """The id is one of the project."""
    given = {"service": service_name, "project": project, "token": TOKEN, "url": "https://x.example"}
    with pytest.raises(ValidationError, match="ticket must be"):
        TicketCloseInput.model_validate({**given, "ticket": ticket})


def test_a_ticket_may_be_a_number() -> None:
    """A template that is only the output of an earlier step keeps its type."""
    given = {"service": "github", "project": "a/b", "token": TOKEN, "ticket": 12}
    assert TicketCloseInput.model_validate(given).ticket == "12"


async def test_the_token_is_in_nothing_that_comes_back(server: LocalServer) -> None:
    """A service that quotes it is masked, also as the header has it."""
    import base64

    basic = base64.b64encode(f"bot@example.com:{TOKEN}".encode()).decode()
    server.answers["/rest/api/3/search/jql"] = http_answer(400, f"{TOKEN} {basic}".encode())
    stage = make_stage(environment={"STANCHION_SECRET_TRACKER": TOKEN})
    parameters = {"service": "jira", "url": server.url, "project": "SEC", "user": "bot@example.com", **FINDING}
    slot = {"pointer": "/token", "parts": [{"secret": "tracker"}]}
    with pytest.raises(Exception, match="Jira at 127") as raised:
        await stage.perform("ticket.create", {**parameters, "token": ""}, secrets=[slot])
    assert TOKEN not in str(raised.value)
    assert basic not in str(raised.value)


async def test_a_rehearsal_asks_nothing(site: TicketSite, context: ActionContext) -> None:
    """It says what would be done, with the mark that the run would use."""
    ticket = first_id(site)
    made = await TicketCreate().rehearse(TicketCreateInput.model_validate({**site.target, **FINDING}), context)
    said = await TicketComment().rehearse(
        TicketCommentInput.model_validate({**site.target, "ticket": ticket, "text": "Patched."}), context
    )
    done = await TicketClose().rehearse(TicketCloseInput.model_validate({**site.target, "ticket": ticket}), context)
    assert site.asked == []
    assert f"Would open the ticket 'Finding on web-01' in {site.project}" in made.would
    assert made.effects[0]["marker"] == marker(context)
    assert (f"Would comment on {ticket}" in said.would, f"Would close {ticket}" in done.would) == (True, True)
    assert TOKEN not in repr((made, said, done))
