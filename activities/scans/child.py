"""A scanner as a child process: bounded in time and output, and dead, with all that it started, when it must end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from activities.errors import ActionError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHUNK = 64 * 1024
STDERR_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: exit code (negative for a signal), standard output, and the beginning of standard error."""

    exit_code: int
    stdout: bytes
    stderr: str


async def run_child(
    command: Sequence[str],
    *,
    seconds: float,
    output_bytes: int,
    environment: Mapping[str, str] | None = None,
    seen: Callable[[bytes], None] | None = None,
) -> Ended:
    """Run ``command`` with nothing but a path and ``environment``; ``seen`` gets each piece of output as it comes.

    The child leads a process group of its own, which is killed whenever this returns or raises: the tool itself may
    have started others.  Raises ``ActionError``: ``scanner_missing``, ``timed_out``, ``output_limit``.
    """
    process = await _spawn(command, {"PATH": PATH, "LANG": "C.UTF-8", **(environment or {})})
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            stdout = group.create_task(_collect(process, process.stdout, output_bytes, seen))
            stderr = group.create_task(_collect(process, process.stderr, STDERR_BYTES))
            group.create_task(process.wait())
    except TimeoutError:
        raise ActionError("timed_out", f"{command[0]} did not end within {seconds:g} s.") from None
    finally:
        await _kill(process)
    if len(stdout.result()) > output_bytes:
        raise ActionError(
            "output_limit", f"{command[0]} wrote more than {output_bytes} bytes and was ended.", retryable=False
        )
    return Ended(process.returncode or 0, stdout.result(), stderr.result()[:STDERR_BYTES].decode("utf-8", "replace"))


async def _spawn(command: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=dict(environment),
        )
    )
    try:
        return await asyncio.shield(starting)
    except FileNotFoundError:
        raise ActionError(
            "scanner_missing",
            f"This worker has no {command[0]}: install it (apt-get install {command[0]}).",
            retryable=False,
        ) from None
    except asyncio.CancelledError:
        # Cancelled between the fork and its notice: nobody else would ever end this process.
        with suppress(OSError):
            await _kill(await starting)
        raise


async def _collect(
    process: asyncio.subprocess.Process,
    pipe: asyncio.StreamReader | None,
    limit: int,
    seen: Callable[[bytes], None] | None = None,
) -> bytes:
    """All that comes; past ``limit`` bytes of what is wanted the process is killed, and the rest is dropped."""
    assert pipe is not None
    content = bytearray()
    while chunk := await pipe.read(CHUNK):
        content += chunk
        if seen is not None:
            seen(chunk)
        if len(content) > limit:
            del content[limit + 1 :]
            if pipe is process.stdout:
                _signal(process)
    return bytes(content)


async def _kill(process: asyncio.subprocess.Process) -> None:
    _signal(process)
    if process.returncode is None:
        await process.wait()


def _signal(process: asyncio.subprocess.Process) -> None:
    # The group outlives its leader while a grandchild does; a number is not given out again while it is a group's.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
