"""``email.send``: a message to people, handed to a mail server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

from activities.action import Action, ActionContext, Rehearsal
from activities.artifacts import Artifact
from activities.error_advice import CONNECTION_ERRORS
from activities.errors import ActionError
from activities.tell.mail_input import Attachment, EmailInput, EmailOutput
from activities.tell.mail_message import File, compose, files_of, inline
from activities.tell.mail_session import MAIL_ERRORS, deliver_mail
from playbooks.record import Json

REHEARSED_AT = 946684800.0
"""The date of a message that is only measured; every date is as long."""


class EmailSend(Action[EmailInput, EmailOutput]):
    """Sends one message by SMTP: text, HTML or both, with artifacts of the run or earlier outputs as attachments.

    TLS is needed unless `security` says otherwise, and its certificate must be that of `host`; a password is never
    sent without TLS. The Message-ID is that of the step in its run, so a message that comes twice can be recognised;
    but mail has no way to ask whether a message was taken, so the action counts as not repeatable. When the whole
    message was sent and no answer came, the step fails with `outcome_unknown` and is not retried. What is lost before
    that point was certainly not taken, and is worth a retry.

    Where the server refuses some recipients the others get the message, and the output tells who did not.
    """

    name = "email.send"
    title = "Email"
    rehearsal = "Says to whom the message would go, its subject, size and attachments, and connects to nothing."
    Input = EmailInput
    Output = EmailOutput
    errors: ClassVar[Mapping[str, str]] = {
        **CONNECTION_ERRORS,
        **MAIL_ERRORS,
        "unknown_artifact": "No step of the run has kept an artifact of this name.",
        "no_store": "The worker keeps no artifacts.",
        "store_unavailable": "The database cannot be reached; worth a retry.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "mail.example.com",
        "username": "stanchion",
        "password": "{{ secrets.mail_password }}",
        "from": "Stanchion <stanchion@example.com>",
        "to": ["security@example.com"],
        "subject": "Finding on {{ asset.name }}",
        "text": "The report is attached.",
        "attachments": [{"artifact": "incident.html"}],
    }

    async def run(self, inputs: EmailInput, context: ActionContext) -> EmailOutput:
        """Send it.  Raises ``ActionError``: the codes of ``errors``, and those of every connection."""
        mail = compose(inputs, await files_of(inputs, context), context, time.time())
        delivered = await deliver_mail(mail, inputs, context)
        return EmailOutput(
            message_id=mail.message_id,
            accepted=delivered.accepted,
            refused=delivered.refused,
            size=len(mail.content),
            reply=delivered.reply,
            tls=delivered.tls,
        )

    async def rehearse(self, inputs: EmailInput, context: ActionContext) -> Rehearsal:
        """Compose it, with the artifacts that are there already where it may look.  Raises as ``compose`` does."""
        files: list[File] = []
        shown: list[Json] = []
        missing = 0
        for attachment in inputs.attachments:
            file = inline(attachment) if attachment.artifact is None else await _look(attachment, context)
            missing += file is None
            files += [] if file is None else [file]
            shown.append({"name": attachment.file_name, "bytes": None if file is None else len(file.data)})
        mail = compose(inputs, files, context, REHEARSED_AT)
        size = f"{len(mail.content)} bytes" + (f" and {missing} attachments still to be made" if missing else "")
        effect: dict[str, Json] = {
            "kind": "email",
            "server": inputs.host,
            "port": inputs.server_port,
            "from": inputs.sender,
            "to": list(inputs.to),
            "cc": list(inputs.cc),
            "bcc": list(inputs.bcc),
            "subject": inputs.subject,
            "attachments": shown,
            "message_id": mail.message_id,
        }
        with_files = f" with {', '.join(one.file_name for one in inputs.attachments)}" if inputs.attachments else ""
        return Rehearsal(
            f"Would mail {inputs.subject!r}{with_files} ({size}) to {', '.join(mail.recipients)} by {inputs.where}.",
            [effect],
            EmailOutput(message_id=mail.message_id, accepted=mail.recipients, refused=[], size=len(mail.content)),
        )


async def _look(attachment: Attachment, context: ActionContext) -> File | None:
    """The artifact, where a rehearsal may look and it is there already."""
    if not context.dry_run_reads or context.stores.artifacts is None:
        return None
    found: Artifact | None = None
    try:
        found = await context.stores.artifacts.read(context, attachment.artifact or "")
    except ActionError:
        return None
    return None if found is None else File(attachment.file_name, found.media_type, found.data)
