"""``notify.send``: a message to a chat, to those on call, or to anything that takes a webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from activities.action import Action, ActionContext, Rehearsal
from activities.error_advice import HTTP_ERRORS
from activities.rest import SERVICE_ERRORS
from activities.scrub import excerpt_of
from activities.tell.apprise import APPRISE_ERRORS, apprise_scheme, send_by_apprise
from activities.tell.chat import discord, slack, teams
from activities.tell.delivery import Delivery, deliver
from activities.tell.notice import PAGERS, NotifyInput, NotifyOutput
from activities.tell.paging import opsgenie, pagerduty
from activities.tell.webhook import webhook
from playbooks.actions import Traits
from playbooks.record import Json

SERVICES: Mapping[str, Callable[[NotifyInput, ActionContext], Delivery]] = {
    "slack": slack,
    "teams": teams,
    "discord": discord,
    "pagerduty": pagerduty,
    "opsgenie": opsgenie,
    "webhook": webhook,
}
VERBS = {"trigger": "post", "acknowledge": "acknowledge the alert", "resolve": "resolve the alert"}
SHOWN_OF_MESSAGE = 200


class Notify(Action[NotifyInput, NotifyOutput]):
    """Sends a message by Slack, Teams, Discord, PagerDuty, Opsgenie, a webhook, or any service that Apprise knows.

    Text, title, severity, fields and links are laid out as each service shows them best, and cut to its limits. An
    alert of PagerDuty or Opsgenie has a key: sent twice it is one alert, and a later step can acknowledge or resolve
    it. A chat shows a message that is sent twice twice, so there the action counts as not repeatable. A webhook can
    tell a repeat by its `webhook-id`.

    The address of a webhook is as good as a password: keep it as a secret. No error shows it.
    """

    name = "notify.send"
    title = "Notification"
    rehearsal = "Shows the message as the service would get it, and sends nothing."
    Input = NotifyInput
    Output = NotifyOutput
    errors: ClassVar[Mapping[str, str]] = {**HTTP_ERRORS, **SERVICE_ERRORS, **APPRISE_ERRORS}
    example: ClassVar[Mapping[str, Json]] = {
        "service": "slack",
        "url": "{{ secrets.chat_webhook }}",
        "title": "Finding on {{ asset.name }}",
        "text": "A finding waits for somebody.",
        "severity": "high",
        "fields": {"asset": "{{ asset.name }}"},
    }

    @classmethod
    def traits(cls, parameters: Json) -> Traits:
        """Repeatable where the service keeps alerts by a key, and the service is a constant."""
        service = parameters.get("service") if isinstance(parameters, dict) else None
        return Traits(idempotent=isinstance(service, str) and service in PAGERS)

    async def run(self, inputs: NotifyInput, context: ActionContext) -> NotifyOutput:
        """Send it.  Raises ``ActionError``: what the HTTP client raises, and the codes of ``errors``."""
        if inputs.service == "apprise":
            await send_by_apprise(inputs, context)
            return NotifyOutput(service="apprise")
        delivery = SERVICES[inputs.service](inputs, context)
        answer, given = await deliver(delivery, context.egress)
        return NotifyOutput(service=inputs.service, status=answer.status, id=given, key=delivery.key)

    async def rehearse(self, inputs: NotifyInput, context: ActionContext) -> Rehearsal:
        """Show the message.  Raises ``ActionError``: ``invalid_url``, ``invalid_input``."""
        if inputs.service == "apprise":
            return _apprise_rehearsal(inputs)
        delivery = SERVICES[inputs.service](inputs, context)
        effect: dict[str, Json] = {"kind": "message", "service": inputs.service, "to": delivery.who}
        if delivery.key is not None:
            effect |= {"event": inputs.event, "key": delivery.key}
        effect["message"] = delivery.shown
        subject = f" of key {delivery.key}" if inputs.event != "trigger" else ""
        return Rehearsal(
            f"Would {VERBS[inputs.event]}{subject} by {delivery.who}: {_said(inputs)}",
            [effect],
            NotifyOutput(service=inputs.service, status=STATUS[inputs.service], key=delivery.key),
        )


STATUS = {"slack": 200, "teams": 202, "discord": 200, "pagerduty": 202, "opsgenie": 202, "webhook": 200}
"""What each service answers when all is well."""


def _apprise_rehearsal(inputs: NotifyInput) -> Rehearsal:
    scheme = apprise_scheme(inputs.url or "")
    message: dict[str, Json] = {"title": inputs.title, "text": inputs.text, "severity": inputs.severity}
    effect: dict[str, Json] = {"kind": "message", "service": "apprise", "to": scheme, "message": message}
    return Rehearsal(f"Would send by Apprise to {scheme}: {_said(inputs)}", [effect], NotifyOutput(service="apprise"))


def _said(inputs: NotifyInput) -> str:
    return excerpt_of(f"{inputs.title}: {inputs.text}" if inputs.title else inputs.text, SHOWN_OF_MESSAGE)
