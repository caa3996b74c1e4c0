"""Processes of a host that still run code which an upgrade has taken from the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from activities.action import OutputModel
from activities.hosts.packages import Records

if TYPE_CHECKING:
    from activities.hosts.session import Host

# Executable mappings of files that are gone.  A unit is the last part of the control group (systemd.unit(5)).
SCAN = r"""
for maps in /proc/[0-9]*/maps; do
    grep -qsE '^[^ ]+ ..x. .* /(usr|lib|lib64|bin|sbin|opt)/.* \(deleted\)$' "$maps" || continue
    folder=${maps%/maps}
    unit=$(sed -n 's#.*/\([^/]*\.service\)\(/.*\)*$#\1#p' "$folder/cgroup" 2>/dev/null | head -n 1)
    read -r name <"$folder/comm" && printf 'stale\t%s\t%s\t%s\n' "${folder#/proc/}" "$name" "$unit"
done
"""

SHOWN = 200


class StaleProcess(OutputModel):
    """One process."""

    pid: int
    name: Annotated[str, Field(description="Its command, as the kernel has it.")]
    unit: Annotated[str | None, Field(description="The systemd unit that it belongs to.")] = None


async def stale_processes(host: Host, *, sudo: bool) -> list[StaleProcess]:
    """Those that the user may see: as root, all of them; at most 200."""
    records = Records.of((await host.run(SCAN, sudo=sudo)).text)
    rows = [row for row in records.all("stale") if len(row) == 3 and row[0].isdigit()]
    return [StaleProcess(pid=int(pid), name=name, unit=unit or None) for pid, name, unit in rows[:SHOWN]]
