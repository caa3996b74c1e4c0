"""Encryption of everything that Temporal stores of a run: AES-256-GCM (NIST SP 800-38D), one random nonce a payload.

The metadata names the key, so that a key can be replaced: the first key of the setting encrypts, all of them decrypt.
Payloads that were written before a key was set are passed through.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

ENCODING = b"binary/encrypted"
CIPHER = b"AES-256-GCM"
KEY_BYTES = 32


class EncryptionKeyError(ValueError):
    """A key that cannot be used, or one that a payload needs and that is not there."""


class EncryptionCodec(PayloadCodec):
    """Encrypts payloads with the first of ``keys``, decrypts with the one that the payload names."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise EncryptionKeyError("at least one key is needed")
        from engine.aes import Cipher

        self._ciphers = {key_id(key): Cipher(key) for key in keys}
        self._current = key_id(keys[0])

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """One encrypted payload for each of ``payloads``."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads that ``encode`` was given; raises ``EncryptionKeyError`` for an unknown key or a change."""
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        current = self._current.encode()
        sealed = self._ciphers[self._current].seal(payload.SerializeToString(), current)
        return Payload(
            metadata={"encoding": ENCODING, "encryption-cipher": CIPHER, "encryption-key-id": current},
            data=sealed,
        )

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        name = payload.metadata.get("encryption-key-id", b"")
        cipher = self._ciphers.get(name.decode("ascii", "replace"))
        if cipher is None:
            raise EncryptionKeyError(
                f"the payload was encrypted with the key {name!r}, which STANCHION_ENCRYPTION_KEY lacks"
            )
        try:
            return Payload.FromString(cipher.open(payload.data, name))
        except (ValueError, DecodeError) as fault:
            raise EncryptionKeyError("the encrypted payload was changed or cut") from fault


def key_id(key: bytes) -> str:
    """The public name of ``key``: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:16]


def parse_keys(setting: str) -> list[bytes]:
    """The keys of ``STANCHION_ENCRYPTION_KEY``: Base64 of 32 bytes, several with commas between them.

    Raises ``EncryptionKeyError``, without repeating what was given.
    """
    keys = []
    for number, text in enumerate(setting.split(","), start=1):
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error as fault:
            raise EncryptionKeyError(f"key {number} of STANCHION_ENCRYPTION_KEY is not Base64") from fault
        if len(key) != KEY_BYTES:
            raise EncryptionKeyError(f"key {number} of STANCHION_ENCRYPTION_KEY has {len(key)} bytes, not {KEY_BYTES}")
        keys.append(key)
    return keys
