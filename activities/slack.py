"""``notify.slack``: a message through a Slack incoming webhook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.error_advice import HTTP_ERRORS
from activities.http_request import retry_after
from activities.rest import excerpt, host_of
from activities.scrub import excerpt_of
from activities.tell.delivery import Delivery, deliver, webhook_name
from activities.web import Answer
from playbooks.record import Json

SHOWN_OF_MESSAGE = 200


class SlackInput(InputModel):
    """The message, and where it goes."""

    webhook_url: Annotated[
        str, Field(min_length=1, max_length=2048, description="Address of the incoming webhook; best a secret.")
    ]
    text: Annotated[str, Field(min_length=1, max_length=40_000, description="The message, in Slack's mrkdwn.")]
    channel: Annotated[str | None, Field(max_length=80, description="Another channel, where the webhook allows.")] = (
        None
    )
    username: Annotated[str | None, Field(max_length=80, description="Another sender, where the webhook allows.")] = (
        None
    )
    blocks: Annotated[
        list[dict[str, Json]] | None, Field(max_length=50, description="Block Kit layout; text is then the fallback.")
    ] = None

    def message(self) -> dict[str, Json]:
        """What is sent: the fields that are set."""
        return self.model_dump(mode="json", exclude={"webhook_url"}, exclude_none=True)


class SlackOutput(OutputModel):
    """Slack's answer."""

    status: Annotated[int, Field(description="Status code.")]
    answer: Annotated[str, Field(description="Slack says ok.")]


class SlackMessage(Action[SlackInput, SlackOutput]):
    """Posts a message to Slack, or to anything that takes Slack's incoming webhooks, such as Mattermost.

    The address of a webhook is as good as a password: keep it as a secret.  No error shows it.
    """

    name = "notify.slack"
    title = "Slack message"
    rehearsal = "Shows the message and sends nothing."
    Input = SlackInput
    Output = SlackOutput
    errors: ClassVar[Mapping[str, str]] = {
        **HTTP_ERRORS,
        "rate_limited": "Slack asks for fewer messages; worth a retry, after the time that it says.",
        "slack_refused": "Slack does not take the message, and says why in the message: often the webhook was removed.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "webhook_url": "{{ secrets.slack_webhook_url }}",
        "channel": "#security",
        "text": "*{{ asset.name }}* needs somebody.",
    }

    async def run(self, inputs: SlackInput, context: ActionContext) -> SlackOutput:
        """Post it.  Raises ``ActionError``: what the HTTP client raises, ``rate_limited``, ``slack_refused``."""
        url, message = inputs.webhook_url, inputs.message()
        answer, _ = await deliver(Delivery(url, message, webhook_name(url), message, _judge), context.egress)
        return SlackOutput(status=answer.status, answer=answer.text.strip())

    async def rehearse(self, inputs: SlackInput, context: ActionContext) -> Rehearsal:
        """Show the message.  Raises ``ActionError`` with code ``invalid_url``."""
        # A secret that is filled in is a real address; without one there would be nothing to post to.
        host = host_of(inputs.webhook_url)
        to = f" to {inputs.channel}" if inputs.channel else ""
        effect: dict[str, Json] = {"kind": "message", "service": "slack", "host": host, "message": inputs.message()}
        return Rehearsal(
            f"Would post{to} through the webhook at {host}: {excerpt_of(inputs.text, SHOWN_OF_MESSAGE)}",
            [effect],
            SlackOutput(status=200, answer="ok"),
        )


def _judge(answer: Answer, who: str) -> None:
    if answer.status == 429:
        raise ActionError("rate_limited", f"{who} asks for fewer messages.", True, retry_after(answer))
    if not 200 <= answer.status < 300 or answer.text.strip() != "ok":
        message = f"{who} answered {answer.status}{excerpt(answer)}"
        raise ActionError("slack_refused", message, retryable=answer.status >= 500)
