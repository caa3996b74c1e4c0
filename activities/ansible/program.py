"""Runs inside of the sandbox, as a file of its own: lays out a fresh folder, runs Ansible in it, tells what happened.

Reads an order as JSON on standard input, writes a line of JSON for each task's result.  With ``--relay`` it is ssh's
ProxyCommand: standard input and output on one side, the worker's socket on the other.
"""

from __future__ import annotations

import difflib
import json
import os
import resource
import socket
import sys
import threading
from pathlib import Path
from typing import Any

FOLDER = Path("/tmp/run")
SOCKET = "/relay/ssh.sock"
HOST = "target"
MEMORY_BYTES = 1536 * 1024 * 1024
FILE_BYTES = 128 * 1024 * 1024
MAX_RESULTS = 2000
MAX_MESSAGE = 2000
MAX_DIFF = 16 * 1024
MAX_DIFFS = 512 * 1024
MAX_SIDE = 128 * 1024
STATES = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
}


class Teller:
    """Takes Ansible's events, and writes what is kept of them, within bounds."""

    def __init__(self) -> None:
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        # Whatever libraries print is no part of the answer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        self.results = 0
        self.diffs = 0
        self.said: list[str] = []

    def tell(self, **line: Any) -> None:
        """One line."""
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()

    def take(self, event: dict[str, Any]) -> bool:
        """One event; False, so that the runner keeps no file of it."""
        kind = event.get("event", "")
        data = event.get("event_data") or {}
        if kind in STATES:
            self.result(STATES[kind], data)
        elif kind == "playbook_on_stats":
            names = ("ok", "changed", "failures", "dark", "skipped", "rescued", "ignored")
            self.tell(stats={name: sum((data.get(name) or {}).values()) for name in names})
        elif kind in ("verbose", "error", "warning") and event.get("stdout"):
            self.said = [*self.said, event["stdout"]][-60:]
        return False

    def result(self, state: str, data: dict[str, Any]) -> None:
        """The result of one task."""
        self.results += 1
        if self.results > MAX_RESULTS:
            return
        res = data.get("res") or {}
        if state == "ok" and res.get("changed"):
            state = "changed"
        if state == "failed" and data.get("ignore_errors"):
            state = "ignored"
        line = {"task": str(data.get("task", ""))[:300], "module": str(data.get("task_action", ""))[:100]}
        self.tell(result={**line, "status": state, "message": message_of(res)[:MAX_MESSAGE], "diff": self.diff(res)})

    def diff(self, res: dict[str, Any]) -> str:
        """What the task changes, as a unified diff."""
        found = [res.get("diff"), *(item.get("diff") for item in res.get("results") or [] if isinstance(item, dict))]
        entries = [entry for one in found for entry in (one if isinstance(one, list) else [one])]
        parts = [text for entry in entries if (text := unified(entry))]
        text = "\n".join(parts)[:MAX_DIFF]
        self.diffs += len(text)
        return text if self.diffs <= MAX_DIFFS else ""


def unified(entry: Any) -> str:
    """One entry of Ansible's ``diff`` as text."""
    if not isinstance(entry, dict):
        return ""
    if entry.get("prepared"):
        return str(entry["prepared"])[:MAX_DIFF]
    before, after = (as_text(entry.get(side)) for side in ("before", "after"))
    if before == after:
        return ""
    old, new = (str(entry.get(f"{side}_header") or side) for side in ("before", "after"))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), old, new, lineterm="", n=2)
    return "\n".join(lines)


def as_text(side: Any) -> str:
    """One side of a diff."""
    text = side if isinstance(side, str) else "" if side is None else json.dumps(side, indent=1, sort_keys=True)
    return text[:MAX_SIDE]


def message_of(res: dict[str, Any]) -> str:
    """What a result says; of a task with ``no_log`` Ansible has left nothing but that it has."""
    if "censored" in res:
        return "no_log"
    if res.get("msg") == "non-zero return code" and res.get("stderr"):
        return str(res["stderr"])
    for name in ("msg", "stderr", "stdout", "module_stderr", "module_stdout"):
        if value := res.get(name):
            return value if isinstance(value, str) else json.dumps(value)
    failed = [item for item in res.get("results") or [] if isinstance(item, dict) and item.get("failed")]
    return message_of(failed[0]) if failed else ""


def lay_out(order: dict[str, Any]) -> None:
    """The folder of this run: in memory, new, and readable by nobody else."""
    os.umask(0o077)
    for name, text in order["files"].items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run(order: dict[str, Any]) -> None:
    """Run it."""
    teller = Teller()
    lay_out(order)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import ansible_runner

    ended = ansible_runner.run(
        private_data_dir=str(FOLDER),
        artifact_dir="/tmp/artifacts",
        playbook="playbook.yml",
        cmdline=" ".join(order["options"]),
        envvars=order["environment"],
        event_handler=teller.take,
        quiet=True,
    )
    teller.tell(ended={"status": ended.status, "code": ended.rc, "said": "\n".join(teller.said)[-4000:]})


def relay() -> None:
    """Between standard input and output, and the worker's socket, until either side ends."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(SOCKET)

    def outward() -> None:
        while chunk := os.read(0, 65536):
            link.sendall(chunk)
        link.shutdown(socket.SHUT_WR)

    threading.Thread(target=outward, daemon=True).start()
    while chunk := link.recv(65536):
        while chunk:
            chunk = chunk[os.write(1, chunk) :]


if __name__ == "__main__":
    if "--relay" in sys.argv:
        relay()
    else:
        run(json.load(sys.stdin))
