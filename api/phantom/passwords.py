"""Passwords of users: scrypt (RFC 7914), which needs 16 MiB for each try, and a memory for those that were right.

A client that polls would pay for a try with every request.  What is remembered, for a short time and in this process
only, is a keyed hash of name and password.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from api.errors import RateLimited

COST: Final = 2**14
BLOCK: Final = 8
REMEMBERED_SECONDS: Final = 60.0
MAX_REMEMBERED: Final = 1_000
MAX_LENGTH: Final = 1_024
IN_LINE: Final = 64
"""Tries that wait to be checked; each takes some 50 ms."""
IN_LINE_PER_ADDRESS: Final = 8
"""Of these, how many of one address, so that who guesses there keeps nobody else out."""
RETRY_AFTER: Final = 2
"""Seconds after which a try may find a place in the line."""

_workers: Final = ThreadPoolExecutor(2, thread_name_prefix="passwords")
"""Few, so that a flood of guesses waits for itself only."""


def hashed(password: str) -> str:
    """``password`` as the database keeps it."""
    salt = os.urandom(16)
    return f"scrypt${COST}${BLOCK}${_text(salt)}${_text(_scrypt(password, salt, COST, BLOCK))}"


def fits(password: str, kept: str) -> bool:
    """Whether ``password`` is the one that ``kept`` was made from."""
    _, cost, block, salt, digest = kept.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(cost), int(block))
    return hmac.compare_digest(found, base64.b64decode(digest))


@lru_cache(maxsize=1)
def _nobody() -> str:
    """What a password is held to where there is no user, so that the time taken does not tell."""
    return hashed("nobody has this password")


@dataclass(slots=True)
class Passwords:
    """Checks passwords beside the event loop."""

    _key: bytes = field(default_factory=lambda: os.urandom(32))
    _right: dict[bytes, tuple[str, float]] = field(default_factory=dict)
    _waiting: Counter[str] = field(default_factory=Counter)

    async def check(self, username: str, password: str, kept: str | None, address: str = "") -> bool:
        """Whether the password is right; it takes as long for a user that does not exist (``kept`` None).

        Raises RateLimited when too many tries wait already, of this address or of all.
        """
        if len(password) > MAX_LENGTH:
            return False
        mark = hmac.digest(self._key, f"{len(username)}:{username}{password}".encode("utf-8", "replace"), "sha256")
        known = self._right.get(mark)
        if known is not None and kept is not None and known[0] == kept and known[1] > time.monotonic():
            return True
        right = await self._try(password, kept, address)
        if right and kept is not None:
            if len(self._right) >= MAX_REMEMBERED:
                self._right.clear()
            self._right[mark] = (kept, time.monotonic() + REMEMBERED_SECONDS)
        return right

    async def _try(self, password: str, kept: str | None, address: str) -> bool:
        if self._waiting[address] >= IN_LINE_PER_ADDRESS or self._waiting.total() >= IN_LINE:
            raise RateLimited(RETRY_AFTER)
        self._waiting[address] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(_workers, _fits, password, kept)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]


def _fits(password: str, kept: str | None) -> bool:
    return fits(password, kept or _nobody()) and kept is not None


def _scrypt(password: str, salt: bytes, cost: int, block: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=cost, r=block, p=1, maxmem=2**26, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
