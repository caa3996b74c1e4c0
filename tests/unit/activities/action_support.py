"""What the actions' tests share: a small HTTP server, contexts, and the activity in Temporal's test environment."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import ipaddress
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from temporalio.common import RawValue
from temporalio.testing import ActivityEnvironment

from activities.action import ActionContext
from activities.catalogue import ActionCatalogue, load_catalogue
from activities.egress import EgressPolicy
from activities.execute import ActionRunner
from activities.secrets import EnvironmentSecrets, SecretChain
from engine.converter import pydantic_json
from playbooks.contract import ActionCall, ActionResult


@dataclass
class Received:
    """One request, as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Received], Awaitable[bytes]]


@dataclass
class LocalServer:
    """A small HTTP/1.1 server; ``answers`` maps a path to the whole answer, or to what makes one."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, bytes | Handler] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = Received(method, target, headers, body)
            self.received.append(request)
            found = self.answers.get(target.partition("?")[0], http_answer(404, b"nothing here"))
            writer.write(found if isinstance(found, bytes) else await found(request))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


def http_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; ``content_type="…"`` becomes ``content-type``."""
    lines = [f"HTTP/1.1 {status} Said So", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Certificate:
    """A self-signed certificate of ``localhost`` and 127.0.0.1."""

    file: Path
    server_context: ssl.SSLContext


def make_context(**changes: Any) -> ActionContext:
    """A context in which loopback may be reached, with ``changes``."""
    given: dict[str, Any] = {"egress": EgressPolicy.parse("127.0.0.0/8, ::1"), **changes}
    return ActionContext(execution_id="exec-1", playbook_id="pb-1", asset_id="asset-1", step_id="act-001", **given)


@dataclass
class Stage:
    """The activity of a worker, in Temporal's own environment for tests."""

    runner: ActionRunner
    environment: ActivityEnvironment

    async def perform(self, action: str, parameters: Any = None, *, local: bool = False, **call: Any) -> ActionResult:
        """What the activity answers to a call of ``action``."""
        self.environment.info = dataclasses.replace(self.environment.info, activity_type=action, is_local=local)
        request = ActionCall(
            execution_id="exec-1",
            playbook_id="pb-1",
            asset_id="asset-1",
            step_id="act-001",
            attempt=call.pop("attempt", 1),
            parameters={} if parameters is None else parameters,
            **call,
        )
        payload = pydantic_json.payload_converter.to_payload(request)
        return await self.environment.run(self.runner.execute, [RawValue(payload)])


def make_stage(
    catalogue: ActionCatalogue | None = None, environment: dict[str, str] | None = None, egress_allow: str = "127.0.0.1"
) -> Stage:
    """A stage with the shipped actions, or with ``catalogue``."""
    runner = ActionRunner(
        load_catalogue() if catalogue is None else catalogue,
        egress_allow=egress_allow,
        secrets=SecretChain([EnvironmentSecrets(environment or {})]),
    )
    temporal = ActivityEnvironment()
    temporal.payload_converter = pydantic_json.payload_converter
    return Stage(runner, temporal)


def make_certificate(folder: Path) -> Certificate:
    """A certificate that signs itself, with its files in ``folder``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return Certificate(certificate_file, context)
