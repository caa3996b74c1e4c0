"""A GET without a library: the supervisor asks the API whether it is ready, and is to stay small."""

from __future__ import annotations

import asyncio
import contextlib

TIMEOUT = 3.0
PAUSE = 0.03


async def until_ok(host: str, port: int, path: str) -> None:
    """Returns when ``path`` answers 200."""
    while not await answers_ok(host, port, path):  # noqa: ASYNC110 - another process cannot set an event of ours
        await asyncio.sleep(PAUSE)


async def answers_ok(host: str, port: int, path: str) -> bool:
    """True when ``path`` answers 200 within ``TIMEOUT`` seconds."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split(b" ")
            finally:
                writer.close()
            return len(status) > 1 and status[1] == b"200"
    return False
