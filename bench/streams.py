"""Measures a thousand listeners of one execution: how soon the last one is told of its end.

    python -m bench.streams [LISTENERS]

The floor has no streams: it stands for as many clients that ask the floor's endpoint once, when the end is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time

from bench.reads import reads_a_second
from bench.rows import Noise, row, show
from bench.runs import Bench, clients, percentile
from bench.site import TOKEN, Site, site

ROUNDS = 3


class Listener:
    """One listener, over a connection of its own; knows when it was told of the end."""

    def __init__(self) -> None:
        self.told_at = 0.0
        self.listens = asyncio.Event()

    async def listen(self, port: int, execution: str) -> None:
        """Reads the stream until it ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            path = f"/api/playbooks/executions/{execution}/events"
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readuntil(b"event: execution")
            self.listens.set()
            await reader.readuntil(b'"status":"completed"')
            while b"event: execution" not in await reader.readline():
                pass
            self.told_at = time.perf_counter()
            await reader.read()


async def measure(place: Site, count: int) -> None:
    """Prints the rows."""
    ours, floor = clients(place)
    noise, port = Noise(), int(place.url.rpartition(":")[2])
    last: list[float] = []
    half: list[float] = []
    hand: list[float] = []
    kilobytes: list[float] = []
    async with ours, floor:
        bench = Bench(place, ours, floor)
        kinds = await bench.prepare()
        done = await kinds[0].start(0)
        playbook = await bench.playbook("Asks", [{"id": "ask", "type": "approval"}])
        for slot in range(ROUNDS):
            execution = await bench.start(playbook, slot)
            before = place.memory_mb()["api"]["resident"]
            listeners = [Listener() for _ in range(count)]
            tasks = [asyncio.create_task(one.listen(port, execution)) for one in listeners]
            async with asyncio.timeout(120):
                await asyncio.gather(*(one.listens.wait() for one in listeners))
                kilobytes.append((place.memory_mb()["api"]["resident"] - before) * 1000 / count)
                begun = time.perf_counter()
                answer = await ours.post(f"/api/playbooks/executions/{execution}/steps/ask/approve", json={})
                assert answer.status_code == 200, answer.text
                await asyncio.gather(*tasks)
            taken = [(one.told_at - begun) * 1000 for one in listeners]
            last.append(max(taken))
            half.append(percentile(taken, 0.5))
            hand.append(count / await reads_a_second(f"{place.floor_url}/run/{done}", reads=count) * 1000)
            noise.sample()
    print(noise.told())
    show(
        [
            row(f"approve → the last of {count:,} listeners is told of the end, ms", last, hand),
            row("the same, half of them", half, hand),
        ]
    )
    print(f"A listener took {statistics.median(kilobytes):.0f} kB of the API's memory.")


if __name__ == "__main__":
    with site() as built:
        asyncio.run(measure(built, int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
