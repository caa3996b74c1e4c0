"""Encryption of everything that Temporal stores of a run: AES-256-GCM (NIST SP 800-38D), one random nonce a payload.

The metadata names the key, so that a key can be replaced: the first key of the setting encrypts, all of them decrypt.
Payloads that were written before a key was set are passed through.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

ENCODING = b"binary/encrypted"
CIPHER = b"AES-256-GCM"
KEY_BYTES = 32
NONCE_BYTES = 12


class EncryptionKeyError(ValueError):
    """A key that cannot be used, or one that a payload needs and that is not there."""


class EncryptionCodec(PayloadCodec):
    """Encrypts payloads with the first of ``keys``, decrypts with the one that the payload names."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise EncryptionKeyError("at least one key is needed")
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._current = key_id(keys[0])

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """One encrypted payload for each of ``payloads``."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads that ``encode`` was given; raises ``EncryptionKeyError`` for an unknown key or a change."""
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        current = self._current.encode()
        sealed = self._ciphers[self._current].encrypt(nonce, payload.SerializeToString(), current)
        return Payload(
            metadata={"encoding": ENCODING, "encryption-cipher": CIPHER, "encryption-key-id": current},
            data=nonce + sealed,
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
            opened = cipher.decrypt(payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:], name)
            return Payload.FromString(opened)
        except (InvalidTag, ValueError, DecodeError) as fault:
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
