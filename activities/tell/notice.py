"""What ``notify.send`` is told, whichever service it goes to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from activities.action import InputModel, OutputModel

Service = Literal["slack", "teams", "discord", "pagerduty", "opsgenie", "webhook", "apprise"]
Severity = Literal["critical", "high", "medium", "low", "info"]
Event = Literal["trigger", "acknowledge", "resolve"]
Scalar = str | int | float | bool

PAGERS = frozenset({"pagerduty", "opsgenie"})
"""Services that keep an alert by a key; the others only show a message."""

SYNONYMS = {"moderate": "medium", "warning": "medium", "error": "high", "informational": "info", "none": "info"}


class Link(InputModel):
    """A link below the message."""

    text: Annotated[str, Field(min_length=1, max_length=200, description="What is read.")]
    url: Annotated[str, Field(pattern="^https?://", max_length=2048, description="Where it leads; http or https.")]


class NotifyInput(InputModel):
    """The message, and where it goes."""

    service: Annotated[Service, Field(description="Who delivers it.")]
    url: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=4096,
            description="Address of the webhook (Slack, Teams, Discord, webhook) or Apprise URL; best a secret. For "
            "PagerDuty and Opsgenie the base address, such as https://api.eu.opsgenie.com; default is the public one.",
        ),
    ] = None
    token: Annotated[
        str | None,
        Field(min_length=1, max_length=1024, description="PagerDuty's routing key or Opsgenie's API key; a secret."),
    ] = None
    text: Annotated[str, Field(min_length=1, max_length=40_000, description="The message, in plain text.")]
    title: Annotated[str | None, Field(min_length=1, max_length=1000, description="A headline.")] = None
    severity: Annotated[
        Severity | None, Field(description="Sets colour or priority; error, warning, informational … are understood.")
    ] = None
    fields: Annotated[
        dict[str, Scalar | None], Field(max_length=25, description="Names and values to show; null is left out.")
    ] = Field(default_factory=dict)
    links: Annotated[list[Link], Field(max_length=5, description="Links to show.")] = Field(default_factory=list)
    channel: Annotated[
        str | None, Field(max_length=80, description="Slack, Mattermost: another channel, where the webhook allows.")
    ] = None
    event: Annotated[
        Event, Field(description="PagerDuty, Opsgenie: open an alert, or acknowledge or resolve the one of `key`.")
    ] = "trigger"
    key: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            description="PagerDuty, Opsgenie: what tells alerts apart, so that a repeat opens no second; by default "
            "each step of each run has its own. The output has it, for a later step that resolves the alert.",
        ),
    ] = None
    source: Annotated[
        str | None, Field(min_length=1, max_length=255, description="PagerDuty, Opsgenie: the affected system.")
    ] = None
    signing_secret: Annotated[
        str | None,
        Field(pattern="^whsec_", max_length=1024, description="webhook: signs as Standard Webhooks say; whsec_…"),
    ] = None

    @field_validator("severity", mode="before")
    @classmethod
    def _severity(cls, severity: Any) -> Any:
        if not isinstance(severity, str):
            return severity
        return SYNONYMS.get(severity.lower(), severity.lower())

    @model_validator(mode="after")
    def _fits_together(self) -> NotifyInput:
        if self.service in PAGERS:
            if self.token is None:
                raise ValueError(f"{self.service} needs a token")
        elif self.url is None:
            raise ValueError(f"{self.service} needs a url")
        if self.event != "trigger":
            if self.service not in PAGERS:
                raise ValueError(f"{self.service} has no alerts to {self.event}")
            if self.key is None:
                raise ValueError(f"to {self.event} an alert, its key is needed")
        return self

    def shown_fields(self) -> dict[str, str]:
        """The fields that have a value, as text."""
        return {name: _text(value) for name, value in self.fields.items() if value is not None}


class NotifyOutput(OutputModel):
    """The service's answer."""

    service: Annotated[str, Field(description="Who took it.")]
    status: Annotated[int | None, Field(description="Status code; null where the service is reached otherwise.")] = None
    id: Annotated[str | None, Field(description="What the service calls the message or the request.")] = None
    key: Annotated[str | None, Field(description="PagerDuty, Opsgenie: the alert's key.")] = None


def cut(text: str, length: int) -> str:
    """``text``, at most ``length`` characters of it."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _text(value: Scalar) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
