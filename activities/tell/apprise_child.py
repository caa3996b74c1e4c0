"""The process that sends one message by Apprise: reads an order as JSON, judges all that is opened, writes a report.

Python tells its audit hooks of every connection, file and process before it is opened (PEP 578), and a hook cannot be
taken away again.  So whichever library a plug-in of Apprise uses, a connection goes to an address that the egress
guard permits or it is not made; no process is started, no file is written, and none is read but Python's own and those
of the system's libraries: some plug-ins take a path and would send what is there.
"""

from __future__ import annotations

import json
import logging
import resource
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from activities.egress import EgressPolicy, Opening, refuse_disguise
from activities.errors import ActionError

MEMORY = 1024 * 1024 * 1024
"""Bytes of address space; an answer of a gigabyte ends this process and no other."""

STARTS_SOMETHING = frozenset(
    {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.forkpty", "os.startfile"}
)
CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
READABLE = ("/usr/share/zoneinfo", "/usr/share/ca-certificates", "/etc/ssl", "/etc/mime.types", "/dev/urandom")
SAID = 300


class Guard:
    """The audit hook; ``refused`` says what it kept from happening, None as long as nothing was."""

    def __init__(self, policy: EgressPolicy) -> None:
        self.refused: str | None = None
        self._policy = policy
        self._names: dict[str, set[str]] = {}
        self._readable = tuple(
            str(Path(folder).resolve()) for folder in (sys.prefix, sys.base_prefix, *READABLE) if Path(folder).exists()
        )

    def install(self) -> None:
        """Judge everything from now on; there is no way back."""
        socket.getaddrinfo = self._resolver(socket.getaddrinfo)
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise ``PermissionError`` for what is not allowed."""
        if event in CONNECTS:
            self._judge_address(arguments[-1])
        elif event in STARTS_SOMETHING:
            raise PermissionError("no process may be started")
        elif event == "open":
            self._judge_file(*arguments)

    def _resolver(self, resolve: Callable[..., Any]) -> Callable[..., Any]:
        def remembering(host: Any, *arguments: Any, **named: Any) -> Any:
            rows = resolve(host, *arguments, **named)
            name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
            for row in rows:
                self._names.setdefault(str(row[4][0]), set()).add(name)
            return rows

        return remembering

    def _judge_address(self, address: Any) -> None:
        if address is None:  # on a socket that is connected already
            return
        if not isinstance(address, tuple) or len(address) < 2:
            self._refuse("a local socket")
        host, port = str(address[0]), int(address[1])
        try:
            refuse_disguise(host)
            judged = ip_address(host.partition("%")[0])
        except (ActionError, ValueError):
            self._refuse(f"{host} port {port}")
        names = self._names.get(host, set()) | {host}
        if not any(self._policy.permits(name, judged, port) for name in names):
            known = ", ".join(sorted(names - {host}))
            self._refuse(f"{known or host}{f' ({host})' if known else ''} port {port}, which is not allowed")

    def _refuse(self, what: str) -> None:
        self.refused = self.refused or what
        raise PermissionError(f"a connection to {what} was refused")

    def _judge_file(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        name = path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path)
        writes = isinstance(mode, str) and bool(set(mode) & set("wax+"))
        writes = writes or (mode is None and isinstance(flags, int) and bool(flags & 0o3))
        if name == "/dev/null":
            return
        if writes or not self._is_readable(str(Path(name).resolve())):
            raise PermissionError("no such file may be opened")

    def _is_readable(self, path: str) -> bool:
        return any(path == root or path.startswith(f"{root}/") for root in self._readable)


def main() -> None:
    """Send what stdin orders and report on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = json.loads(sys.stdin.buffer.read())
    openings = [
        Opening(one["host"], None if one["network"] is None else ip_network(one["network"]), one["port"])
        for one in order["openings"]
    ]
    guard = Guard(EgressPolicy(tuple(openings)))
    report = _send(order, guard)
    if guard.refused:
        report["refused"] = guard.refused
    json.dump(report, sys.stdout)


def _send(order: dict[str, Any], guard: Guard) -> dict[str, Any]:
    import apprise

    said = _Warnings()
    logging.getLogger("apprise").addHandler(said)
    logging.getLogger("apprise").setLevel(logging.WARNING)
    guard.install()
    try:
        service = apprise.Apprise.instantiate(order["url"], suppress_exceptions=True)
        if service is None:
            return {"ok": False, "unknown": True, "said": "Apprise cannot make a service of it"}
        if not getattr(service, "verify_certificate", True):
            return {"ok": False, "unknown": True, "said": "certificates must be verified"}
        sender = apprise.Apprise()
        sender.add(service)
        ok = sender.notify(body=order["body"], title=order["title"], notify_type=apprise.NotifyType(order["type"]))
    except Exception as error:
        return {"ok": False, "said": type(error).__name__}
    return {"ok": bool(ok), "said": said.text()}


class _Warnings(logging.Handler):
    """Keeps what Apprise warns of: there is no other word of why a message did not go."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self._lines.append(" ".join(record.getMessage().split()))

    def text(self) -> str:
        """All of them, cut."""
        return " ".join(self._lines)[:SAID]


if __name__ == "__main__":
    main()
