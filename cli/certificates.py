"""A certificate of our own for ``stanchion up --tls-self-signed``: made once, kept in the data folder."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

FOLDER: Final = "tls"
VALID_DAYS: Final = 825
RENEWED_BEFORE: Final = datetime.timedelta(days=30)


def self_signed(data_dir: Path, host: str) -> tuple[Path, Path]:
    """Certificate and key in the data folder; made anew when they are missing, or about to expire."""
    folder = data_dir / FOLDER
    certificate, key = folder / "cert.pem", folder / "key.pem"
    if not (certificate.exists() and key.exists() and _is_good(certificate)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(certificate, key, ["localhost", "127.0.0.1", "::1", socket.gethostname(), host])
    return certificate, key


def check_pair(certificate: Path, key: Path) -> None:
    """Raises ``StartError`` for a certificate and a key that cannot be used together."""
    import ssl

    from cli.supervisor import StartError

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as fault:
        raise StartError(f"The certificate {certificate} with the key {key} cannot be used: {fault}.") from fault


def _is_good(certificate: Path) -> bool:
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return found.not_valid_after_utc - RENEWED_BEFORE > _now()


def _make(certificate: Path, key: Path, names: Sequence[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stanchion")])
    begins = _now() - datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, secret, 0o600)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _alternatives(names: Sequence[str]) -> list[GeneralName]:
    from cryptography import x509

    found: list[GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if name:
                found.append(x509.DNSName(name))
    return found


def _write(path: Path, content: bytes, mode: int) -> None:
    scratch = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        scratch.unlink()
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    scratch.replace(path)


def _now() -> datetime.datetime:
    from storage.clock import now_ms

    return datetime.datetime.fromtimestamp(now_ms() / 1000, datetime.UTC)
