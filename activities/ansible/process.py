"""The sandbox that Ansible runs in: no network, no worker's environment, files in memory, dead with the worker.

Ansible starts processes in sessions of their own, which no signal to a group reaches: they live in a namespace of
processes, which the kernel ends with its first one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from activities.errors import ActionError
from activities.pipes import feed
from activities.sandbox import NOBODY, PATH, system_options
from activities.scrub import end_of

PROGRAM = Path(__file__).parent / "program.py"
PASSWD = f"nobody:x:{NOBODY}:{NOBODY}::/tmp:/bin/sh\n"
MEMORY = 512 * 1024 * 1024
"""Bytes of files that a run may have."""

LINE_BYTES = 1024 * 1024
OUTPUT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What is to run: files of the run's folder by their path, options of ansible-playbook, variables for Ansible."""

    files: dict[str, str]
    options: list[str]
    environment: dict[str, str]


@dataclass(slots=True)
class Report:
    """What Ansible told: a result of each task, the counts, and how it ended."""

    results: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, int] = field(default_factory=dict)
    status: str = ""
    said: str = ""


def check_installed() -> None:
    """Raise ``ActionError``: ``ansible_missing``, ``sandbox_missing``."""
    if importlib.util.find_spec("ansible_runner") is None or importlib.util.find_spec("ansible") is None:
        text = "This worker has no Ansible: pip install 'stanchion[ansible]'."
        raise ActionError("ansible_missing", text, retryable=False)
    for tool, package in (("bwrap", "bubblewrap"), ("ssh", "openssh-client")):
        if shutil.which(tool) is None:
            raise ActionError("sandbox_missing", f"This worker has no {tool}: install {package}.", retryable=False)


async def run_ansible(order: Order, relay: Path, seconds: float, told: Callable[[dict[str, Any]], None]) -> Report:
    """Run ``order`` to its end; ``relay`` is the folder of the way out, ``told`` is called with each task's result.

    When it is cancelled or out of time every process of it is dead before this returns.  Raises ``ActionError``:
    ``timed_out``, ``sandbox_failed``, ``output_limit``.
    """
    (relay / "passwd").write_text(PASSWD)
    report = Report()
    try:
        async with asyncio.timeout(seconds), _process(_command(relay)) as process:
            await _exchange(process, order, report, told)
    except TimeoutError:
        raise ActionError("timed_out", f"The playbook did not end within {seconds:g} s.") from None
    return report


def _command(relay: Path) -> list[str]:
    options = ["--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL"]
    options += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox", "--clearenv"]
    prefix = Path(sys.prefix)
    for name, value in {"PATH": f"{prefix / 'bin'}:{PATH}", "HOME": "/tmp", "LANG": "C.UTF-8"}.items():
        options += ["--setenv", name, value]
    options += [*system_options(), "--proc", "/proc", "--dev", "/dev"]
    options += ["--size", str(MEMORY), "--tmpfs", "/tmp", "--chdir", "/tmp"]
    for folder in dict.fromkeys((str(prefix), sys.base_prefix)):
        if not folder.startswith("/usr"):
            options += ["--ro-bind", folder, folder]
    options += ["--ro-bind", str(relay / "passwd"), "/etc/passwd", "--ro-bind", str(relay), "/relay"]
    options += ["--ro-bind", str(PROGRAM), "/program.py"]
    return ["bwrap", *options, "--", sys.executable, "-B", "/program.py"]


@asynccontextmanager
async def _process(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=LINE_BYTES,
            env={"PATH": os.environ.get("PATH", PATH)},
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled between the fork and its notice: nobody else would ever end this process.
        await _kill(await starting)
        raise
    try:
        yield process
    finally:
        await _kill(process)


async def _exchange(
    process: asyncio.subprocess.Process, order: Order, report: Report, told: Callable[[dict[str, Any]], None]
) -> None:
    assert process.stdin is not None
    assert process.stderr is not None
    fields = {"files": order.files, "options": order.options, "environment": order.environment}
    errors = asyncio.create_task(_tail(process.stderr))
    feeding = asyncio.create_task(feed(process.stdin, json.dumps(fields).encode()))
    try:
        await _read(process, report, told)
        await process.wait()
        said = end_of(await errors, 1000)
    finally:
        for task in (errors, feeding):
            task.cancel()
        await asyncio.gather(errors, feeding, return_exceptions=True)
    if not report.status:
        text = f"Ansible could not be run in its sandbox: {said or f'it ended with {process.returncode}'}"
        raise ActionError("sandbox_failed", text, retryable=False)


async def _read(process: asyncio.subprocess.Process, report: Report, told: Callable[[dict[str, Any]], None]) -> None:
    assert process.stdout is not None
    size = 0
    while line := await process.stdout.readline():
        size += len(line)
        if size > OUTPUT_BYTES:
            raise ActionError("output_limit", "Ansible told too much, and was ended.", retryable=False)
        item = json.loads(line)
        if "result" in item:
            report.results.append(item["result"])
            told({"task": item["result"]["task"], "done": len(report.results)})
        report.stats = item.get("stats", report.stats)
        if "ended" in item:
            report.status, report.said = item["ended"]["status"], item["ended"]["said"]


async def _tail(pipe: asyncio.StreamReader) -> str:
    content = b""
    while chunk := await pipe.read(16 * 1024):
        content = (content + chunk)[-8 * 1024 :]
    return content.decode("utf-8", "replace").strip()


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
