"""The first process of a world: brings its network up, gives the names of the pages addresses, and answers HTTPS there.

``python -m tests.docs.services FOLDER`` inside of new namespaces.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PUBLIC = "93.184.215.14"
"""An address that the egress guard holds for public; in here it is the world's own, and nothing leaves."""
NAMES = (
    "example.com",
    "web-01.example.com",
    "web-07.example.com",
    "shop.example.com",
    "siem.example.com",
    "chat.example.com",
    "hooks.slack.com",
)
RECEIVED = "received.jsonl"


class Answers(BaseHTTPRequestHandler):
    """Takes whatever is sent, writes it down, and says ok, as an incoming webhook of Slack does."""

    folder: Path

    def do_GET(self) -> None:
        """Answers 200."""
        self._answer()

    do_POST = do_GET  # noqa: N815

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        line = {"host": self.headers.get("Host"), "method": self.command, "path": self.path, "body": body}
        with (self.folder / RECEIVED).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def network(folder: Path) -> None:
    """The loopback, the public address on it, and the names in ``/etc/hosts``."""
    for line in (["link", "set", "lo", "up"], ["address", "add", f"{PUBLIC}/32", "dev", "lo"]):
        subprocess.run(["ip", *line], check=True)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 localhost\n" + "".join(f"{PUBLIC} {name}\n" for name in NAMES))
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


def certificates(folder: Path) -> Path:
    """An authority, and a file with a key and a certificate of it for all names."""
    authority = _certificate("Authority of the pages", None)
    names = x509.SubjectAlternativeName(
        [*(x509.DNSName(name) for name in (*NAMES, "localhost")), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate, key = _certificate("Pages", authority, names)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority[0].public_bytes(pem))
    pair = folder / "pair.pem"
    plain = serialization.NoEncryption()
    pair.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    return pair


Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _certificate(name: str, by: Pair | None, names: x509.ExtensionType | None = None) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)  # noqa: TID251
    identifier = x509.SubjectKeyIdentifier.from_public_key((by[1] if by else key).public_key())
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    if by is None:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        built = built.add_extension(
            x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False), True
        )
    if names is not None:
        built = built.add_extension(names, critical=False)
    return built.sign(by[1] if by else key, hashes.SHA256()), key


def main(folder: Path) -> None:
    """Serves until it is killed."""
    network(folder)
    Answers.folder = folder
    server = ThreadingHTTPServer((PUBLIC, 443), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the first process of its namespace gets every orphan
    print("docs world is up", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    os.umask(0o077)
    main(Path(sys.argv[1]))
