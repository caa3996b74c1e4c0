"""One delivery over SMTP: connected through the egress guard, TLS held to the server's name, each refusal by its code.

The codes of the connection are those of every action that opens one; ``MAIL_ERRORS`` has the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, cast

import aiosmtplib
import httpx2
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from activities.action import ActionContext
from activities.errors import ActionError
from activities.tell.mail_input import EmailInput, RefusedRecipient
from activities.tell.mail_message import Mail, too_large
from activities.web import CONNECT_TIMEOUT

REPLY_TIMEOUT: Final = 60.0
"""Seconds for each answer before the message itself."""

FINAL_TIMEOUT: Final = 600.0
"""Seconds for the answer to the whole message: RFC 5321, section 4.5.3.2.6, since giving up early sends it twice."""

SHOWN_OF_REPLY: Final = 300
TOO_LARGE: Final = frozenset({523, 552})

MAIL_ERRORS: Mapping[str, str] = {
    "starttls_not_offered": "The server offers no STARTTLS: use `tls` with port 465, or say that none is needed.",
    "login_not_offered": "The server offers no login, or none that is known here (PLAIN, LOGIN, CRAM-MD5).",
    "login_refused": "The server does not take the user and password; worth a retry where it says 4xx.",
    "sender_refused": "The server does not take mail of this sender; worth a retry where it says 4xx.",
    "recipients_refused": "The server takes none of the recipients; worth a retry where it says 4xx for one.",
    "address_not_supported": "An address is not ASCII, and the server does not know SMTPUTF8.",
    "message_too_large": "The message has more bytes than the server takes, or than 36 MiB.",
    "mail_deferred": "The server refuses for now (4xx), as greylisting does; worth a retry.",
    "mail_refused": "The server refuses for good (5xx); its own words stand in the message.",
    "outcome_unknown": "The whole message was sent, and no answer came: it may have been taken. Not retried.",
    "bad_answer": "What answers is no mail server.",
}
"""What each code of this module means, for the action's documentation."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the server has said to a message that it took."""

    accepted: list[str]
    refused: list[RefusedRecipient]
    reply: str
    tls: str | None


async def deliver_mail(mail: Mail, inputs: EmailInput, context: ActionContext) -> Delivered:
    """Hand ``mail`` over.  Raises ``ActionError``; a cancel leaves no connection behind."""
    try:
        async with _session(inputs, context) as client:
            await _log_in(client, inputs)
            accepted, refused = await _envelope(client, mail, inputs)
            encrypted = client.get_transport_info("ssl_object")
            reply = await _data(client, mail.content, inputs.where)
            return Delivered(accepted, refused, reply, None if encrypted is None else encrypted.version())
    except ActionError:
        raise
    except (SMTPException, OSError, ValueError) as error:
        raise explained(error, inputs.where) from None


@contextlib.asynccontextmanager
async def _session(inputs: EmailInput, context: ActionContext) -> AsyncIterator[aiosmtplib.SMTP]:
    trust = await asyncio.to_thread(_trust, inputs) if inputs.security != "none" else None
    connected = await _connect(inputs, context)
    host = inputs.host.strip("[]")
    client = aiosmtplib.SMTP(
        hostname=host,
        sock=connected,
        local_hostname=_own_name(connected),
        timeout=REPLY_TIMEOUT,
        use_tls=inputs.security == "tls",
        start_tls=False,
        tls_context=trust,
    )
    try:
        await client.connect()
        await client.ehlo()
        await _start_tls(client, inputs)
        yield client
        with contextlib.suppress(SMTPException, OSError):
            await client.quit(timeout=5)
    finally:
        # close() alone would still send what waits: after a cancel nothing more may leave.
        # The socket is the transport's, which closes it a moment later: closed here, its number could be another's.
        if client.transport is not None:
            cast(asyncio.WriteTransport, client.transport).abort()
        client.close()


async def _connect(inputs: EmailInput, context: ActionContext) -> socket.socket:
    """A connection to the first address that is allowed and accepts one."""
    loop = asyncio.get_running_loop()
    reason = "no connection in time"
    for address in await context.egress.resolve(inputs.host.strip("[]"), inputs.server_port):
        opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            opened.setblocking(False)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.sock_connect(opened, (address, inputs.server_port))
            return opened
        except TimeoutError:
            reason = "no connection in time"
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
        except BaseException:
            opened.close()
            raise
        opened.close()
    raise ActionError("connect_failed", f"Cannot connect to {inputs.where}: {reason}.")


