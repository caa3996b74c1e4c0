"""``syslog.send`` against a server on this machine."""

from __future__ import annotations

import asyncio
import re

import pytest
from stanchion_syslog import SyslogInput, SyslogSend

from activities.action import ActionContext, ActionError
from activities.catalogue import check_action
from activities.egress import EgressPolicy


def context(allow: str = "127.0.0.1") -> ActionContext:
    """What the worker would hand over."""
    return ActionContext("exec-1", "pb-1", "asset-1", "act-001", egress=EgressPolicy.parse(allow))


async def sent(**changes: object) -> bytes:
    """What the server got."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    inputs = SyslogInput.model_validate({"host": "127.0.0.1", "port": port, "message": "hello", **changes})
    output = await SyslogSend().run(inputs, context())
    content = await asyncio.wait_for(got, 10)
    server.close()
    assert output.bytes == len(content)
    return content


def test_the_action_keeps_the_rules() -> None:
    """The catalogue takes it."""
    check_action(SyslogSend())


def test_the_event_is_sent() -> None:
    """The server gets one message, with its length before it, and the fields with their quotes escaped."""
    content = asyncio.run(sent(severity="critical", message="a\nb", fields={"who": 'x"]'}))
    length, _, text = content.partition(b" ")
    assert int(length) == len(text)
    pattern = r'<106>1 \S+Z - stanchion exec-1 - \[stanchion@32473 step="act-001" who="x\\"\\]"\] a b'
    assert re.fullmatch(pattern, text.decode())


def test_the_rehearsal_connects_to_nothing() -> None:
    """It says what would be sent."""
    inputs = SyslogInput(host="siem.invalid", message="hello")
    rehearsal = asyncio.run(SyslogSend().rehearse(inputs, context()))
    assert rehearsal.would == "Would tell siem.invalid:601 of a notice: hello"


@pytest.mark.parametrize(("allow", "code"), [("", "egress_refused"), ("127.0.0.1", "connect_failed")])
def test_what_cannot_be_reached(allow: str, code: str) -> None:
    """A private address that nobody opened, and a port that nobody listens on, each have their code."""
    with pytest.raises(ActionError) as raised:
        asyncio.run(SyslogSend().run(SyslogInput(host="127.0.0.1", port=1, message="hello"), context(allow)))
    assert raised.value.code == code
