"""Work on a host that must not be broken off half-way: it runs apart from the connection, and is found again.

A job is a shell script in a session of its own.  It goes on when the connection, the worker or the step is gone, and
whoever asks for the same job again gets its end instead of a second run.  It says itself when it comes to the point
from which on it must not be stopped; before that, a cancel stops it.

On the host, ``/run/stanchion/<mark>`` has the job's script, its log, its notes and how it ended.  It needs root, ``sh``
with ``setsid`` and ``flock`` (util-linux), and goes with a reboot.
"""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from dataclasses import dataclass

import asyncssh

from activities.errors import ActionError
from activities.hosts.session import Host

STOPPED = 130
DIED = 92
NOT_ROOT = 93
STOPPING = 1.0
"""Seconds in which a job is asked to stop after a cancel."""

LOG_BYTES = 48 * 1024

DECIDE = """decide() { { mkdir "$dir/decided" && : >"$dir/decided/job"; } 2>/dev/null || [ -e "$dir/decided/job" ]; }
undecide() { rm -rf "$dir/decided"; }
"""
"""For jobs: ``decide || exit 130`` stands before what must not be stopped; whoever makes the directory first wins."""

_HEAD = """set -u; umask 077
dir=/run/stanchion/{mark}
[ "$(id -u)" = 0 ] || exit 93
"""

_COMMON = (
    _HEAD
    + r"""
attempt={attempt}
clear_old() {{
    [ -e "$dir/result" ] || return 0
    code=$(cat "$dir/result")
    # A failure of an earlier attempt, and a job that was stopped, are done anew; everything else is the answer.
    if [ "$code" = 130 ] || {{ [ "$code" != 0 ] && [ "$(cat "$dir/attempt")" != "$attempt" ]; }}; then rm -rf "$dir"; fi
}}
settle() {{
    idle=0
    while [ ! -e "$dir/result" ]; do
        if flock -n "$dir/lock" true 2>/dev/null; then idle=$((idle + 1)); else idle=0; fi
        # It died without a word, as when the host ran out of memory.
        if [ "$idle" -ge 12 ]; then rm -rf "$dir"; exit 92; fi
        sleep 0.25
    done
    cat "$dir/result" "$dir/notes"; echo; tail -c {limit} "$dir/log" 2>/dev/null
    exit 0
}}
clear_old
"""
)

_FIND = (
    _COMMON
    + """[ ! -d "$dir" ] || settle
"""
)

_LAUNCH = (
    _COMMON
    + r"""mkdir -p /run/stanchion || exit 1
find /run/stanchion -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {{}} + 2>/dev/null
if mkdir "$dir" 2>/dev/null; then
    echo "$attempt" >"$dir/attempt"
    printf '%s' {notes} >"$dir/notes"
    cat >"$dir/job"
    # What the job starts must not hold the lock, or a service that it restarts would be taken for the job.
    setsid sh -c 'echo $$ >"$1/group"; exec 9>"$1/lock"; flock 9
        sh "$1/job" "$1" >"$1/log" 2>&1 </dev/null 9>&-
        echo $? >"$1/result.new"; mv "$1/result.new" "$1/result"' job "$dir" </dev/null >/dev/null 2>&1 &
fi
settle
"""
)

_STOP = (
    _HEAD
    + """mkdir "$dir/decided" 2>/dev/null || exit 0
[ -e "$dir/group" ] && kill -s TERM -- "-$(cat "$dir/group")"
[ -e "$dir/result" ] || echo 130 >"$dir/result"
"""
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended: its exit code, the notes that were handed to it, and the end of its log."""

    exit_code: int
    notes: str
    log: str

    @property
    def stopped(self) -> bool:
        """True when it was stopped before it had decided."""
        return self.exit_code == STOPPED


class Job:
    """A job of a host, known by ``mark``.  ``attempt``: a failure of an earlier one is done anew."""

    def __init__(self, host: Host, mark: str, attempt: int, *, sudo: bool) -> None:
        self.host = host
        self.mark = mark
        self.attempt = attempt
        self.sudo = sudo

    async def earlier(self) -> Ended | None:
        """The end of the job that the host has already, waited for; None where it has none, or where that died.

        Raises and is cancelled like ``run``.
        """
        return await self._ended(_FIND.format(**self._values()), b"")

    async def run(self, script: str, notes: str) -> Ended | None:
        """The end of ``script``, or of the job of this mark that the host has already; None where it was killed.

        ``script`` gets its directory as ``$1``; ``notes``, one line, is kept with it.  Cancelled, the job is stopped
        unless it has decided.

        Raises ``ActionError``: ``not_root``, ``job_died``, and what ``Host.run`` raises.
        """
        launch = _LAUNCH.format(**self._values(), notes=shlex.quote(notes))
        return await self._ended(launch, f"dir=$1\n{DECIDE}{script}".encode())

    async def _ended(self, command: str, content: bytes) -> Ended | None:
        try:
            done = await self.host.run(command, content, sudo=self.sudo)
        except asyncio.CancelledError:
            await self._stop()
            raise
        if done.exit_code == DIED or not (done.exit_code or done.text):
            return None
        self._check(done.exit_code)
        code, _, rest = done.text.partition("\n")
        told, _, log = rest.partition("\n")
        return Ended(int(code), told, log)

    def _values(self) -> dict[str, object]:
        return {"mark": self.mark, "attempt": self.attempt, "limit": LOG_BYTES}

    async def _stop(self) -> None:
        with suppress(TimeoutError, OSError, asyncssh.Error, ActionError):
            async with asyncio.timeout(STOPPING):
                await self.host.run(_STOP.format(mark=self.mark), sudo=self.sudo)

    def _check(self, exit_code: int) -> None:
        if exit_code == NOT_ROOT:
            text = f"{self.host.place}: this needs root. Log in as root, or say sudo: true."
            raise ActionError("not_root", text, retryable=False)
        if exit_code:
            raise ActionError("job_died", f"{self.host.place}: the work could not be started (exit code {exit_code}).")
