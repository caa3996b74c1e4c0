"""The message of ``email.send`` as it goes over the wire (RFC 5322 and MIME)."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate
from typing import Final

from activities.action import ActionContext
from activities.artifacts import read_artifact
from activities.errors import ActionError
from activities.marker import marker
from activities.tell.mail_input import Attachment, EmailInput, parse_mailbox

MAX_MESSAGE: Final = 36 * 1024 * 1024
"""Bytes of a message on the wire, where base64 makes three bytes four."""


@dataclass(frozen=True, slots=True)
class File:
    """An attachment with its content."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """A message ready to be sent: ``content`` with CRLF and without the dot that ends it on the wire."""

    message_id: str
    sender: str
    recipients: list[str]
    content: bytes
    international: bool
    """An address is not ASCII: the server must know SMTPUTF8 (RFC 6531)."""


def compose(inputs: EmailInput, files: list[File], context: ActionContext, at: float) -> Mail:
    """The message with its head, dated ``at`` (seconds since 1970).

    Raises ``ActionError``: ``invalid_input``, ``message_too_large``.
    """
    sender = ascii_domain(parse_mailbox(inputs.sender))
    recipients = [ascii_domain(parse_mailbox(one)).addr_spec for one in inputs.recipients()]
    answered = [ascii_domain(parse_mailbox(one)).addr_spec for one in inputs.reply_to]
    international = not all(address.isascii() for address in [sender.addr_spec, *recipients, *answered])
    # 7bit: no server has to know 8BITMIME.
    policy = SMTPUTF8 if international else SMTP.clone(cte_type="7bit")
    message = EmailMessage(policy=policy)
    message_id = message_id_of(inputs, context)
    _head(message, inputs, sender, message_id, at)
    _body(message, inputs)
    for file in files:
        main, _, sub = file.media_type.partition("/")
        parameters = {"charset": "utf-8"} if main == "text" else {}
        message.add_attachment(file.data, maintype=main, subtype=sub, filename=file.name, params=parameters)
    content = message.as_bytes()
    if len(content) > MAX_MESSAGE:
        raise too_large(f"The message has {len(content)} bytes; at most {MAX_MESSAGE} are sent.")
    return Mail(message_id, sender.addr_spec, list(dict.fromkeys(recipients)), content, international)


def message_id_of(inputs: EmailInput, context: ActionContext) -> str:
    """The Message-ID: of this step of this run, so that whoever gets the message twice can see that."""
    domain = ascii_domain(parse_mailbox(inputs.sender)).domain.strip("[]")
    return f"<{marker(context)}@{domain}>"


def ascii_domain(address: Address) -> Address:
    """``address`` with its domain as the DNS has it.  Raises ``ActionError`` with code ``invalid_input``."""
    try:
        domain = address.domain.encode("idna").decode() if not address.domain.isascii() else address.domain
    except UnicodeError:
        message = f"{address.domain!r} is no domain that mail can be sent to."
        raise ActionError("invalid_input", message, retryable=False) from None
    return Address(address.display_name, address.username, domain)


async def files_of(inputs: EmailInput, context: ActionContext) -> list[File]:
    """The attachments, artifacts read.  Raises ``ActionError``: ``invalid_input``, ``message_too_large`` and what
    ``read_artifact`` raises."""
    files: list[File] = []
    size = 0
    for attachment in inputs.attachments:
        file = inline(attachment) if attachment.artifact is None else await _artifact(attachment, context)
        size += len(file.data)
        if size > MAX_MESSAGE:
            raise too_large(f"The attachments have more than {MAX_MESSAGE} bytes.")
        files.append(file)
    return files


def inline(attachment: Attachment) -> File:
    """The attachment whose content stands in the input.  Raises ``ActionError`` with code ``invalid_input``."""
    content, name = attachment.content, attachment.file_name
    if not isinstance(content, str):
        text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
        return File(name, attachment.media_type or "application/json", text.encode())
    if attachment.encoding == "text":
        return File(name, attachment.media_type or "text/plain", content.encode())
    try:
        data = base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ActionError("invalid_input", f"The attachment {name!r} is not base64.", retryable=False) from None
    return File(name, attachment.media_type or "application/octet-stream", data)


def too_large(message: str) -> ActionError:
    """The error for a message that is too large."""
    return ActionError("message_too_large", message, retryable=False)


async def _artifact(attachment: Attachment, context: ActionContext) -> File:
    found = await read_artifact(context, attachment.artifact or "")
    media_type = attachment.media_type or found.media_type
    if media_type.partition("/")[0] in ("multipart", "message"):
        media_type = "application/octet-stream"
    return File(attachment.file_name, media_type, found.data)


def _head(message: EmailMessage, inputs: EmailInput, sender: Address, message_id: str, at: float) -> None:
    message["From"] = sender
    for name, mailboxes in (("To", inputs.to), ("Cc", inputs.cc), ("Reply-To", inputs.reply_to)):
        if mailboxes:
            message[name] = [ascii_domain(parse_mailbox(one)) for one in mailboxes]
    if not inputs.to and not inputs.cc:
        message["To"] = "undisclosed-recipients:;"
    message["Subject"] = inputs.subject
    message["Date"] = formatdate(at)
    message["Message-ID"] = message_id
    # RFC 3834: nobody's holiday notice answers it.
    message["Auto-Submitted"] = "auto-generated"
    for name, value in inputs.headers.items():
        message[name] = value


def _body(message: EmailMessage, inputs: EmailInput) -> None:
    if inputs.text:
        message.set_content(inputs.text)
        if inputs.html:
            message.add_alternative(inputs.html, subtype="html")
    else:
        message.set_content(inputs.html, subtype="html")
