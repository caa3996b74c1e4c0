"""What ``email.send`` is told, and what it answers.  Nothing here can put a line of its own into a message's head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.errors import NonASCIILocalPartDefect
from email.headerregistry import Address
from email.policy import SMTP
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from activities.action import InputModel, OutputModel
from activities.artifacts import MEDIA_TYPE_PATTERN, NAME_PATTERN
from playbooks.record import Json

Security = Literal["starttls", "starttls_if_offered", "tls", "none"]

PORTS: Final[Mapping[Security, int]] = {"starttls": 587, "starttls_if_offered": 25, "tls": 465, "none": 25}
"""RFC 8314, section 3.3, and RFC 5321, section 4.5.4.2."""

MAX_RECIPIENTS: Final = 100
"""RFC 5321, section 4.5.3.1.8: every server takes that many."""

OWN_HEADERS: Final = frozenset(
    {
        *("from", "to", "cc", "bcc", "reply-to", "sender", "subject", "date", "message-id", "mime-version"),
        *("return-path", "received", "delivered-to", "auto-submitted", "dkim-signature"),
        *("authentication-results", "received-spf"),
    }
)
"""Headers that have a field of their own, or that only a server may write."""

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029]")
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,76}")


def one_line(text: str) -> str:
    """``text``, when it is one line.  Raises ``ValueError``: a line break in a header begins another header."""
    if CONTROL.search(text):
        raise ValueError("must be one line without control characters")
    return text


def mailbox(text: str) -> str:
    """``text``, when it is one address as RFC 5322 has it.  Raises ``ValueError``."""
    parse_mailbox(one_line(text))
    return text


def parse_mailbox(text: str) -> Address:
    """The address of ``Name <user@host>`` or ``user@host``.  Raises ``ValueError`` for anything else, or for two."""
    header = SMTP.header_factory("to", text)
    addresses: tuple[Address, ...] = header.addresses
    faults = [one for one in header.defects if not isinstance(one, NonASCIILocalPartDefect)]
    if faults or len(addresses) != 1 or not addresses[0].username or not addresses[0].domain:
        raise ValueError(f"{text[:100]!r} is not one address such as Name <user@example.com>")
    found = addresses[0]
    if re.search(r"[\s<>]", found.addr_spec) or not re.fullmatch(r"[\w.-]+|\[[0-9A-Fa-f.:IPv]+\]", found.domain):
        raise ValueError(f"{text[:100]!r} has no domain that mail can be sent to")
    return found


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Line = Annotated[str, AfterValidator(one_line)]
Mailbox = Annotated[str, Field(min_length=3, max_length=400), AfterValidator(mailbox)]
Mailboxes = Annotated[list[Mailbox], Field(max_length=MAX_RECIPIENTS), BeforeValidator(_as_list)]


class Attachment(InputModel):
    """A file of the message: an artifact of the run, or content that stands here."""

    artifact: Annotated[
        str | None, Field(pattern=NAME_PATTERN, description="An artifact that an earlier step of the run has kept.")
    ] = None
    content: Annotated[
        Json,
        Field(description="The content: text as it is, anything else as JSON; null for none."),
    ] = None
    encoding: Annotated[
        Literal["text", "base64"], Field(description="`base64`: the content is that of a file in base64.")
    ] = "text"
    name: Annotated[
        Line | None,
        Field(min_length=1, max_length=150, pattern=r"^[^/\\]+$", description="File name; that of the artifact."),
    ] = None
    media_type: Annotated[
        str | None,
        Field(pattern=MEDIA_TYPE_PATTERN, description="By default the artifact's, or what the content looks like."),
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> Attachment:
        if (self.artifact is None) == (self.content is None):
            raise ValueError("give either artifact or content")
        if self.content is not None and self.name is None:
            raise ValueError("content needs a name")
        if self.encoding == "base64" and not isinstance(self.content, str):
            raise ValueError("base64 is text")
        if self.media_type is not None and self.media_type.partition("/")[0] in ("multipart", "message"):
            raise ValueError("multipart and message are no types of one file")
        return self

    @property
    def file_name(self) -> str:
        """What the reader sees."""
        return self.name or self.artifact or ""


class EmailInput(InputModel):
    """The message, and the server that takes it."""

    host: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9._:\[\]-]+$", max_length=255, description="The mail server; TLS checks the name."),
    ]
    port: Annotated[
        int | None, Field(ge=1, le=65535, description="By default 587 for starttls, 465 for tls, 25 otherwise.")
    ] = None
    security: Annotated[
        Security,
        Field(
            description="`starttls`: TLS must be offered and hold. `starttls_if_offered`: without TLS where it is not "
            "offered. `tls`: from the first byte. `none`: no TLS at all."
        ),
    ] = "starttls"
    ca: Annotated[
        str | None,
        Field(
            max_length=64 * 1024,
            description="Certificates in PEM, the only ones that are trusted then: of your own authority, or of the "
            "server itself. By default those of the system, or of SSL_CERT_FILE of the worker.",
        ),
    ] = None
    username: Annotated[str | None, Field(min_length=1, max_length=512, description="Logs in; needs TLS.")] = None
    password: Annotated[str | None, Field(min_length=1, max_length=4096, description="A secret.")] = None
    sender: Annotated[Mailbox, Field(alias="from", description="`Name <user@example.com>` or only the address.")]
    to: Annotated[Mailboxes, Field(description="One address or a list.")] = Field(default_factory=list)
    cc: Annotated[Mailboxes, Field(description="As `to`.")] = Field(default_factory=list)
    bcc: Annotated[Mailboxes, Field(description="Get it too, and stand in no header.")] = Field(default_factory=list)
    reply_to: Annotated[Mailboxes, Field(description="Where an answer goes.")] = Field(default_factory=list)
    subject: Annotated[Line, Field(min_length=1, max_length=900, description="One line.")]
    text: Annotated[str | None, Field(max_length=4 * 1024 * 1024, description="The message in plain text.")] = None
    html: Annotated[
        str | None,
        Field(max_length=4 * 1024 * 1024, description="The message in HTML; beside `text`, its alternative."),
    ] = None
    attachments: Annotated[list[Attachment], Field(max_length=20, description="Files.")] = Field(default_factory=list)
    headers: Annotated[
        dict[str, Annotated[Line, Field(max_length=900)]],
        Field(max_length=20, description="Further headers, such as References or X-Priority; one line each."),
    ] = Field(default_factory=dict)

    @field_validator("ca")
    @classmethod
    def _is_pem(cls, ca: str | None) -> str | None:
        if ca is not None and "-----BEGIN CERTIFICATE-----" not in ca:
            raise ValueError("must be certificates in PEM, which begin with -----BEGIN CERTIFICATE-----")
        return ca

    @field_validator("headers")
    @classmethod
    def _are_free(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name[:100]!r} is no name of a header")
            if name.lower() in OWN_HEADERS or name.lower().startswith(("content-", "resent-", "arc-")):
                raise ValueError(f"{name} cannot be set here")
        if len({name.lower() for name in headers}) < len(headers):
            raise ValueError("a header stands there twice")
        return headers

    @model_validator(mode="after")
    def _fits_together(self) -> EmailInput:
        if not self.text and not self.html:
            raise ValueError("give text, html or both")
        if not self.recipients():
            raise ValueError("give at least one address in to, cc or bcc")
        if len(self.recipients()) > MAX_RECIPIENTS:
            raise ValueError(f"at most {MAX_RECIPIENTS} recipients in all")
        if (self.username is None) != (self.password is None):
            raise ValueError("a login needs both username and password")
        if self.username is not None and self.security == "none":
            raise ValueError("no password is sent without TLS")
        return self

    def recipients(self) -> list[str]:
        """The bare addresses of all who get it, each once."""
        return list(dict.fromkeys(parse_mailbox(one).addr_spec for one in [*self.to, *self.cc, *self.bcc]))

    @property
    def server_port(self) -> int:
        """The port, by default that of the kind of security."""
        return self.port or PORTS[self.security]

    @property
    def where(self) -> str:
        """The server, as messages call it."""
        return f"the mail server {self.host} port {self.server_port}"


class RefusedRecipient(OutputModel):
    """One recipient that the server did not take."""

    address: Annotated[str, Field(description="Who.")]
    code: Annotated[int, Field(description="The server's code: 4xx for now, 5xx for good.")]
    reply: Annotated[str, Field(description="What the server said.")]


class EmailOutput(OutputModel):
    """What the server took over."""

    message_id: Annotated[str, Field(description="Its Message-ID; the same for every attempt of the step.")]
    accepted: Annotated[list[str], Field(description="Addresses that the server has taken the message for.")]
    refused: Annotated[list[RefusedRecipient], Field(description="Recipients that it refused.")]
    size: Annotated[int, Field(description="Bytes of the message as it was sent.")]
    reply: Annotated[str | None, Field(description="The server's answer to the message; null in a dry run.")] = None
    tls: Annotated[str | None, Field(description="Version of TLS; null without TLS, and in a dry run.")] = None
