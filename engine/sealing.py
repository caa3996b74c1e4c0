"""Secrets that the database keeps: sealed with AES-256-GCM when ``STANCHION_ENCRYPTION_KEY`` is set, else as they are.

The keys are those of ``engine.codec``: the first seals, all of them open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.codec import EncryptionKeyError, key_id, parse_keys
from settings import Settings

_OPEN: Final = "open:"
_SEALED: Final = "sealed:"
_SIGNING: Final = b"stanchion signature"


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
        from engine.aes import Cipher

        sealed = Cipher(self.keys[0]).seal(text.encode(), context.encode())
        return f"{_SEALED}{key_id(self.keys[0])}:{base64.b64encode(sealed).decode()}"

    def open(self, kept: str, context: str) -> str:
        """What ``seal`` was given; raises EncryptionKeyError for a key that is not there, or a changed text."""
        if kept.startswith(_OPEN):
            return kept.removeprefix(_OPEN)
        name, _, encoded = kept.removeprefix(_SEALED).partition(":")
        key = next((key for key in self.keys if key_id(key) == name), None)
        if key is None:
            raise EncryptionKeyError(f"this was sealed with the key {name}, which STANCHION_ENCRYPTION_KEY lacks")
        from engine.aes import Changed, Cipher

        try:
            return Cipher(key).open(base64.b64decode(encoded), context.encode()).decode()
        except Changed as fault:
            raise EncryptionKeyError("a sealed secret was changed, or moved to another place") from fault

    def sign(self, text: str, context: str) -> str | None:
        """An HMAC (RFC 2104) over ``text`` with the first key, by its name; None without a key."""
        return _signature(self.keys[0], text, context) if self.keys else None

    def is_signed(self, text: str, context: str, signature: str | None) -> bool:
        """Whether ``signature`` is what ``sign`` gave with one of the keys; without keys, whether there is none."""
        if not self.keys:
            return signature is None
        found = [_signature(key, text, context) for key in self.keys]
        return any(hmac.compare_digest(one, signature or "") for one in found)


def _signature(key: bytes, text: str, context: str) -> str:
    own = hmac.digest(key, _SIGNING, hashlib.sha256)  # no key does two things
    return f"{key_id(key)}:{hmac.digest(own, f'{context}:{text}'.encode(), hashlib.sha256).hex()}"
