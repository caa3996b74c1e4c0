"""What the ticket actions are told, and what they answer, whichever service keeps the tickets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from activities.action import InputModel, OutputModel
from activities.tell.mail_input import one_line
from playbooks.record import Json

Service = Literal["github", "gitlab", "jira", "jira_data_center"]

PUBLIC: Final[Mapping[str, str]] = {"github": "https://api.github.com", "gitlab": "https://gitlab.com"}
"""Where a service is when no address is given."""

PROJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "github": (r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}", "owner/repository"),
    "gitlab": (r"\d{1,18}|[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+", "group/project or its number"),
    "jira": (r"[A-Z][A-Z0-9_]{1,254}", "a project's key such as SEC"),
    "jira_data_center": (r"[A-Z][A-Z0-9_]{1,254}", "a project's key such as SEC"),
}
JIRA: Final = frozenset({"jira", "jira_data_center"})


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Line = Annotated[str, AfterValidator(one_line)]
Label = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(one_line)]
Text = Annotated[str, Field(min_length=1, max_length=60_000)]
Key = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=255,
        description="What makes it the same one: by default the step of the run. With a key of your own, as that of a "
        "finding, another step or run finds it too.",
    ),
]


class TicketServiceInput(InputModel):
    """The service, the project and the token."""

    service: Annotated[Service, Field(description="`jira` is Jira Cloud.")]
    url: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=2048,
            description="Base address; default https://api.github.com or https://gitlab.com. GitHub Enterprise: "
            "https://HOST/api/v3. Jira: https://YOURS.atlassian.net, or the address of your own.",
        ),
    ] = None
    project: Annotated[
        str,
        Field(max_length=300, description="`owner/repository`, `group/project` or its number, or the project's key."),
    ]
    token: Annotated[str, Field(min_length=1, max_length=4096, description="Access token; a secret.")]
    user: Annotated[
        Line | None,
        Field(
            max_length=320, description="Jira: whose token it is; Cloud wants the email address. Without it, Bearer."
        ),
    ] = None

    @model_validator(mode="after")
    def _names_a_project(self) -> TicketServiceInput:
        pattern, what = PROJECTS[self.service]
        if not re.fullmatch(pattern, self.project) or {".", ".."} & set(self.project.split("/")):
            raise ValueError(f"project must be {what} for {self.service}")
        if self.url is None and self.service not in PUBLIC:
            raise ValueError(f"{self.service} needs a url")
        if not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ValueError("the token has characters that no token has; look for a line break in the secret")
        return self

    @property
    def base(self) -> str:
        """The address, without a slash at its end."""
        return (self.url or PUBLIC[self.service]).rstrip("/")


class ExistingTicketInput(TicketServiceInput):
    """A ticket that is there."""

    ticket: Annotated[
        str,
        BeforeValidator(_as_text),
        Field(
            max_length=300, description="The `id` that ticket.create put out: a number, or Jira's key such as SEC-12."
        ),
    ]

    @model_validator(mode="after")
    def _names_a_ticket(self) -> ExistingTicketInput:
        if self.service in JIRA:
            if not re.fullmatch(re.escape(self.project) + r"-[1-9]\d{0,17}", self.ticket):
                raise ValueError(f"ticket must be a key of the project, such as {self.project}-12")
        elif not re.fullmatch(r"[1-9]\d{0,17}", self.ticket):
            raise ValueError("ticket must be a number, such as 12")
        return self


class TicketCreateInput(TicketServiceInput):
    """The ticket."""

    title: Annotated[Line, Field(min_length=1, max_length=255, description="One line.")]
    text: Annotated[Text, Field(description="What it says: Markdown for GitHub and GitLab, plain text for Jira.")]
    labels: Annotated[list[Label], Field(max_length=20, description="For Jira without spaces.")] = Field(
        default_factory=list
    )
    assignees: Annotated[
        list[Annotated[str, Field(pattern=r"^[\w.@:+-]+$", max_length=255)]],
        Field(max_length=10, description="User names; for Jira Cloud one account id, for Data Center one name."),
    ] = Field(default_factory=list)
    type: Annotated[Line, Field(min_length=1, max_length=100, description="Jira: the kind of issue.")] = "Task"
    fields: Annotated[
        dict[str, Json],
        Field(
            max_length=50,
            description="Further fields in the words of the service's own API, as `due_date` of GitLab, or `priority` "
            "and `customfield_10010` of Jira: `{priority: {name: High}}`. They replace none of those above.",
        ),
    ] = Field(default_factory=dict)
    key: Key = None

    @model_validator(mode="after")
    def _suits_the_service(self) -> TicketCreateInput:
        if self.service in JIRA:
            if any(re.search(r"\s", label) for label in self.labels):
                raise ValueError("labels of Jira have no spaces")
            if len(self.assignees) > 1:
                raise ValueError("Jira takes one assignee")
        if self.service == "gitlab" and any("," in label for label in self.labels):
            raise ValueError("labels of GitLab have no commas")
        return self


class TicketCommentInput(ExistingTicketInput):
    """The comment."""

    text: Annotated[Text, Field(description="What it says: Markdown for GitHub and GitLab, plain text for Jira.")]
    key: Key = None


class TicketCloseInput(ExistingTicketInput):
    """How it is closed."""

    reason: Annotated[
        Literal["completed", "not_planned"], Field(description="GitHub: shown with the closed ticket.")
    ] = "completed"
    transition: Annotated[
        Line | None,
        Field(
            min_length=1,
            max_length=255,
            description="Jira: the transition, or the status that it leads to; by default the first one to a status "
            "that counts as done.",
        ),
    ] = None
    fields: Annotated[
        dict[str, Json],
        Field(max_length=20, description="Jira: what the transition asks for, as `{resolution: {name: Done}}`."),
    ] = Field(default_factory=dict)


class TicketOutput(OutputModel):
    """The ticket."""

    id: Annotated[str | None, Field(description="Its number, or Jira's key; null in a dry run.")]
    url: Annotated[str | None, Field(description="Where a person reads it; null in a dry run.")]
    state: Annotated[str, Field(description="`open` or `closed`.")]
    created: Annotated[bool, Field(description="False: it was there already, and nothing was opened.")]
    marker: Annotated[str, Field(description="The mark in it by which a repeat finds it.")]


class CommentOutput(OutputModel):
    """The comment."""

    id: Annotated[str | None, Field(description="What the service calls it; null in a dry run.")]
    url: Annotated[str | None, Field(description="Where a person reads it; null in a dry run.")]
    created: Annotated[bool, Field(description="False: it was there already, and nothing was written.")]


class CloseOutput(OutputModel):
    """The closed ticket."""

    id: Annotated[str, Field(description="Its number, or Jira's key.")]
    url: Annotated[str | None, Field(description="Where a person reads it; null in a dry run.")]
    state: Annotated[str, Field(description="`closed`.")]
    changed: Annotated[bool, Field(description="False: it was closed already.")]
