"""What runs the services of a host: systemd, or the scripts in ``/etc/init.d``."""

from __future__ import annotations

import asyncio
import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from activities.errors import ActionError

if TYPE_CHECKING:
    from activities.hosts.session import Finished, Host

LOG_LINES = 20
LOG_LENGTH = 1500

DETECT = r"""
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then echo systemd
elif [ -d /etc/init.d ]; then echo sysv
fi
"""

SHOW = (
    "systemctl show --no-pager -p LoadState,ActiveState,SubState,MainPID,NRestarts,CanReload,Type,Result -- {unit} 2>&1"
)

# LSB: 0 runs, 1 to 3 does not, 4 unknown.  A script without ``status`` says 2 or 3 with its usage, so that the process
# is looked for by its pid file.
SYSV_STATE = r"""
script=/etc/init.d/{name}
[ -x "$script" ] || {{ echo missing; exit; }}
grep -q 'reload)' "$script" && echo reloads
pid=$(cat /run/{name}.pid /var/run/{name}.pid 2>/dev/null | head -n 1)
[ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo "pid $pid"
if grep -q 'status' "$script"; then "$script" status >/dev/null 2>&1; echo "status $?"
elif [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then echo "status 0"; else echo "status 3"; fi
"""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service at one moment.

    ``restarts``: how often it was started again by itself.  ``finished``: it has done its work and need not run.
    """

    known: bool
    running: bool
    state: str
    pid: int | None = None
    reloads: bool = False
    masked: bool = False
    restarts: int | None = None
    finished: bool = False


class ServiceManager(ABC):
    """One service of one host."""

    name: Literal["systemd", "sysv"]

    def __init__(self, host: Host, service: str, *, sudo: bool) -> None:
        self.host = host
        self.service = service
        self.sudo = sudo

    @abstractmethod
    async def state(self) -> ServiceState:
        """Its state now."""

    @abstractmethod
    def command(self, operation: str) -> str:
        """What does ``operation``."""

    async def log_tail(self) -> str:
        """The end of its log, as far as the user may read it; empty where there is none."""
        return ""

    async def operate(self, operation: str, timeout: float) -> None:
        """Do it.  ``timeout`` in seconds.

        Raises ``ActionError``: ``operation_failed``, ``operation_timed_out``, ``permission_denied``.
        """
        try:
            async with asyncio.timeout(timeout):
                done = await self.shell(self.command(operation))
        except TimeoutError:
            text = (
                f"{self.service} on {self.host.place}: the {operation} had not ended after {timeout:g} s. The host "
                "goes on with it; look there, or give it more timeout_seconds."
            )
            raise ActionError("operation_timed_out", text) from None
        if done.exit_code == 0:
            return
        said = done.said()
        if any(words in said for words in ("Access denied", "authentication required", "Permission denied")):
            text = (
                f"The user may not {operation} {self.service} on {self.host.place}: log in as root, or say sudo: true."
            )
            raise ActionError("permission_denied", text, retryable=False)
        log = await self.log_tail()
        raise ActionError(
            "operation_failed", f"{self.host.place} could not {operation} {self.service}: {said} {log}".strip()
        )

    async def shell(self, script: str) -> Finished:
        """The end of ``script`` on the host, messages in English."""
        return await self.host.run(f"export LC_ALL=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0\n{script}", sudo=self.sudo)


class Systemd(ServiceManager):
    """systemd, by systemctl."""

    name: Literal["systemd", "sysv"] = "systemd"

    async def state(self) -> ServiceState:
        """See ``ServiceManager``."""
        shown = (await self.shell(SHOW.format(unit=shlex.quote(self._unit)))).text
        fields = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if "LoadState" not in fields:
            raise ActionError("operation_failed", f"{self.host.place}: systemctl says: {shown.strip()[:300]}")
        active = fields.get("ActiveState", "unknown")
        pid, restarts = fields.get("MainPID", ""), fields.get("NRestarts", "")
        return ServiceState(
            known=fields["LoadState"] != "not-found",
            running=active in ("active", "reloading"),
            state=active,
            pid=int(pid) if pid.isdigit() and pid != "0" else None,
            reloads=fields.get("CanReload") == "yes",
            masked=fields["LoadState"] == "masked",
            restarts=int(restarts) if restarts.isdigit() else None,
            finished=(active, fields.get("Type"), fields.get("Result")) == ("inactive", "oneshot", "success"),
        )

    def command(self, operation: str) -> str:
        """See ``ServiceManager``."""
        # A unit that failed too often is not started again until somebody says that this is a new beginning.
        unit = shlex.quote(self._unit)
        reset = f"systemctl reset-failed -- {unit} 2>/dev/null; " if operation == "restart" else ""
        return f"{reset}systemctl --no-ask-password {operation} -- {unit}"

    async def log_tail(self) -> str:
        """See ``ServiceManager``."""
        unit = shlex.quote(self._unit)
        done = await self.shell(f"journalctl --no-pager -q -o cat -n {LOG_LINES} -u {unit} 2>/dev/null")
        return " | ".join(line for line in done.text.splitlines() if line.strip())[-LOG_LENGTH:]

    @property
    def _unit(self) -> str:
        return self.service if "." in self.service else f"{self.service}.service"


class SystemV(ServiceManager):
    """The scripts in ``/etc/init.d``."""

    name: Literal["systemd", "sysv"] = "sysv"

    async def state(self) -> ServiceState:
        """See ``ServiceManager``."""
        lines = (await self.shell(SYSV_STATE.format(name=shlex.quote(self._name)))).text.split("\n")
        facts = dict(line.partition(" ")[::2] for line in lines if line)
        running = facts.get("status") == "0"
        pid = facts.get("pid", "")
        return ServiceState(
            known="missing" not in facts,
            running=running,
            state="active" if running else "inactive",
            pid=int(pid) if pid.isdigit() and running else None,
            reloads="reloads" in facts,
        )

    def command(self, operation: str) -> str:
        """See ``ServiceManager``."""
        # In a session of its own, so that a cancel does not break a restart off between stop and start; and into a
        # file, since what it starts would hold the channel open.
        name = shlex.quote(self._name)
        return (
            "said=$(mktemp) || exit 1\n"
            f"way=/etc/init.d/{name}; command -v service >/dev/null && way='service {name}'\n"
            f"""setsid sh -c '$2 {operation} >"$1" 2>&1 </dev/null; echo $? >"$1.code"' run "$said" "$way" &\n"""
            'wait; code=$(cat "$said.code"); tail -c 2000 "$said" >&2; rm -f "$said" "$said.code"; exit "$code"'
        )

    @property
    def _name(self) -> str:
        return self.service.removesuffix(".service")


async def service_manager(host: Host, service: str, *, sudo: bool) -> ServiceManager:
    """What runs ``service`` on ``host``.  Raises ``ActionError`` with code ``manager_missing``."""
    found = (await host.run(DETECT)).text.strip()
    kinds: dict[str, type[ServiceManager]] = {"systemd": Systemd, "sysv": SystemV}
    if found not in kinds:
        text = f"{host.place} runs neither systemd nor scripts in /etc/init.d."
        raise ActionError("manager_missing", text, retryable=False)
    return kinds[found](host, service, sudo=sudo)
