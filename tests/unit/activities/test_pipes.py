"""What a child process is given, on the event loop of the worker."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from activities.pipes import feed


@pytest.mark.parametrize("content", [b"", b"x" * 1_000_000])
@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_a_process_that_has_ended_already_is_no_fault(run: object, content: bytes) -> None:
    """Nothing is raised, whether or not there was something to read."""

    async def give() -> int:
        process = await asyncio.create_subprocess_exec("true", stdin=asyncio.subprocess.PIPE)
        assert process.stdin is not None
        await process.wait()
        while not process.stdin.is_closing():
            await asyncio.sleep(0.01)
        await feed(process.stdin, content)
        return process.returncode or 0

    assert callable(run)
    assert run(give()) == 0
