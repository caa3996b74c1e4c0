"""A sandbox for one process tree: bubblewrap (0.8 or later) around it, prlimit inside.

Seen from inside: no network, the system's programs and libraries read-only, an empty private ``/tmp`` in memory, no
processes but its own, no capabilities, no privileges to gain, an environment of what is given and nothing else.
``/home``, ``/root``, ``/var``, the data folder and most of ``/etc`` do not exist.

The limits are the kernel's, for each process: address space, processor time, open files; the number of processes is
for the whole sandbox.  As root the sandbox is entered as ``nobody``, since the kernel counts no processes of root.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from activities.errors import ActionError
from activities.pipes import feed
from activities.scrub import excerpt_of

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPT = "/script"
NOBODY = 65534
OPEN_FILES = 256
CHUNK = 16 * 1024
MEBIBYTE = 1024 * 1024

# What a dynamic linker and Debian's alternatives need; nothing in it says anything of this host.
ETC = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: ``text`` is a file for ``interpreter``; limits in seconds, MiB, processes, bytes of each stream."""

    interpreter: str
    text: str
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    seconds: float = 60.0
    memory_mb: int = 256
    processes: int = 32
    output_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended; 128 + n for signal n.  ``cut``: it wrote more than the limit and was killed for it."""

    exit_code: int
    stdout: str
    stderr: str
    cut: bool = False


async def run_sandboxed(job: Job) -> Outcome:
    """Run ``job`` to its end.  When it is cancelled or out of time the whole process tree is dead before this returns.

    Raises ``ActionError``: ``sandbox_missing``, ``interpreter_missing``, ``sandbox_failed``, ``timed_out``.
    """
    command = _command(job)
    with _files(job) as (arguments, status, inherited):
        process = await _spawn([*command, "--args", str(arguments), "--", *_program(job)], inherited)
        os.close(inherited.pop())  # our copy of the status pipe's end, or reading it would never end
        try:
            async with asyncio.timeout(job.seconds):
                stdout, stderr = await _communicate(process, job)
                await process.wait()
        except TimeoutError:
            raise ActionError("timed_out", f"The script did not end within {job.seconds:g} s.") from None
        finally:
            await _kill(process)
        exit_code = _exit_code(status)
    cut = len(stdout) > job.output_bytes or len(stderr) > job.output_bytes
    if exit_code is None and not cut:
        reason = excerpt_of(stderr.decode("utf-8", "replace").strip(), 500) or f"bwrap ended with {process.returncode}"
        raise ActionError("sandbox_failed", f"The sandbox could not be made: {reason}", retryable=False)
    return Outcome(137 if exit_code is None else exit_code, _text(stdout, job), _text(stderr, job), cut)


def _command(job: Job) -> list[str]:
    missing = [tool for tool in ("bwrap", "prlimit", "setpriv") if shutil.which(tool) is None]
    if missing:
        raise ActionError(
            "sandbox_missing",
            f"This worker has no {', '.join(missing)}: install bubblewrap and util-linux (apt-get install bubblewrap "
            "util-linux).",
            retryable=False,
        )
    if shutil.which(job.interpreter, path=PATH) is None:
        raise ActionError("interpreter_missing", f"This worker has no {job.interpreter}.", retryable=False)
    if os.geteuid() != 0:
        return ["bwrap"]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "bwrap"]


@contextmanager
def _files(job: Job) -> Iterator[tuple[int, int, list[int]]]:
    """The file descriptors that bwrap reads its arguments and the script from, and writes its status to.

    In memory, not on a disk, and not on the command line, which every process of the host could read.  Yields the
    arguments' one, the status to read, and all that the child inherits, the status pipe's end last.
    """
    opened: list[int] = []
    try:
        script = _memory_file("script", job.text.encode("utf-8", "replace"))
        opened.append(script)
        reader, writer = os.pipe()
        inherited = [script, writer]
        opened.append(reader)
        arguments = _memory_file("arguments", "\0".join(_options(job, script, writer)).encode("utf-8", "replace"))
        opened.append(arguments)
        inherited.insert(0, arguments)
        try:
            yield arguments, reader, inherited
        finally:
            if writer in inherited:
                os.close(writer)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _memory_file(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _options(job: Job, script: int, status: int) -> list[str]:
    memory = str(job.memory_mb * MEBIBYTE)
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
    options += ["--cap-drop", "ALL", "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox"]
    options += ["--json-status-fd", str(status), "--clearenv"]
    for name, value in {"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **job.environment}.items():
        options += ["--setenv", name, value]
    options += [*system_options(), "--proc", "/proc", "--dev", "/dev"]
    # A folder of /dev could else be filled up to half of the host's memory.
    options += ["--size", memory, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    options += ["--size", memory, "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return [*options, "--perms", "0555", "--ro-bind-data", str(script), SCRIPT, "--remount-ro", "/"]


def system_options() -> list[str]:
    """The programs and libraries of the host, read-only; ``/bin`` and the like are links on a merged ``/usr``."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    for item in ETC:
        options += ["--ro-bind-try", item, item]
    return options


