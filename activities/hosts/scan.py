"""The host keys that an SSH server shows, for somebody to compare; nobody logs in."""

from __future__ import annotations

import asyncio
import logging

import asyncssh

from activities.hosts.host_keys import ALGORITHMS

TIMEOUT = 10.0
"""Seconds for each kind of key."""


async def shown_keys(host: str, port: int) -> dict[str, str]:
    """The public keys (``ssh-ed25519 AAAA…``) by fingerprint, of each kind that is taken.

    Raises ``OSError`` or ``TimeoutError`` when the server cannot be reached or shows no key.
    """
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    keys: dict[str, str] = {}
    problem = "it has no key of a kind that is taken"
    for names in ALGORITHMS.values():
        try:
            async with asyncio.timeout(TIMEOUT):
                key = await asyncssh.get_server_host_key(host, port, config=None, server_host_key_algs=list(names))
        except (asyncssh.Error, ConnectionResetError):
            continue  # no key of this kind
        if key is not None:
            line = key.export_public_key("openssh").decode()
            keys[key.get_fingerprint()] = " ".join(line.split()[:2])
    if not keys:
        raise OSError(problem)
    return keys


def fingerprint_of(line: str) -> str:
    """``SHA256:…`` of a public key."""
    return str(asyncssh.import_public_key(line).get_fingerprint())
