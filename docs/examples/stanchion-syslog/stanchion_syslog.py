"""``syslog.send``: an event for a SIEM, as syslog (RFC 5424) over TCP (RFC 6587) or TLS (RFC 5425)."""

from __future__ import annotations

import asyncio
import datetime
import re
import ssl
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.scrub import excerpt_of

SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
FACILITY = 13  # log audit: RFC 5424, section 6.2.1
DATA_ID = "stanchion@32473"  # the number is that of examples (RFC 5612); put your own here
_FIELD = re.compile(r"[!-<>-\\^-~]{1,32}")

Severity = Literal["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"]


class SyslogInput(InputModel):
    """The event, and where it goes."""

    host: Annotated[str, Field(min_length=1, max_length=253, description="Name or address of the syslog server.")]
    port: Annotated[int, Field(ge=1, le=65535, description="Its port; 6514 is the usual one with TLS.")] = 601
    tls: Annotated[bool, Field(description="Speak TLS, and verify the server's certificate.")] = False
    message: Annotated[str, Field(min_length=1, max_length=8192, description="What has happened.")]
    severity: Annotated[Severity, Field(description="How bad it is.")] = "notice"
    fields: dict[str, str] = Field(
        default_factory=dict, max_length=50, description="Structured data of the event: names and values."
    )
    timeout: Annotated[float, Field(gt=0, le=60, description="Seconds for the whole of it.")] = 10.0

    @field_validator("fields")
    @classmethod
    def _fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name in fields:
            if not _FIELD.fullmatch(name) or '"' in name:
                raise ValueError('a name is 1 to 32 printable characters without blanks, "=", "]" and quotes')
        return fields


class SyslogOutput(OutputModel):
    """What was sent."""

    bytes: Annotated[int, Field(description="Size of the message on the wire.")]


class SyslogSend(Action[SyslogInput, SyslogOutput]):
    """Sends an event to a syslog server, over TCP or TLS.

    Syslog answers nothing: the step completes when the server's machine has taken the bytes. An event that is sent
    twice is there twice, so the action is not repeated after a crash.
    """

    name = "syslog.send"
    title = "Syslog event"
    rehearsal = "Shows the event, and connects to nothing."
    Input = SyslogInput
    Output = SyslogOutput
    errors: ClassVar[Mapping[str, str]] = {
        "connect_failed": "Nothing listens there, or a firewall is in between: check host and port.",
        "tls_failed": "The server's certificate does not hold: have its authority trusted on the worker.",
        "timed_out": "The server did not take the event in time; worth a retry.",
    }
    example: ClassVar[Mapping[str, object]] = {
        "host": "siem.example.com",
        "message": "Host {{ asset.name }} was isolated.",
        "severity": "warning",
        "fields": {"execution": "{{ execution.id }}"},
    }

    async def run(self, inputs: SyslogInput, context: ActionContext) -> SyslogOutput:
        """Send it.  Raises ``ActionError`` with the codes in ``errors``, and ``egress_refused``, ``resolve_failed``."""
        frame = framed(event(inputs, context, time.time()))
        try:
            async with asyncio.timeout(inputs.timeout):
                await _send(inputs, context, frame)
        except TimeoutError:
            raise ActionError("timed_out", f"{inputs.host} did not take the event in {inputs.timeout:g} s.") from None
        return SyslogOutput(bytes=len(frame))

    async def rehearse(self, inputs: SyslogInput, context: ActionContext) -> Rehearsal:
        """Show the event."""
        return Rehearsal(
            f"Would tell {inputs.host}:{inputs.port} of a {inputs.severity}: {excerpt_of(inputs.message, 200)}",
            [{"kind": "event", "host": inputs.host, "severity": inputs.severity, "message": inputs.message}],
        )


async def _send(inputs: SyslogInput, context: ActionContext, frame: bytes) -> None:
    # Only the guard says where a connection may go; connect to the address that it has judged, never to the name.
    address = (await context.egress.resolve(inputs.host, inputs.port))[0]
    tls = ssl.create_default_context() if inputs.tls else None
    try:
        _, writer = await asyncio.open_connection(
            address, inputs.port, ssl=tls, server_hostname=inputs.host if tls else None
        )
        try:
            writer.write(frame)
            await writer.drain()
        finally:
            writer.close()
        await writer.wait_closed()
    except ssl.SSLError as error:
        raise ActionError("tls_failed", f"{inputs.host}: {error.reason}.", retryable=False) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ActionError("connect_failed", f"Cannot reach {inputs.host} port {inputs.port}: {reason}.") from None


def event(inputs: SyslogInput, context: ActionContext, now: float) -> str:
    """The message of RFC 5424, section 6; ``now`` is in seconds since 1970."""
    priority = FACILITY * 8 + SEVERITIES.index(inputs.severity)
    at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    values = {"step": context.step_id, **inputs.fields}
    data = " ".join(f'{name}="{_escaped(value)}"' for name, value in values.items())
    text = " ".join(inputs.message.split())
    return f"<{priority}>1 {at} - stanchion {context.execution_id[:128]} - [{DATA_ID} {data}] {text}"


def framed(text: str) -> bytes:
    """``text`` with its length before it (RFC 6587, section 3.4.1)."""
    content = text.encode("utf-8", "replace")
    return f"{len(content)} ".encode() + content


def _escaped(value: str) -> str:
    # RFC 5424, section 6.3.3.
    return re.sub(r'(["\\\]])', r"\\\1", value)