def _program(job: Job) -> list[str]:
    """The interpreter with its script, limited from inside: outside, the limits would count the host's processes."""
    memory = job.memory_mb * MEBIBYTE
    # One process more than asked for: the sandbox's own first process counts.
    limits = {"as": memory, "cpu": int(job.seconds) + 1, "nproc": job.processes + 1, "nofile": OPEN_FILES, "core": 0}
    options = [f"--{name}={value}:{value}" for name, value in limits.items()]
    # In a session of its own: a script that signals its process group would else reach bwrap.
    return ["prlimit", *options, "--", "setsid", job.interpreter, SCRIPT]


async def _spawn(command: list[str], inherited: list[int]) -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=inherited,
            start_new_session=True,
            # Empty but for the path: the sandbox's first process shows its environment to the script.
            env={"PATH": os.environ.get("PATH", PATH)},
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled between the fork and its notice: nobody else would ever end this process.
        await _kill(await starting)
        raise


async def _communicate(process: asyncio.subprocess.Process, job: Job) -> tuple[bytes, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.TaskGroup() as group:
        group.create_task(feed(process.stdin, job.stdin.encode("utf-8", "replace")))
        stdout = group.create_task(_collect(process, process.stdout, job.output_bytes))
        stderr = group.create_task(_collect(process, process.stderr, job.output_bytes))
    return stdout.result(), stderr.result()


async def _collect(process: asyncio.subprocess.Process, pipe: asyncio.StreamReader, limit: int) -> bytes:
    """All that comes; past ``limit`` bytes the process is killed, and what is more than one byte over is dropped."""
    content = bytearray()
    while chunk := await pipe.read(CHUNK):
        content += chunk
        if len(content) > limit:
            del content[limit + 1 :]
            _signal(process)
    return bytes(content)


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _signal(process)
        await process.wait()


def _signal(process: asyncio.subprocess.Process) -> None:
    """Kill the sandbox: bwrap and its first process inside, with which the kernel kills all others.

    Those two share a process group, which nothing else is in.  ``--die-with-parent`` alone would not do: a bwrap that
    dies while it is still setting up leaves its child behind, and ``--new-session`` would take the child out of the
    group before it asks to die with its parent.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _exit_code(status: int) -> int | None:
    """What the script ended with; None when bwrap never came so far."""
    os.set_blocking(status, False)
    with suppress(BlockingIOError):
        for line in os.read(status, CHUNK).decode("utf-8", "replace").splitlines():
            code = json.loads(line).get("exit-code")
            if isinstance(code, int):
                return code
    return None


def _text(content: bytes, job: Job) -> str:
    if len(content) <= job.output_bytes:
        return content.decode("utf-8", "replace")
    return content[: job.output_bytes].decode("utf-8", "replace") + f"\n[cut after {job.output_bytes} bytes]"
