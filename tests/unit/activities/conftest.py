"""Real things for the actions' tests: servers on free ports, a certificate, the activity of a worker."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from activities import web
from activities.action import ActionContext
from tests.unit.activities.action_support import Certificate, LocalServer, Stage, make_context, make_stage


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    """A server on a free port of 127.0.0.1."""
    local = LocalServer()
    listening = await asyncio.start_server(local.serve, "127.0.0.1", 0)
    local.port = listening.sockets[0].getsockname()[1]
    yield local
    listening.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate that nobody trusts until ``trusted`` says so."""
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
    certificate_file, key_file = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return Certificate(certificate_file, context)


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Certificate]:
    """The certificate, trusted by the client as an operator would have it: by SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    web._tls_context.cache_clear()
    yield certificate
    web._tls_context.cache_clear()


@pytest.fixture
async def tls_server(certificate: Certificate) -> AsyncIterator[LocalServer]:
    """The same server behind TLS."""
    local = LocalServer()
    listening = await asyncio.start_server(local.serve, "127.0.0.1", 0, ssl=certificate.server_context)
    local.port = listening.sockets[0].getsockname()[1]
    yield local
    listening.close()


@pytest.fixture
def context() -> ActionContext:
    """A context in which loopback may be reached."""
    return make_context()


@pytest.fixture
def stage() -> Stage:
    """The activity of a worker with the shipped actions."""
    return make_stage()
