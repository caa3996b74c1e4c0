"""Secrets that the database keeps: sealed with AES-256-GCM when ``STANCHION_ENCRYPTION_KEY`` is set, else as they are.

The keys are those of ``engine.codec``: the first seals, all of them open.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.codec import NONCE_BYTES, EncryptionKeyError, key_id, parse_keys
from settings import Settings

_OPEN: Final = "open:"
_SEALED: Final = "sealed:"


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals and opens texts; ``context`` binds one to its place, so that it is of no use in another."""

    keys: Sequence[bytes] = ()

    @classmethod
    def of(cls, settings: Settings) -> Sealer:
        """The sealer of these settings; raises EncryptionKeyError."""
        key = settings.encryption_key
        return cls() if key is None else cls(parse_keys(key.get_secret_value()))

    def seal(self, text: str, context: str) -> str:
        """``text`` as the database may keep it."""
        if not self.keys:
            return _OPEN + text
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(self.keys[0]).encrypt(nonce, text.encode(), context.encode())
        return f"{_SEALED}{key_id(self.keys[0])}:{base64.b64encode(sealed).decode()}"

    def open(self, kept: str, context: str) -> str:
        """What ``seal`` was given; raises EncryptionKeyError for a key that is not there, or a changed text."""
        if kept.startswith(_OPEN):
            return kept.removeprefix(_OPEN)
        name, _, encoded = kept.removeprefix(_SEALED).partition(":")
        key = next((key for key in self.keys if key_id(key) == name), None)
        if key is None:
            raise EncryptionKeyError(f"this was sealed with the key {name}, which STANCHION_ENCRYPTION_KEY lacks")
        data = base64.b64decode(encoded)
        try:
            return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], context.encode()).decode()
        except InvalidTag as fault:
            raise EncryptionKeyError("a sealed secret was changed, or moved to another place") from fault
