"""The egress guard: which hosts and addresses an action may connect to.

A playbook's author must not be able to reach what only the worker can: loopback, private networks, link-local
addresses, a cloud's metadata service.  A name is resolved once, each address is judged, and the connection goes to
exactly the address that was judged, so that a second answer of the DNS server cannot change it afterwards.
``STANCHION_EGRESS_ALLOW`` opens what an installation needs.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx2

from activities.errors import ActionError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Special ranges that ipaddress.is_global lets through, or lets through in some versions of Python.
REFUSED_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared address space, RFC 6598; a cloud's metadata service at 100.100.100.200
        "168.63.129.16/32",  # a cloud's wire server, reachable from its machines only
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays of 6to4, RFC 7526
        "198.18.0.0/15",
        "240.0.0.0/4",
    )
)
GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has given out for it
NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Opening:
    """One item of the allow list: a host name, or a network (an address is a network of one); any port, or one."""

    host: str | None = None
    network: Network | None = None
    port: int | None = None

    def admits(self, host: str, address: Address, port: int) -> bool:
        """True when it opens ``address``, to which ``host`` resolved, at ``port``."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        if self.host is not None and self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return host == self.host


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be connected to: every public address, and what ``openings`` add."""

    openings: tuple[Opening, ...] = ()

    @classmethod
    def parse(cls, allow: str) -> EgressPolicy:
        """The policy of a comma-separated list (``STANCHION_EGRESS_ALLOW``).

        Items: ``intranet.example``, ``*.example``, ``10.0.0.5``, ``10.0.0.0/8``, ``fd00::/8``; each may end in
        ``:port``, IPv6 then in brackets.  Raises ``ValueError`` naming the item that is none of these.
        """
        return cls(tuple(_opening(item.strip()) for item in allow.split(",") if item.strip()))

    def permits(self, host: str, address: Address, port: int) -> bool:
        """True when a connection to ``address``, to which ``host`` resolved, is allowed."""
        effective = effective_address(address)
        name = ascii_name(host)
        if any(
            opening.admits(name, candidate, port) for opening in self.openings for candidate in (address, effective)
        ):
            return True
        return is_public(effective)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of ``host`` that may be connected to, in the resolver's order.

        Raises ``ActionError`` with code ``egress_refused`` or ``resolve_failed``.
        """
        refuse_disguise(host)
        found = [_literal(host)] if _literal(host) else await _look_up(host, port)
        allowed = [address for address in found if address is not None and self.permits(host, address, port)]
        if not allowed:
            shown = ", ".join(str(address) for address in found)
            reason = f"{host} ({shown})" if shown != host else host
            raise ActionError(
                "egress_refused",
                f"Connections to {reason} port {port} are not allowed: only public addresses are, and those that "
                "STANCHION_EGRESS_ALLOW lists.",
                retryable=False,
            )
        return [str(address) for address in allowed]


def is_public(address: Address) -> bool:
    """True when ``address`` is a global unicast address."""
    if address.is_multicast or not address.is_global:
        return False
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return not any(address in network for network in REFUSED_NETWORKS)


def effective_address(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to (mapped, 6to4, Teredo, NAT64), or ``address`` itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def refuse_disguise(host: str) -> None:
    """Refuse numbers that resolvers read as IPv4 addresses: ``2130706433``, ``0x7f.1``, ``0177.0.0.1``, ``127.1``.

    The address behind them would be judged anyway; nobody honest writes one so.  The rule is that of the URL
    standard (WHATWG, *ends in a number*).  Raises ``ActionError`` with code ``egress_refused``.
    """
    last = host.rstrip(".").rpartition(".")[2].lower()
    looks_numeric = last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))
    if looks_numeric and _literal(host) is None:
        raise ActionError("egress_refused", f"{host} is a disguised address.", retryable=False)


def ascii_name(host: str) -> str:
    """``host`` in lower case, without a dot at its end, and an IDN as the name server is asked for it (``xn--…``)."""
    name = host.rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return httpx2.URL(f"http://{name}/").raw_host.decode("ascii")
    except httpx2.InvalidURL:
        return name


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


async def _look_up(host: str, port: int) -> list[Address]:
    try:
        # getaddrinfo of the loop runs in a thread.
        # The resolver's own IDNA is of 2003, where another name may come out than the one that is judged.
        asked = host if host.isascii() else ascii_name(host)
        rows = await asyncio.get_running_loop().getaddrinfo(asked, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        known_absent = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
        raise ActionError("resolve_failed", f"Cannot resolve {host}: {reason}.", retryable=not known_absent) from None
    return [ip_address(address) for address in dict.fromkeys(str(row[4][0]) for row in rows)]


def _opening(item: str) -> Opening:
    host, port = _split_port(item)
    try:
        return Opening(network=ip_network(host, strict=False), port=port)
    except ValueError:
        pass
    plain = host.removeprefix("*.")
    if not plain or not all(c.isalnum() or c in "-_." for c in plain) or plain.rpartition(".")[2].isdigit():
        raise ValueError(f"STANCHION_EGRESS_ALLOW: {item!r} is no host, address or network")
    return Opening(host=f"{'*.' if plain != host else ''}{ascii_name(plain)}", port=port)


def _split_port(item: str) -> tuple[str, int | None]:
    if item.startswith("["):
        host, bracket, rest = item[1:].partition("]")
        if bracket and not rest:
            return host, None
        text = rest.removeprefix(":")
    else:
        if item.count(":") != 1:  # a bare IPv6 address or network, or no port at all
            return item, None
        host, _, text = item.partition(":")
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"STANCHION_EGRESS_ALLOW: {item!r} has no valid port")
    return host, int(text)
