"""The other sides of a connection, each with one fault: hosts, services and servers that an operator may well meet."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncssh
import dns.flags
import dns.message
import dns.rcode

from tests.hosts import Machine
from tests.mail_server import PASSWORD, USER, mail_server, scripted_server
from tests.unit.activities.action_support import Certificate, http_answer
from tests.unit.activities.name_server import Answer, NameServer, name_server

NOBODY = 1
"""A port where nothing listens."""

PIECE = b"x" * 65536
WHOLE = 1024 * 1024 * 1024
"""Bytes of an answer that is far too large."""

LOUD, DEAF, BROKEN, BABBLING = "loud", "deaf", "broken", "babbling"
FORCED = {
    LOUD: "echo $$; exec yes",
    BABBLING: "exec yes",
    DEAF: "exec sleep 1000",
    BROKEN: "echo out of order >&2; exit 1",
}
"""Users of the host, and what runs there whatever is asked for, files included."""

USERS = "\n".join(
    f"useradd --create-home --password '*' {name}\n"
    f"printf 'Match User {name}\\n  ForceCommand {command}\\n' >> /host/sshd_config"
    for name, command in FORCED.items()
)
HTTP_STATUS = {"wrong_key": 401, "login_refused": 403, "server_error": 500}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Sides:
    """Everything there is to connect to; ports are of 127.0.0.1."""

    machine: Machine
    certificate: Certificate
    stranger: str
    """A private key that opens nothing."""
    http: int
    """Answers as the first part of the path says."""
    https: int
    """The same, with a certificate that nobody trusts."""
    hanging: int
    """Takes connections, and says nothing."""
    floods: dict[str, int]
    """Send for ever; by how they begin."""
    mail: int
    """A mail server with STARTTLS, a login, and a certificate that nobody trusts."""
    mail_refusing: int
    """A mail server that refuses each sender."""
    names: dict[str, int]
    """Name servers by their fault."""

    def url(self, fault: str) -> str:
        """The base URL of a service with ``fault``."""
        if fault == "unreachable":
            return f"http://127.0.0.1:{NOBODY}"
        if fault == "bad_certificate":
            return f"https://127.0.0.1:{self.https}"
        if fault == "hang":
            return f"http://127.0.0.1:{self.hanging}"
        return f"http://127.0.0.1:{self.http}/{HTTP_STATUS.get(fault, fault)}"

    def login(self, fault: str) -> dict[str, Any]:
        """The parameters that lead to a host with ``fault``."""
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
        changes: dict[str, dict[str, Any]] = {
            "unreachable": {"port": NOBODY},
            "wrong_key": {"private_key": self.stranger},
            "login_refused": {"username": "ops", "private_key": None, "password": "not-the-password"},
            "server_error": {"username": BROKEN},
            "flood": {"username": LOUD},
            "babble": {"username": BABBLING},
            "banner_flood": {"port": self.floods["lines"]},
            "line_flood": {"port": self.floods["line"]},
            "hang": {"port": self.hanging},
            "deaf": {"username": DEAF},
            "bad_certificate": {"host_key": [other]},
        }
        return self.machine.login(**changes[fault])

    def mailbox(self, fault: str) -> dict[str, Any]:
        """The parameters that lead to a mail server with ``fault``."""
        login = {"username": USER, "password": PASSWORD, "port": self.mail}
        bare = {"security": "none"}
        changes: dict[str, dict[str, Any]] = {
            "unreachable": {"port": NOBODY, **bare},
            "login_refused": {**login, "ca": self.certificate.file.read_text(), "password": "not-the-password"},
            "server_error": {"port": self.mail_refusing, **bare},
            "flood": {"port": self.floods["greeting"], **bare},
            "line_flood": {"port": self.floods["line"], **bare},
            "hang": {"port": self.hanging, **bare},
            "bad_certificate": login,
        }
        return {"host": "127.0.0.1", **changes[fault]}


@contextlib.asynccontextmanager
async def all_sides(machine: Machine, certificate: Certificate) -> AsyncIterator[Sides]:
    """All of them, on free ports."""
    async with AsyncExitStack() as stack:

        async def serve(handler: Serve, tls: ssl.SSLContext | None = None) -> int:
            listening = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
            stack.callback(listening.close)
            port: int = listening.sockets[0].getsockname()[1]
            return port

        floods = {
            "line": _flooding(b"", PIECE),
            "lines": _flooding(b"", (b"x" * 100 + b"\r\n") * 600),
            "greeting": _flooding(b"", (b"220-" + b"x" * 100 + b"\r\n") * 600),
        }
        mail = await stack.enter_async_context(mail_server(certificate.server_context, login=True))
        refusing = await stack.enter_async_context(scripted_server(MAIL=b"554 5.3.0 Out of order\r\n"))
        yield Sides(
            machine=machine,
            certificate=certificate,
            stranger=asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode(),
            http=await serve(_http),
            https=await serve(_http, certificate.server_context),
            hanging=await serve(_hang),
            floods={name: await serve(flood) for name, flood in floods.items()},
            mail=mail.port,
            mail_refusing=refusing.port,
            names=await _name_servers(stack),
        )


async def _name_servers(stack: AsyncExitStack) -> dict[str, int]:
    def refusing(code: dns.rcode.Rcode) -> Callable[[NameServer], Answer]:
        def answer(query: dns.message.Message) -> bytes:
            response = dns.message.make_response(query)
            response.set_rcode(code)
            return response.to_wire()

        return lambda server: answer

    def flooding(server: NameServer) -> Answer:
        """Too long for a packet, it says; over TCP as long as an answer can be, and none."""

        def answer(query: dns.message.Message) -> bytes:
            response = dns.message.make_response(query)
            if server.asked[-1][0] == "tcp":
                return response.to_wire() + PIECE[:60000]
            response.flags |= dns.flags.TC
            return response.to_wire()

        return answer

    answers: dict[str, Callable[[NameServer], Answer]] = {
        "login_refused": refusing(dns.rcode.REFUSED),
        "server_error": refusing(dns.rcode.SERVFAIL),
        "flood": flooding,
        "hang": lambda server: lambda query: None,
    }
    ports = {"unreachable": NOBODY}
    for fault, make in answers.items():
        server = await stack.enter_async_context(name_server())
        server.answer = make(server)
        ports[fault] = server.port
    return ports


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fault = re.split("[/?]", head.split(" ")[1])[1]
        if fault.isdigit():
            writer.write(http_answer(int(fault), b"out of order"))
        elif fault == "flood":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await _pour(writer, PIECE)
        elif fault == "head_flood":
            writer.write(b"HTTP/1.1 200 OK\r\nx: ")
            await _pour(writer, PIECE)
        await writer.drain()
    writer.close()


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65536):
            pass
    writer.close()


def _flooding(start: bytes, piece: bytes) -> Serve:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(start)
            await _pour(writer, piece)
        writer.close()

    return flood


async def _pour(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """A gigabyte, as fast as the other side takes it."""
    for _ in range(WHOLE // len(piece)):
        writer.write(piece)
        await writer.drain()
