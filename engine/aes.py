"""AES-256-GCM (NIST SP 800-38D) by `cryptography`, which is loaded with this module: only where a key is set."""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12


class Changed(ValueError):
    """What was to be opened was not sealed with this key, or was changed, or moved to another place."""


class Cipher:
    """Seals and opens with one key of 32 bytes; the random nonce stands before what is sealed."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, context: bytes) -> bytes:
        """``data`` sealed, and bound to ``context``."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What ``seal`` was given; raises Changed."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as fault:
            raise Changed("it was changed or cut") from fault
