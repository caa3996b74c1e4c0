"""A GET without a library: the supervisor asks the API whether everything works, and is to stay small."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import Any

TIMEOUT = 3.0
PAUSE = 0.03


async def until_ready(host: str, port: int, *, tls: bool = False) -> None:
    """Returns when the API says that everything is there, a worker included."""
    while not await is_ready(host, port, tls=tls):  # noqa: ASYNC110 - another process cannot set an event of ours
        await asyncio.sleep(PAUSE)


async def is_ready(host: str, port: int, *, tls: bool = False) -> bool:
    """True when each dependency that ``/readyz`` names is ``ok``."""
    answer = await get(host, port, "/readyz", tls=tls)
    states = [one.get("state") for one in answer.get("dependencies", [])]
    return bool(states) and all(state == "ok" for state in states)


async def get(host: str, port: int, path: str, *, tls: bool = False) -> dict[str, Any]:
    """The JSON object that ``path`` answers; an empty one when it does not within ``TIMEOUT`` seconds.

    With ``tls`` no certificate is asked for: it is our own server, on this machine, that is probed.
    """
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port, ssl=_unverified() if tls else None)
            try:
                # HTTP/1.0: the answer ends with the connection, and comes in one piece.
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
                _, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
            answer = json.loads(body)
            return answer if isinstance(answer, dict) else {}
    return {}


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