def _own_name(connected: socket.socket) -> str:
    """What EHLO says: the address, since few machines know a name that would resolve (RFC 5321, section 4.1.4)."""
    address = ip_address(connected.getsockname()[0].partition("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _trust(inputs: EmailInput) -> ssl.SSLContext:
    if inputs.ca is None:
        # Not the context of HTTP: that one also says which version of HTTP it speaks.
        return httpx2.create_ssl_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A pinned certificate need not be that of an authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=inputs.ca)
    except (ssl.SSLError, ValueError):
        raise ActionError("invalid_input", "ca: no certificate in PEM can be read from it.", retryable=False) from None
    return context


async def _start_tls(client: aiosmtplib.SMTP, inputs: EmailInput) -> None:
    if inputs.security not in ("starttls", "starttls_if_offered"):
        return
    if client.supports_extension("starttls"):
        await client.starttls()
        await client.ehlo()
    elif inputs.security == "starttls" or inputs.username is not None:
        why = ", and no password is sent without TLS" if inputs.security == "starttls_if_offered" else ""
        message = f"{_begin(inputs.where)} offers no STARTTLS{why}."
        raise ActionError("starttls_not_offered", message, retryable=False)


async def _log_in(client: aiosmtplib.SMTP, inputs: EmailInput) -> None:
    if inputs.username is None or inputs.password is None:
        return
    if not client.supported_auth_methods:
        offered = ", ".join(client.server_auth_methods) or "none"
        message = f"{_begin(inputs.where)} offers no login that is known here (it offers {offered})."
        raise ActionError("login_not_offered", message, retryable=False)
    await client.login(inputs.username, inputs.password)


async def _envelope(
    client: aiosmtplib.SMTP, mail: Mail, inputs: EmailInput
) -> tuple[list[str], list[RefusedRecipient]]:
    """Names sender and recipients; those that were accepted, and the others."""
    options = _mail_options(client, mail, inputs.where)
    encoding = "utf-8" if mail.international else "ascii"
    await client.mail(mail.sender, options=options, encoding=encoding)
    accepted: list[str] = []
    refused: list[RefusedRecipient] = []
    for address in mail.recipients:
        try:
            await client.rcpt(address, encoding=encoding)
            accepted.append(address)
        except SMTPRecipientRefused as error:
            refused.append(RefusedRecipient(address=address, code=error.code, reply=_said(error.message)))
    if accepted:
        return accepted, refused
    said = "; ".join(f"{one.address}: {one.code} {one.reply}" for one in refused[:3])
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    later = any(400 <= one.code < 500 for one in refused)
    raise ActionError("recipients_refused", f"{_begin(inputs.where)} takes no recipient: {said}{more}", later)


def _mail_options(client: aiosmtplib.SMTP, mail: Mail, where: str) -> list[str]:
    options: list[str] = []
    if mail.international:
        if not client.supports_extension("smtputf8"):
            message = f"An address is not ASCII, and {where} does not know SMTPUTF8."
            raise ActionError("address_not_supported", message, retryable=False)
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    if client.supports_extension("size"):
        limit = client.esmtp_extensions["size"].strip()
        if limit.isdigit() and 0 < int(limit) < len(mail.content):
            raise too_large(f"The message has {len(mail.content)} bytes; {where} takes {limit}.")
        options.append(f"SIZE={len(mail.content)}")
    return options


async def _data(client: aiosmtplib.SMTP, content: bytes, where: str) -> str:
    """Sends the message; the server's answer.

    The dot that ends it goes only when all before it has left: what is lost until then was certainly not taken, and
    may be sent again.  From then on the server may have taken it, whatever becomes of its answer.
    """
    ready = await client.execute_command(b"DATA")
    if ready.code != 354:
        raise SMTPResponseException(ready.code, ready.message)
    protocol, transport = client.protocol, cast(asyncio.WriteTransport, client.transport)
    if protocol is None:
        raise SMTPServerDisconnected("Connection lost")
    answer = asyncio.ensure_future(protocol.read_response(timeout=None))
    # It must listen before anything is written: the library drops what comes while nobody waits for it, and a server
    # near by has answered before a loop such as uvloop comes to a task that is new.
    await asyncio.sleep(0)
    try:
        await _write_all(transport, _dots_doubled(content), answer)
        if not answer.done():
            return await _end_of_data(transport, answer, where)
        early = answer.result()
        raise SMTPResponseException(early.code, early.message)
    finally:
        if not answer.done():
            answer.cancel()
        await asyncio.wait({answer})


async def _write_all(
    transport: asyncio.WriteTransport, content: bytes, answer: asyncio.Future[aiosmtplib.SMTPResponse]
) -> None:
    """Waits until ``content`` has left, or the server has spoken or gone before."""
    transport.write(content)
    stalled, left = 0.0, transport.get_write_buffer_size()
    while left and not answer.done():
        await asyncio.wait({answer}, timeout=0.05)
        before, left = left, transport.get_write_buffer_size()
        stalled = stalled + 0.05 if left == before else 0.0
        if stalled > REPLY_TIMEOUT:
            raise SMTPTimeoutError("The server stopped reading the message")


async def _end_of_data(
    transport: asyncio.WriteTransport, answer: asyncio.Future[aiosmtplib.SMTPResponse], where: str
) -> str:
    transport.write(b".\r\n")
    unknown = ActionError(
        "outcome_unknown",
        f"The whole message was sent to {where}, and no answer came: it may have been taken. Look for its Message-ID "
        "there before you send it again.",
        retryable=False,
    )
    try:
        async with asyncio.timeout(FINAL_TIMEOUT):
            said = await answer
    except (TimeoutError, OSError, SMTPServerDisconnected):
        raise unknown from None
    except SMTPResponseException as error:  # it has answered, but not as a mail server does
        raise unknown from error
    except asyncio.CancelledError:
        # For a step whose time is over; after a cancel nobody hears it.
        raise unknown from None
    if said.code != 250:
        raise SMTPResponseException(said.code, said.message)
    return _said(said.message)


def _dots_doubled(content: bytes) -> bytes:
    """RFC 5321, section 4.5.2; with a line break at the end."""
    ended = content if content.endswith(b"\r\n") else content + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", ended)


def explained(error: Exception, where: str) -> ActionError:
    """``error`` as a playbook sees it."""
    cause = next((one for one in (error, error.__cause__) if isinstance(one, ssl.SSLError)), None)
    if cause is not None:
        return _tls_error(cause, where)
    if isinstance(error, SMTPResponseException):
        return _refusal(error, where)
    if isinstance(error, TimeoutError):
        return ActionError("timed_out", f"{_begin(where)} did not answer in time.")
    if isinstance(error, ConnectionError):
        return ActionError("connection_lost", f"{_begin(where)} closed the connection before it took the message.")
    return ActionError("bad_answer", f"{_begin(where)}: {_said(str(error) or type(error).__name__)}", retryable=False)


def _tls_error(error: ssl.SSLError, where: str) -> ActionError:
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"{_begin(where)}: its certificate does not hold: {error.verify_message.rstrip('.')}."
        return ActionError("tls_failed", message, retryable=False)
    message = f"{_begin(where)}: TLS failed: {error.reason or error}. Port 465 wants security tls, 587 starttls."
    return ActionError("tls_failed", message)


def _refusal(error: SMTPResponseException, where: str) -> ActionError:
    said = f"{error.code} {_said(error.message)}"
    if not 400 <= error.code < 600:
        return ActionError("bad_answer", f"{_begin(where)} does not answer as a mail server: {said}", retryable=False)
    later = error.code < 500
    if isinstance(error, SMTPAuthenticationError):
        return ActionError("login_refused", f"{_begin(where)} refuses the login: {said}", later)
    if error.code in TOO_LARGE:
        return too_large(f"{_begin(where)} says that the message is too large: {said}")
    if isinstance(error, SMTPSenderRefused):
        return ActionError("sender_refused", f"{_begin(where)} refuses the sender {error.sender}: {said}", later)
    code, words = ("mail_deferred", "refuses for now") if later else ("mail_refused", "refuses the message")
    return ActionError(code, f"{_begin(where)} {words}: {said}", later)


def _begin(where: str) -> str:
    return where[0].upper() + where[1:]


def _said(text: str) -> str:
    printable = text.encode("utf-8", "replace").decode()
    return " ".join(printable.split())[:SHOWN_OF_REPLY]
