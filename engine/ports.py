"""Ports of our own choice, that nothing else takes between the choice and the moment when somebody listens there."""

from __future__ import annotations

import secrets
import socket

FIRST, COUNT = 20_000, 12_768
"""Below those that systems give to outgoing connections: Linux from 32768, others from 49152."""

TRIES = 100


def bind_free(probe: socket.socket, host: str) -> int:
    """Binds ``probe`` to a port of ``host`` that nobody listens on, and returns it.

    Raises OSError when none of some tries is free.
    """
    for left in reversed(range(TRIES)):
        port = FIRST + secrets.randbelow(COUNT)
        try:
            probe.bind((host, port))
        except OSError:
            if not left:
                raise
        else:
            return port
    raise AssertionError("unreachable")
