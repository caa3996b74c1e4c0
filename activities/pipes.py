"""The standard input of a child process, which may have ended before it is written."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def feed(pipe: asyncio.StreamWriter, content: bytes) -> None:
    """Write ``content`` and close; a process need not read what it is given, and may be gone already."""
    with suppress(BrokenPipeError, ConnectionResetError):
        # uvloop raises RuntimeError for a write to a pipe whose other end is gone.
        if not pipe.is_closing():
            pipe.write(content)
            await pipe.drain()
        pipe.close()
