"""The first process of a world: brings its network up, gives the names of the pages addresses, and answers HTTPS there.

``python -m tests.docs.services FOLDER [host] [postgres]`` inside of new namespaces: with a Debian host behind
``web-01.example.com``, with a Postgres on its usual port.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hosts import running_machine
from tests.packages import APT_HOST, Package, deb_repository
from tests.postgres import as_owner, binary

PUBLIC = "93.184.215.14"
"""An address that the egress guard holds for public; in here it is the world's own, and nothing leaves."""
HOST = "93.184.215.15"
"""The same, of the host."""
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


def network(folder: Path, *, host: bool) -> None:
    """The loopback, the public address on it, and the names in ``/etc/hosts``."""
    for line in (["link", "set", "lo", "up"], *(["address", "add", one, "dev", "lo"] for one in (PUBLIC, HOST))):
        subprocess.run(["ip", *line], check=True)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 localhost\n" + "".join(f"{PUBLIC} {name}\n" for name in NAMES))
    if host:
        hosts.write_text(hosts.read_text().replace(f"{PUBLIC} web-01", f"{HOST} web-01"))
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


def debian_host(folder: Path, running: contextlib.ExitStack) -> None:
    """A host with an openssl that is behind, until ``running`` ends; the reader's key is that of its root."""
    packages = [Package("openssl", "3.0.16-1"), Package("openssl", "3.0.17-1")]
    prepare = f"{APT_HOST}apt-get update -q\napt-get install -q -y --allow-downgrades openssl=3.0.16-1\n"
    files = deb_repository(folder / "packages", packages)
    machine = running.enter_context(running_machine(folder / "host", prepare, files=files))
    keys = folder / "home" / ".ssh"
    keys.mkdir()
    (keys / "id_ed25519").write_text(machine.private_key)
    listener = socket.create_server((HOST, 22))
    threading.Thread(target=forward, args=(listener, machine.port), daemon=True).start()


def forward(listener: socket.socket, port: int) -> None:
    """Hands each connection on to ``port`` of the loopback: sshd of the host has no port of its own choice."""
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=copy, args=(one, other), daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Everything from one to the other, until either of them has enough: SSH closes no half of a connection."""
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def postgres(folder: Path) -> None:
    """A Postgres as Debian's package makes it: its superuser is ``postgres``, and it listens on the loopback."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True)  # the test's own folder is closed to others
    data = Path("/mnt/postgres")
    data.mkdir(mode=0o700)
    shutil.chown(data, "postgres")
    command = ["-D", str(data), "-U", "postgres"]
    subprocess.run([*as_owner(), binary("initdb"), *command, "-A", "trust", "--no-sync"], check=True, cwd="/")
    log = (folder / "postgres.log").open("wb")
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=/tmp", "-c", "fsync=off"]
    subprocess.Popen([*as_owner(), binary("postgres"), "-D", str(data), *options], stdout=log, stderr=log, cwd="/")
    while subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1"], check=False).returncode:
        time.sleep(0.1)


def main(folder: Path, extras: list[str]) -> None:
    """Serves until it is killed."""
    running = contextlib.ExitStack()
    network(folder, host="host" in extras)
    Answers.folder = folder
    server = ThreadingHTTPServer((PUBLIC, 443), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if "host" in extras:
        debian_host(folder, running)
    if "postgres" in extras:
        postgres(folder)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the first process of its namespace gets every orphan
    print("docs world is up", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
