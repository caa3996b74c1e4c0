"""The table of nftables in which Stanchion blocks addresses on a host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from activities.errors import ActionError

if TYPE_CHECKING:
    from activities.hosts.session import Finished, Host

# The whole script is one transaction: packets see all of it or nothing.  ``add`` leaves alone what is there; the chains
# are the table's own, so flushing them takes nothing away from anybody.  Before the usual filter (priority 0), since a
# rule there may let established connections through.
TABLE = """
add table inet stanchion
add set inet stanchion blocked4 { type ipv4_addr; flags timeout; }
add set inet stanchion blocked6 { type ipv6_addr; flags timeout; }
"""
CHAINS = """
add chain inet stanchion {hook} {{ type filter hook {hook} priority -10; policy accept; }}
flush chain inet stanchion {hook}
"""
RULE = "add rule inet stanchion {hook} {family} {end} @{set} drop\n"
HOOKS = {"input": ("saddr",), "forward": ("saddr", "daddr"), "output": ("daddr",)}
FAMILIES = {"ip": "blocked4", "ip6": "blocked6"}

# A set's timeout cannot be changed in place by every kernel, so the element is replaced, within the transaction.
ELEMENT = """
add element inet stanchion {set} {{ {address} }}
delete element inet stanchion {set} {{ {address} }}
add element inet stanchion {set} {{ {address}{timeout} }}
"""

PATH = "export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin\n"
NFT_MISSING = 96
"""An exit code that nft does not have."""

NEEDS_NFT = f"command -v nft >/dev/null || exit {NFT_MISSING}\n"

SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Blocked:
    """An address that is blocked; ``expires_in``: for so many seconds, None for ever."""

    expires_in: int | None


class BlockTable:
    """The table ``stanchion`` of a host."""

    def __init__(self, host: Host, *, sudo: bool) -> None:
        self.host = host
        self.sudo = sudo

    async def ends_of_connection(self) -> list[str]:
        """The addresses of the client and the server, as the host sees them: behind a jump host or NAT, not ours."""
        # Without sudo, which drops the variable (sshd(8), ENVIRONMENT).
        words = (await self.host.run('echo "$SSH_CONNECTION"')).text.split()
        if len(words) == 4:
            return [words[0], words[2]]
        known = (self.host.connection.get_extra_info(name) for name in ("sockname", "peername"))
        return [str(name[0]) for name in known if name]

    async def find(self, address: IPv4Address | IPv6Address) -> Blocked | None:
        """The block of ``address``; None where there is none, or no table.

        Raises ``ActionError``: ``nft_missing``, ``not_root``, ``firewall_failed``.
        """
        done = await self._nft(f"nft get element inet stanchion {set_of(address)} '{{ {address} }}'")
        if done.exit_code == 0:
            return Blocked(remaining_seconds(done.text))
        if "No such file or directory" in done.errors:
            return None
        raise self._failed(done)

    async def block(self, address: IPv4Address | IPv6Address, duration: int | None, *, renew: bool) -> None:
        """Have the table as it should be, and with ``renew`` the address in it for ``duration`` seconds from now.

        Raises ``ActionError``: ``nft_missing``, ``not_root``, ``firewall_failed``.
        """
        script = table_script() + (element_script(address, duration) if renew else "")
        done = await self._nft("nft -f -", script.encode())
        if done.exit_code:
            raise self._failed(done)

    async def _nft(self, command: str, stdin: bytes = b"") -> Finished:
        done = await self.host.run(f"{PATH}{NEEDS_NFT}{command}", stdin, sudo=self.sudo)
        if done.exit_code == NFT_MISSING:
            text = f"{self.host.place} has no nft: install nftables there."
            raise ActionError("nft_missing", text, retryable=False)
        if done.exit_code and "Operation not permitted" in done.errors:
            text = f"{self.host.place}: nft needs root. Log in as root, or say sudo: true."
            raise ActionError("not_root", text, retryable=False)
        return done

    def _failed(self, done: Finished) -> ActionError:
        return ActionError("firewall_failed", f"{self.host.place}: nft says: {done.said()}", retryable=False)


def set_of(address: IPv4Address | IPv6Address) -> str:
    """The set in which ``address`` goes."""
    return FAMILIES["ip" if address.version == 4 else "ip6"]


def table_script() -> str:
    """What makes the table, its sets, chains and rules, whatever of it there is."""
    script = TABLE
    for hook, ends in HOOKS.items():
        script += CHAINS.format(hook=hook)
        for family, name in FAMILIES.items():
            script += "".join(RULE.format(hook=hook, family=family, end=end, set=name) for end in ends)
    return script


def element_script(address: IPv4Address | IPv6Address, duration: int | None) -> str:
    """What puts ``address`` into its set for ``duration`` seconds."""
    timeout = "" if duration is None else f" timeout {duration}s"
    return ELEMENT.format(set=set_of(address), address=address, timeout=timeout)


def remaining_seconds(listed: str) -> int | None:
    """The seconds that ``nft get element`` says are left, as in ``expires 1h2m3s4ms``; None where it says none."""
    found = re.search(r"expires ((?:\d+(?:ms|[dhms]))+)", listed)
    if found is None:
        return None
    parts = re.findall(r"(\d+)(ms|[dhms])", found.group(1))
    return round(sum(int(number) * SECONDS[unit] for number, unit in parts))
