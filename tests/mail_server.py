"""Mail servers on this machine: a real one, and one that says what a test has written for it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "stanchion", "s3cret-of-mail"


@dataclass(frozen=True)
class Taken:
    """One message that the server took."""

    sender: str
    recipients: list[str]
    content: bytes
    tls: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        """The message, parsed."""
        parsed = BytesParser(policy=policy.default).parsebytes(self.content)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class MailServer:
    """aiosmtpd, which keeps what it takes; ``refuses`` has the answer to single recipients."""

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    answer: str = "250 2.0.0 Ok: queued as 4XyZ"
    passwords: set[str] = field(default_factory=lambda: {PASSWORD})
    connections: int = 0
    last: SMTP | None = None

    async def handle_RCPT(  # noqa: N802 - the name of aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes or refuses a recipient."""
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keeps a message."""
        if self.answer.startswith("250"):
            content = envelope.original_content or b""
            user = session.auth_data.decode() if isinstance(session.auth_data, bytes) else None
            self.taken.append(
                Taken(str(envelope.mail_from), list(envelope.rcpt_tos), content, session.ssl is not None, user)
            )
        return self.answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Lets ``USER`` in with any of ``passwords``."""
        known = isinstance(data, LoginPassword) and data.login == USER.encode()
        good = known and data.password.decode("utf-8", "replace") in self.passwords
        # Unhandled, the server answers by itself.
        return AuthResult(success=good, handled=False, auth_data=data.login if good else None)


@contextlib.asynccontextmanager
async def mail_server(
    tls: ssl.SSLContext | None = None,
    *,
    implicit: bool = False,
    login: bool = False,
    host: str = "127.0.0.1",
    **options: Any,
) -> AsyncIterator[MailServer]:
    """A mail server on a free port: with STARTTLS when ``tls`` is given, or with TLS from the first byte."""
    kept = MailServer()

    def protocol() -> SMTP:
        kept.connections += 1
        with warnings.catch_warnings():
            # aiosmtpd does not know of the TLS that stands around it, and warns of a login without.
            warnings.simplefilter("ignore", UserWarning)
            kept.last = SMTP(
                kept,
                hostname="mail.test",
                tls_context=None if implicit else tls,
                require_starttls=tls is not None and not implicit,
                auth_required=login,
                auth_require_tls=login and not implicit,
                authenticator=kept.authenticate,
                **options,
            )
        return kept.last

    listening = await asyncio.get_running_loop().create_server(protocol, host, 0, ssl=tls if implicit else None)
    kept.port = listening.sockets[0].getsockname()[1]
    try:
        yield kept
    finally:
        listening.close()


@dataclass
class ScriptedServer:
    """Answers each command by its first word, as ``replies`` say; None closes, ``HANG`` says nothing more."""

    replies: dict[str, bytes | None]
    port: int = 0
    heard: list[str] = field(default_factory=list)
    data: bytes = b""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """The client has gone."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """The word that is answered by nothing has come."""


HANG = b""
POLITE: dict[str, bytes | None] = {
    "GREETING": b"220 mail.test ESMTP\r\n",
    "EHLO": b"250-mail.test\r\n250 SIZE 1000000\r\n",
    "MAIL": b"250 Ok\r\n",
    "RCPT": b"250 Ok\r\n",
    "DATA": b"354 Go on\r\n",
    "END": b"250 Queued\r\n",
    "QUIT": b"221 Bye\r\n",
}


@contextlib.asynccontextmanager
async def scripted_server(**replies: bytes | None) -> AsyncIterator[ScriptedServer]:
    """A server that is polite but for ``replies``; ``END`` is the answer to the whole message."""
    server = ScriptedServer({**POLITE, **replies})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, EOFError):
            await _converse(server, reader, writer)
        writer.transport.abort()
        server.ended.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


async def _converse(server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    word = "GREETING"
    while True:
        reply = server.replies.get(word, b"502 What?\r\n")
        if reply is None:
            return
        if reply == HANG:
            server.asked.set()
            while more := await reader.read(65536):
                server.data += more
            return
        writer.write(reply)
        await writer.drain()
        if word == "DATA" and reply.startswith(b"354"):
            while not server.data.endswith(b"\r\n.\r\n"):
                more = await reader.read(65536)
                if not more:
                    return
                server.data += more
            word = "END"
            continue
        line = (await reader.readuntil(b"\n")).decode().strip()
        server.heard.append(line)
        word = line.split(" ")[0].upper()
