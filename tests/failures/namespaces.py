"""Hosts of their own for processes: network namespaces on a bridge, from which single addresses can be cut off."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import Self


def run(*command: str) -> None:
    """Runs a command.  Raises RuntimeError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@dataclass
class Network:
    """A bridge in this namespace, with an address for each link, and a host for each name."""

    hosts: tuple[str, ...]
    links: tuple[str, ...]
    number: int = field(default_factory=lambda: int.from_bytes(os.urandom(2)))

    @property
    def prefix(self) -> str:
        """The first three bytes of every address: a /24 of a range that is kept for tests (RFC 2544)."""
        return f"198.{18 + (self.number >> 8) % 2}.{self.number & 0xFF}"

    def address(self, name: str) -> str:
        """The address of a host, or of a link's end on the bridge."""
        if name in self.hosts:
            return f"{self.prefix}.{101 + self.hosts.index(name)}"
        return f"{self.prefix}.{1 + self.links.index(name)}"

    def namespace(self, host: str) -> str:
        """The name of the host's namespace."""
        return f"stn-{self.number:04x}-{host}"

    def inside(self, host: str) -> list[str]:
        """What to put before a command so that it runs on the host."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def __enter__(self) -> Self:
        bridge = f"stn{self.number:04x}"
        run("ip", "link", "add", bridge, "type", "bridge")
        for link in self.links:
            run("ip", "address", "add", f"{self.address(link)}/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for index, host in enumerate(self.hosts):
            outer, inside = f"v{self.number:04x}-{index}", self.inside(host)
            run("ip", "netns", "add", self.namespace(host))
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", self.namespace(host))
            run("ip", "link", "set", outer, "master", bridge, "up")
            run(*inside, "ip", "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            run(*inside, "ip", "link", "set", "eth0", "up")
            run(*inside, "ip", "link", "set", "lo", "up")
            run(*inside, "nft", "add", "table", "inet", "cut")
            for hook in ("input", "output"):
                run(*inside, "nft", "add", "chain", "inet", "cut", hook, f"{{ type filter hook {hook} priority 0; }}")
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            subprocess.run(["ip", "netns", "delete", self.namespace(host)], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", f"stn{self.number:04x}"], check=False, capture_output=True)

    def cut(self, host: str, link: str) -> None:
        """Drops every packet between the host and the link's end: nobody is told that it did not arrive."""
        rule = ["nft", "add", "rule", "inet", "cut"]
        run(*self.inside(host), *rule, "output", "ip", "daddr", self.address(link), "drop")
        run(*self.inside(host), *rule, "input", "ip", "saddr", self.address(link), "drop")

    def heal(self, host: str) -> None:
        """Drops nothing any more."""
        run(*self.inside(host), "nft", "flush", "table", "inet", "cut")
