"""A name server for tests, on UDP and TCP of one free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

ZONE = """
example.test. 300 IN A 192.0.2.1
example.test. 300 IN A 192.0.2.2
example.test. 300 IN AAAA 2001:db8::1
example.test. 300 IN MX 10 mail.example.test.
example.test. 300 IN MX 20 backup.example.test.
example.test. 300 IN NS ns.example.test.
example.test. 300 IN TXT "v=spf1 " "-all"
example.test. 300 IN CAA 0 issue "ca.example"
example.test. 300 IN SOA ns.example.test. root.example.test. 1 2 3 4 5
www.example.test. 60 IN CNAME web.example.test.
web.example.test. 60 IN CNAME example.test.
loop.example.test. 60 IN CNAME loop.example.test.
_sip._tcp.example.test. 60 IN SRV 1 2 5060 sip.example.test.
xn--mnchen-3ya.example.test. 60 IN A 192.0.2.3
1.2.0.192.in-addr.arpa. 60 IN PTR example.test.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 IN PTR six.example.test.
"""

Answer = Callable[[dns.message.Message], bytes | None]


def records() -> list[dns.rrset.RRset]:
    """The records of the zone, and a name with more of them than a packet holds."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in ZONE.strip().splitlines():
        name, ttl, _, kind, value = line.split(" ", 4)
        found.setdefault((f"{name} {ttl}", kind), []).append(value)
    found[("long.example.test. 60", "TXT")] = [f'"{number:03d}{"x" * 200}"' for number in range(50)]
    return [
        dns.rrset.from_text(key.split(" ")[0], int(key.split(" ")[1]), "IN", kind, *values)
        for (key, kind), values in found.items()
    ]


@dataclass
class NameServer:
    """Answers from the zone, or as ``answer`` says; keeps the questions and how they came."""

    port: int = 0
    answer: Answer | None = None
    asked: list[tuple[str, dns.message.Message]] = field(default_factory=list)
    _records: list[dns.rrset.RRset] = field(default_factory=records)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def reply(self, wire: bytes, transport: str) -> bytes | None:
        """The answer to a question; None for silence."""
        query = dns.message.from_wire(wire)
        self.asked.append((transport, query))
        if self.answer is not None:
            return self.answer(query)
        return self.from_zone(query).to_wire(
            max_size=query.payload if transport == "udp" else 65535, prefer_truncation=True
        )

    def from_zone(self, query: dns.message.Message) -> dns.message.Message:
        """What a resolver that validates nothing would say: aliases are followed."""
        response = dns.message.make_response(query, recursion_available=True)
        name, kind = query.question[0].name, query.question[0].rdtype
        for _ in range(8):
            found = [one for one in self._records if one.name == name and one.rdtype in (kind, dns.rdatatype.CNAME)]
            response.answer += [one for one in found if one not in response.answer]
            if not found or found[0].rdtype == kind:
                break
            name = found[0][0].target
        if not any(one.name == name for one in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            reply = self.reply(await reader.readexactly(size), "tcp")
            if reply is not None:
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        writer.close()


class _Packets(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(Exception):  # a test's broken answer
            reply = self._server.reply(data, "udp")
            if reply is not None:
                self._transport.sendto(reply, address)


@contextlib.asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """A name server that runs."""
    server = NameServer()
    listening = await asyncio.start_server(server.serve_tcp, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Packets(server), local_addr=("127.0.0.1", server.port)
    )
    try:
        yield server
    finally:
        transport.close()
        listening.close()
