"""This machine as a host over SSH, for the demo: a server on the loopback that knows one key and no password.

Key, host key and port are new each time and live as long as the block.  Commands run as the user who runs the demo.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

LOOPBACK = "127.0.0.1"
USER = "demo"


class LocalHost:
    """The server: ``with LocalHost() as host`` serves on ``host.port`` until the end of the block."""

    def __init__(self) -> None:
        import asyncssh

        self.port = 0
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Any = None

    @property
    def private_key(self) -> str:
        """The only key that logs in."""
        return self._key.export_private_key().decode()

    @property
    def host_key(self) -> str:
        """The server's own public key, ``ssh-ed25519 AAAA…``."""
        return " ".join(self._host_key.export_public_key().decode().split()[:2])

    async def _listen(self) -> None:
        import asyncssh

        self._server = await asyncssh.listen(
            LOOPBACK,
            0,
            server_host_keys=[self._host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(self._key.export_public_key().decode()),
            process_factory=_run,
            encoding=None,
            password_auth=False,
            kbdint_auth=False,
        )
        self.port = self._server.get_port()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

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


async def _run(process: Any) -> None:
    """One command, in a shell and a session of its own; what it started is ended with it."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", process.command or "true"), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr, send_eof=False)
        code = await child.wait()
        await process.stdout.drain()
        process.exit(code if code >= 0 else 128 - code)
        await process.wait_closed()
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
