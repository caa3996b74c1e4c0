"""Temporal's frontend behind TLS: the real server behind a real proxy, whose TLS is Go's, like Temporal's."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

KEY = "an-api-key"
PATIENCE_SECONDS = 60
_NEW = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def make_certificates(folder: Path) -> None:
    """``ca``, ``server`` and ``client`` signed by it, and ``other``, which is signed by nobody: each .pem and .key."""
    for name in ("ca", "other"):
        _openssl(folder, "req", "-x509", *_NEW, "-days", "2", "-subj", f"/CN={name}", *_files(name))
    for name in ("server", "client"):
        named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        _openssl(folder, "req", *_NEW, *named, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-copy_extensions", "copyall"]
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")


@contextlib.contextmanager
def frontend(folder: Path, port: int, temporal: str, *, client_certificate: bool, api_key: bool) -> Iterator[None]:
    """Listens on ``localhost:port`` for the server at ``temporal``, and asks for what is said."""
    asked = f"client_auth {{\nmode require_and_verify\ntrusted_ca_cert_file {folder}/ca.pem\n}}"
    refused = f'@other not header Authorization "Bearer {KEY}"\nrespond @other 401'
    file = folder / f"{port}.caddy"
    file.write_text(
        f"""{{
        admin off
        auto_https off
        }}
        :{port} {{
        tls {folder}/server.pem {folder}/server.key {{
        {asked if client_certificate else ""}
        }}
        {refused if api_key else ""}
        reverse_proxy h2c://{temporal} {{
        flush_interval -1
        }}
        }}
        """
    )
    with (folder / f"{port}.log").open("wb") as log:
        line = ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
        process = subprocess.Popen(line, env={**os.environ, "HOME": str(folder)}, stdout=log, stderr=log)
    try:
        _until_it_listens(port)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=5):
            return
        assert time.monotonic() < deadline, "the proxy does not listen"
        time.sleep(0.1)


def _files(name: str) -> list[str]:
    return ["-keyout", f"{name}.key", "-out", f"{name}.pem"]


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
