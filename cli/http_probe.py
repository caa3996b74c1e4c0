"""A GET without a library: the supervisor asks the API whether everything works, and is to stay small."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

TIMEOUT = 3.0
PAUSE = 0.03


async def until_ready(host: str, port: int) -> None:
    """Returns when the API says that everything is there, a worker included."""
    while not await is_ready(host, port):  # noqa: ASYNC110 - another process cannot set an event of ours
        await asyncio.sleep(PAUSE)


async def is_ready(host: str, port: int) -> bool:
    """True when each dependency that ``/readyz`` names is ``ok``."""
    answer = await get(host, port, "/readyz")
    states = [one.get("state") for one in answer.get("dependencies", [])]
    return bool(states) and all(state == "ok" for state in states)


async def get(host: str, port: int, path: str) -> dict[str, Any]:
    """The JSON object that ``path`` answers; an empty one when it does not within ``TIMEOUT`` seconds."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                # HTTP/1.0: the answer ends with the connection, and comes in one piece.
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
                _, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
            answer = json.loads(body)
            return answer if isinstance(answer, dict) else {}
    return {}
