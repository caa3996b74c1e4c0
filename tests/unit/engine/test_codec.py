"""Encryption of payloads."""

from __future__ import annotations

import base64

import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from engine.client import data_converter
from engine.codec import EncryptionCodec, EncryptionKeyError, parse_keys
from settings import Settings

OLD, NEW = bytes(32), bytes(range(32))
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"the secret"')


async def sealed(*keys: bytes) -> Payload:
    """``PLAIN``, encrypted with the first of ``keys``."""
    (payload,) = await EncryptionCodec(keys).encode([PLAIN])
    return payload


async def test_decoding_gives_back_what_was_encoded() -> None:
    """A payload comes back with its data and its metadata."""
    assert await EncryptionCodec([NEW]).decode([await sealed(NEW)]) == [PLAIN]


async def test_nothing_of_the_payload_is_readable() -> None:
    """Neither data nor original encoding stand in the encrypted payload."""
    payload = (await sealed(NEW)).SerializeToString()
    assert b"secret" not in payload
    assert b"json/plain" not in payload


async def test_equal_payloads_are_encrypted_differently() -> None:
    """Each payload has a nonce of its own."""
    assert (await sealed(NEW)).data != (await sealed(NEW)).data


async def test_replaced_key_still_decrypts() -> None:
    """After a change of keys, the old one given second opens what it has encrypted."""
    assert await EncryptionCodec([NEW, OLD]).decode([await sealed(OLD)]) == [PLAIN]


async def test_missing_key_is_named() -> None:
    """A payload of an unknown key is refused with the key's public name."""
    payload = await sealed(OLD)
    with pytest.raises(EncryptionKeyError, match=payload.metadata["encryption-key-id"].decode()):
        await EncryptionCodec([NEW]).decode([payload])


@pytest.mark.parametrize("place", [0, 13, -1])
async def test_changed_payload_is_refused(place: int) -> None:
    """One changed byte of nonce, content or tag is noticed."""
    payload = await sealed(NEW)
    data = bytearray(payload.data)
    data[place] ^= 1
    payload.data = bytes(data)
    with pytest.raises(EncryptionKeyError, match="changed or cut"):
        await EncryptionCodec([NEW]).decode([payload])


async def test_cut_payload_is_refused() -> None:
    """A payload that is shorter than its nonce is refused in the same way."""
    payload = await sealed(NEW)
    payload.data = payload.data[:5]
    with pytest.raises(EncryptionKeyError, match="changed or cut"):
        await EncryptionCodec([NEW]).decode([payload])


async def test_payload_from_before_the_key_passes() -> None:
    """What was written without encryption stays readable."""
    assert await EncryptionCodec([NEW]).decode([PLAIN]) == [PLAIN]


@pytest.mark.parametrize(
    ("setting", "fault"), [("not base64!", "key 1 .* is not Base64"), ("c2hvcnQ=", "key 1 .* has 5 bytes, not 32")]
)
def test_unusable_key_is_told_without_repeating_it(setting: str, fault: str) -> None:
    """The sentence says what is wrong, not what was given."""
    with pytest.raises(EncryptionKeyError, match=fault) as caught:
        parse_keys(setting)
    assert setting not in str(caught.value)


async def test_failures_are_encrypted_too() -> None:
    """With a key, the message of a failure does not reach Temporal as text."""
    key = SecretStr(base64.b64encode(NEW).decode())
    from temporalio.api.failure.v1 import Failure

    failure = Failure()
    await data_converter(Settings(encryption_key=key)).encode_failure(ApplicationError("the secret"), failure)
    assert b"secret" not in failure.SerializeToString()
