"""What is scanned: names, addresses and networks, each address judged by the guard before anything goes there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from activities.egress import EgressPolicy
from activities.errors import ActionError
from activities.scrub import excerpt_of

MAX_ADDRESSES: Final = 256
"""Addresses of one scan: a /24."""

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Target:
    """An address, and the names by which it was asked for."""

    address: str
    names: list[str]


def parse_ports(text: str) -> list[tuple[int, int]]:
    """``22,80,8000-8100`` as ranges, in order and without overlap.  Raises ``ValueError`` naming the part."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        bounds = (first, last if dash else first)
        if not all(bound.isascii() and bound.isdecimal() and len(bound) < 6 for bound in bounds):
            raise ValueError(f"{excerpt_of(part.strip(), 40)!r} is no port and no range of ports")
        low, high = int(bounds[0]), int(bounds[1])
        if not 0 < low <= high < 65536:
            raise ValueError(f"{excerpt_of(part.strip(), 40)!r} is no port and no range of ports")
        ranges.append((low, high))
    return _united(sorted(ranges))


def _united(ranges: Ranges) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for low, high in ranges:
        if united and low <= united[-1][1] + 1:
            united[-1] = (united[-1][0], max(high, united[-1][1]))
        else:
            united.append((low, high))
    return united


def expand(target: str) -> Iterator[str]:
    """The hosts that ``target`` means: each address of a network, else itself.  Raises ``ValueError``."""
    if "/" not in target:
        yield target
        return
    try:
        network = ip_network(target, strict=False)
    except ValueError:
        raise ValueError(f"{excerpt_of(target, 80)!r} is no network") from None
    if network.num_addresses > MAX_ADDRESSES:
        raise ValueError(f"{target} has more than {MAX_ADDRESSES} addresses")
    yield from (str(address) for address in network.hosts())


async def judge(hosts: Sequence[str], ports: Ranges, egress: EgressPolicy) -> list[Target]:
    """The addresses of ``hosts``, each name resolved once, all of them allowed on all of ``ports``.

    Raises ``ActionError``: ``egress_refused``, ``resolve_failed``, ``too_many_targets``.
    """
    found: dict[str, list[str]] = {}
    witnesses = list(_witnesses(ports, egress))
    for host in hosts:
        for address in await egress.resolve(host, ports[0][0]):
            names = found.setdefault(address, [])
            if host != address and host not in names:
                names.append(host)
            _check(host, address, witnesses, egress)
    if len(found) > MAX_ADDRESSES:
        message = f"The targets have {len(found)} addresses; at most {MAX_ADDRESSES} are scanned at once."
        raise ActionError("too_many_targets", message, retryable=False)
    return [Target(address, names) for address, names in found.items()]


def _check(host: str, address: str, ports: Sequence[int], egress: EgressPolicy) -> None:
    refused = [port for port in ports if not egress.permits(host, ip_address(address), port)]
    if refused:
        raise ActionError(
            "egress_refused",
            f"{host} ({address}) may not be reached on every port of this scan, {refused[0]} for one: "
            "STANCHION_EGRESS_ALLOW opens single ports of it.",
            retryable=False,
        )


def _witnesses(ports: Ranges, egress: EgressPolicy) -> Iterator[int]:
    """Ports that stand for all of ``ports``: those that an opening names, and the first that none does.

    The guard treats all others alike, so that 65,535 ports need not be asked one by one.
    """
    named = {opening.port for opening in egress.openings if opening.port is not None}
    yield from (port for port in sorted(named) if any(low <= port <= high for low, high in ports))
    for low, high in ports:
        other = next((port for port in range(low, high + 1) if port not in named), None)
        if other is not None:
            yield other
            return
