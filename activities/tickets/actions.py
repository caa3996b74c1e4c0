"""``ticket.create``, ``ticket.comment`` and ``ticket.close``.

Nothing of it is done twice.  What is opened or written has a mark, and the mark is looked for first: a repeat finds
what an attempt before it has done, also one that never heard the answer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Final, TypeVar

from activities.action import Action, ActionContext, Rehearsal
from activities.error_advice import HTTP_ERRORS
from activities.errors import ActionError
from activities.marker import marker
from activities.rest import SERVICE_ERRORS
from activities.tickets.github import GitHub
from activities.tickets.gitlab import GitLab
from activities.tickets.jira import Jira
from activities.tickets.models import (
    CloseOutput,
    CommentOutput,
    TicketCloseInput,
    TicketCommentInput,
    TicketCreateInput,
    TicketOutput,
    TicketServiceInput,
)
from activities.tickets.service import TicketService
from playbooks.record import Json

FRESH: Final = 4.0
"""Seconds that a look is worth something.  Its worker may have stood still since, and another have done the work: it is
taken for dead after five (``workflows.steps.action``)."""

LOOKS: Final = 3

LOST: Final = frozenset({"connection_lost", "timed_out", "service_failed", "bad_answer", "response_too_large"})
"""Failures of a request after which it may have been done all the same."""

TICKET_ERRORS: Mapping[str, str] = {
    **HTTP_ERRORS,
    **SERVICE_ERRORS,
    "refused": "The service does not take the request, as for a label, field or assignee that is not allowed there; "
    "its own words stand in the message.",
}
EXAMPLE: Mapping[str, Json] = {
    "service": "gitlab",
    "project": "security/incidents",
    "token": "{{ secrets.gitlab_token }}",
}
Found = TypeVar("Found")


def service_of(inputs: TicketServiceInput, context: ActionContext) -> TicketService:
    """The project of ``inputs``.  Raises ``ActionError`` with code ``invalid_url``."""
    if inputs.service == "github":
        return GitHub.of(inputs, context)
    return GitLab.of(inputs, context) if inputs.service == "gitlab" else Jira.of(inputs, context)


class TicketCreate(Action[TicketCreateInput, TicketOutput]):
    """Opens a ticket in GitHub, GitLab or Jira, and opens no second one however often the step is repeated.

    The ticket has a mark: a comment of HTML in its text, or a label in Jira. Before anything is opened it is looked
    for, by the service's search and, since its index lags behind, directly among the newest tickets. With a `key` of
    your own the ticket is found by every step and run that has the key, so that a finding has one ticket.

    In the text an `@name` calls nobody, and a line such as `/close` does nothing: an attacker may have written it.
    """

    name = "ticket.create"
    title = "Open a ticket"
    rehearsal = "Says which ticket would be opened where, and connects to nothing."
    idempotent = True
    Input = TicketCreateInput
    Output = TicketOutput
    errors: ClassVar[Mapping[str, str]] = {
        **TICKET_ERRORS,
        "unknown_assignee": "GitLab has no user of this name.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        **EXAMPLE,
        "title": "Finding on {{ asset.name }}",
        "text": "A finding waits for somebody.",
        "labels": ["security"],
    }

    async def run(self, inputs: TicketCreateInput, context: ActionContext) -> TicketOutput:
        """Find it or open it.  Raises ``ActionError``: the codes of ``errors``, and those of every connection."""
        service, mark = service_of(inputs, context), marker(context, inputs.key)
        ticket, created = await once(lambda: service.find(mark), lambda: service.create(inputs, mark))
        state = "open" if ticket.is_open else "closed"
        return TicketOutput(id=ticket.id, url=ticket.url, state=state, created=created, marker=mark)

    async def rehearse(self, inputs: TicketCreateInput, context: ActionContext) -> Rehearsal:
        """Show the ticket.  Raises ``ActionError`` with code ``invalid_url``."""
        service, mark = service_of(inputs, context), marker(context, inputs.key)
        effect: dict[str, Json] = {
            "kind": "ticket",
            "service": inputs.service,
            "project": inputs.project,
            "title": inputs.title,
            "text": inputs.text,
            "labels": list(inputs.labels),
            "assignees": list(inputs.assignees),
            "marker": mark,
        }
        would = (
            f"Would open the ticket {inputs.title!r} in {inputs.project} by {service.who}, unless it is there already."
        )
        output = TicketOutput(id=None, url=None, state="open", created=True, marker=mark)
        return Rehearsal(would, [effect], output)


class TicketComment(Action[TicketCommentInput, CommentOutput]):
    """Writes a comment on a ticket of GitHub, GitLab or Jira, once, however often the step is repeated.

    The comment has a mark that nobody sees, and is looked for before it is written. In the text an `@name` calls
    nobody, and a line such as `/close` does nothing: an attacker may have written it.
    """

    name = "ticket.comment"
    title = "Comment on a ticket"
    rehearsal = "Says which comment would be written where, and connects to nothing."
    idempotent = True
    Input = TicketCommentInput
    Output = CommentOutput
    errors: ClassVar[Mapping[str, str]] = TICKET_ERRORS
    example: ClassVar[Mapping[str, Json]] = {**EXAMPLE, "ticket": "12", "text": "The patch is applied."}

    async def run(self, inputs: TicketCommentInput, context: ActionContext) -> CommentOutput:
        """Find it or write it.  Raises ``ActionError``: the codes of ``errors``, and those of every connection."""
        service, mark = service_of(inputs, context), marker(context, inputs.key)
        comment, created = await once(
            lambda: service.find_comment(inputs.ticket, mark), lambda: service.comment(inputs, mark)
        )
        return CommentOutput(id=comment.id, url=comment.url, created=created)

    async def rehearse(self, inputs: TicketCommentInput, context: ActionContext) -> Rehearsal:
        """Show the comment.  Raises ``ActionError`` with code ``invalid_url``."""
        service = service_of(inputs, context)
        effect = _effect("ticket_comment", inputs, inputs.ticket) | {"text": inputs.text}
        would = f"Would comment on {inputs.ticket} of {inputs.project} by {service.who}: {inputs.text[:200]}"
        return Rehearsal(would, [effect], CommentOutput(id=None, url=None, created=True))


class TicketClose(Action[TicketCloseInput, CloseOutput]):
    """Closes a ticket of GitHub, GitLab or Jira; one that is closed already stays as it is.

    In Jira it takes a transition: that of `transition`, or the first that leads to a status which counts as done.
    """

    name = "ticket.close"
    title = "Close a ticket"
    rehearsal = "Says which ticket would be closed, and connects to nothing."
    idempotent = True
    Input = TicketCloseInput
    Output = CloseOutput
    errors: ClassVar[Mapping[str, str]] = {
        **TICKET_ERRORS,
        "no_transition": "Jira has no transition from the ticket's status to one that counts as done, or to the one "
        "that is named; the message has those that there are.",
    }
    example: ClassVar[Mapping[str, Json]] = {**EXAMPLE, "ticket": "12"}

    async def run(self, inputs: TicketCloseInput, context: ActionContext) -> CloseOutput:
        """Close it.  Raises ``ActionError``: the codes of ``errors``, and those of every connection."""
        service = service_of(inputs, context)
        ticket = await service.read(inputs.ticket)
        if not ticket.is_open:
            return CloseOutput(id=ticket.id, url=ticket.url, state="closed", changed=False)
        try:
            await service.close(inputs)
        except ActionError as error:
            if error.code not in LOST or await _is_open(service, inputs.ticket):
                raise
        return CloseOutput(id=ticket.id, url=ticket.url, state="closed", changed=True)

    async def rehearse(self, inputs: TicketCloseInput, context: ActionContext) -> Rehearsal:
        """Name the ticket.  Raises ``ActionError`` with code ``invalid_url``."""
        service = service_of(inputs, context)
        would = f"Would close {inputs.ticket} of {inputs.project} by {service.who}, unless it is closed already."
        output = CloseOutput(id=inputs.ticket, url=None, state="closed", changed=True)
        return Rehearsal(would, [_effect("ticket_close", inputs, inputs.ticket)], output)


async def once(find: Callable[[], Awaitable[Found | None]], make: Callable[[], Awaitable[Found]]) -> tuple[Found, bool]:
    """What ``find`` finds, or else what ``make`` makes; and whether it was made.

    After a request whose answer was lost it looks again.  Raises ``ActionError``.
    """
    for _ in range(LOOKS):
        began = time.monotonic()
        found = await find()
        if found is not None:
            return found, False
        if time.monotonic() - began < FRESH:
            break
    try:
        return await make(), True
    except ActionError as error:
        if error.code not in LOST:
            raise
        made = await _second_look(find)
        if made is None:
            raise
        return made, True


async def _second_look(find: Callable[[], Awaitable[Found | None]]) -> Found | None:
    try:
        return await find()
    except ActionError:  # the first failure is the one to tell
        return None


async def _is_open(service: TicketService, ticket: str) -> bool:
    try:
        return (await service.read(ticket)).is_open
    except ActionError:
        return True


def _effect(kind: str, inputs: TicketServiceInput, ticket: str) -> dict[str, Json]:
    return {"kind": kind, "service": inputs.service, "project": inputs.project, "ticket": ticket}
