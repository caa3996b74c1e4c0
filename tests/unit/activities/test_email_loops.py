"""``email.send`` on the loops that it may run in: the worker's is uvloop, tests and plug-ins bring asyncio's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from activities.tell.mail import EmailSend
from activities.tell.mail_input import EmailInput
from tests.mail_server import PASSWORD, USER, mail_server
from tests.unit.activities.action_support import Certificate, make_context

MANY = 100
"""Messages: one in about fifty was not answered, and with asyncio the second met the socket of the first."""


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_each_of_many_messages_is_answered(
    loop: Callable[[], asyncio.AbstractEventLoop], certificate: Certificate
) -> None:
    """The answer of a server near by is there before the loop has turned; and every socket is closed, once."""
    with mail_server_apart(certificate) as port, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(send_many(port, certificate))


async def send_many(port: int, certificate: Certificate) -> None:
    """Sends them one after the other."""
    login = {"ca": certificate.file.read_text(), "username": USER, "password": PASSWORD}
    letter = {"from": "a@example.com", "to": ["b@example.com"], "subject": "Hello", "text": "hello"}
    inputs = EmailInput.model_validate({"host": "127.0.0.1", "port": port, **login, **letter})
    await EmailSend().run(inputs, make_context())
    before = open_files()
    for _ in range(MANY):
        async with asyncio.timeout(60):
            await EmailSend().run(inputs, make_context())
    async with asyncio.timeout(60):
        while open_files() > before:
            await asyncio.sleep(0.01)


def open_files() -> int:
    """How many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextmanager
def mail_server_apart(certificate: Certificate) -> Iterator[int]:
    """The port of a mail server in a thread of its own, which answers while the client's loop does not turn."""
    ports: list[int] = []
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with mail_server(certificate.server_context, login=True) as server:
            ports.append(server.port)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield ports[0]
    finally:
        stop.set()
        thread.join()
