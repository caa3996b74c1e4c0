"""Runs ``activities.reports.child`` for one report, and holds it to its limits from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from activities.artifacts import MAX_BYTES
from activities.errors import ActionError
from activities.pipes import feed
from playbooks.record import Json

CHUNK: Final = 256 * 1024
MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one report may cost: memory in bytes, processor time and time in seconds."""

    memory_bytes: int
    cpu_seconds: int
    seconds: float


TEXT: Final = Limits(512 * MEBIBYTE, 10, 20)
PDF: Final = Limits(2048 * MEBIBYTE, 60, 90)


@dataclass(frozen=True, slots=True)
class Job:
    """One report: ``names`` is what the template sees; ``layout`` goes around what it makes.

    ``brackets``: values stand in ``[[ … ]]`` in the template.
    """

    format: str
    template: str
    layout: str | None = None
    brackets: bool = False
    names: dict[str, Json] = field(default_factory=dict)
    limits: Limits = TEXT
    output_bytes: int = MAX_BYTES


async def render(job: Job) -> bytes:
    """The report.  When it is cancelled or out of time the process is dead before this returns.

    Raises ``ActionError``: ``template_failed`` with the line, ``report_too_large``, ``report_too_slow``,
    ``pdf_missing``, ``renderer_failed``.
    """
    process = await _spawn()
    try:
        async with asyncio.timeout(job.limits.seconds):
            content = await _exchange(process, _order(job), job.output_bytes + CHUNK)
            code = await process.wait()
    except TimeoutError:
        raise _too_slow(job.limits.seconds) from None
    finally:
        await _kill(process)
    word, _, rest = content.partition(b"\n")
    if code == -signal.SIGXCPU:
        raise _too_slow(job.limits.cpu_seconds)
    if code != 0 or not word:
        raise ActionError("renderer_failed", f"The process that renders reports ended with {code}.", retryable=True)
    if word != b"ok":
        raise ActionError(word.decode("ascii", "replace"), rest.decode("utf-8", "replace"), retryable=False)
    return rest


def _order(job: Job) -> bytes:
    fields: dict[str, Json] = {
        "format": job.format,
        "template": job.template,
        "layout": job.layout,
        "brackets": job.brackets,
        "names": job.names,
        "memory_bytes": job.limits.memory_bytes,
        "cpu_seconds": job.limits.cpu_seconds,
        "output_bytes": job.output_bytes,
    }
    return json.dumps(fields).encode()


def _too_slow(seconds: float) -> ActionError:
    return ActionError("report_too_slow", f"The template did not end within {seconds:g} s.", retryable=False)


async def _spawn() -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *(sys.executable, "-B", "-m", "activities.reports.child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # What libraries warn of may hold what the report is about.
            stderr=asyncio.subprocess.DEVNULL,
            # None of the worker's environment: it holds secrets.
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled between the fork and its notice: nobody else would ever end this process.
        await _kill(await starting)
        raise


async def _exchange(process: asyncio.subprocess.Process, order: bytes, limit: int) -> bytes:
    """What comes back for ``order``, at most ``limit`` bytes of it."""
    assert process.stdin is not None
    assert process.stdout is not None
    feeding = asyncio.create_task(feed(process.stdin, order))
    try:
        content = bytearray()
        while (chunk := await process.stdout.read(CHUNK)) and len(content) <= limit:
            content += chunk
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    return bytes(content)


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
