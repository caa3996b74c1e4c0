"""A mail server on this machine that keeps what it takes and sends nothing on; for the demo and tests.

It is aiosmtpd, of the extra ``demo``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from email import policy
from email.parser import BytesParser
from types import TracebackType
from typing import Any, Self

from cli.received import Inbox, Received

MAIL = "MAIL"
"""What stands for the method where a mail is shown among requests."""

LOOPBACK = "127.0.0.1"


def is_installed() -> bool:
    """Whether there is an aiosmtpd."""
    return importlib.util.find_spec("aiosmtpd") is not None


class MailSink(Inbox):
    """The server: ``with MailSink() as sink`` serves on ``sink.port`` until the end of the block.

    Of a message it keeps the recipients as the path, sender, subject and names of attachments as the body.
    """

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the name of aiosmtpd
        """Keeps a message."""
        message = BytesParser(policy=policy.default).parsebytes(envelope.original_content or b"")
        files = [part.get_filename() or "" for part in message.walk() if part.get_content_disposition() == "attachment"]
        body = {"from": str(envelope.mail_from), "subject": str(message["subject"]), "attachments": files}
        self.record(Received(MAIL, ", ".join(envelope.rcpt_tos), body))
        return "250 2.0.0 Ok"

    async def _listen(self) -> None:
        from aiosmtpd.smtp import SMTP

        self._server = await self._loop.create_server(
            lambda: SMTP(self, hostname="localhost", loop=self._loop), LOOPBACK, 0
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
