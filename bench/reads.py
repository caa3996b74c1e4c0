"""GETs over connections that stay open, as lean as they can be: what is measured is the server, and not a client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

CONNECTIONS = 16
READS = 1_500


async def reads_a_second(url: str, headers: Mapping[str, str] | None = None, reads: int = READS) -> float:
    """GETs of ``url`` a second, so many at once; each answer must be 200 and is read whole."""
    parts = urlsplit(url)
    given = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{given}\r\n".encode()
    left = iter(range(reads))

    async def work() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            for _ in left:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
        finally:
            writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return reads / (time.perf_counter() - begun)
