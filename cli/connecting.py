"""The API for a command: the client of ``stanchion_client``, with what a command line knows by itself."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from stanchion_client import Retries, Stanchion
from stanchion_client.wire import is_loopback

TOKEN_FILE = "admin-token"

PATIENCE_SECONDS = 60.0
"""How long an API that has gone away is waited for: it may be restarted under us."""


def connect(
    url: str, token: str | None = None, certificate: Path | None = None, patience: float = PATIENCE_SECONDS
) -> Stanchion:
    """The API at ``url``.  Somebody waits at the terminal: where nobody has answered yet, it is given up at once."""
    return Stanchion(
        url,
        local_token(url) if token is None else token,
        retries=Retries(seconds=patience, from_the_start=False),
        verify=trusted(url, certificate),
        user_agent="stanchion-cli",
    )


def trusted(url: str, certificate: Path | None = None) -> ssl.SSLContext | bool:
    """Which certificates are believed beside those that everybody believes.

    The one that is given, those of ``STANCHION_CA_FILE``, or on this machine the one that ``stanchion up
    --tls-self-signed`` has made.
    """
    own = Path(os.environ.get("STANCHION_DATA_DIR", "data")) / "tls" / "cert.pem"
    given = certificate or os.environ.get("STANCHION_CA_FILE")
    files = [Path(given)] if given else [own] if is_loopback(url) and own.exists() else []
    if not url.startswith("https:") or not files:
        return True
    context = ssl.create_default_context()
    for file in files:
        context.load_verify_locations(file)
    return context


def local_token(url: str) -> str | None:
    """The token that ``stanchion up`` left in the data folder; only ever for an API on this machine."""
    path = Path(os.environ.get("STANCHION_DATA_DIR", "data")) / TOKEN_FILE
    try:
        return path.read_text(encoding="ascii").strip() if is_loopback(url) else None
    except (OSError, UnicodeDecodeError):
        return None
