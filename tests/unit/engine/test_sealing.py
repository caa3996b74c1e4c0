"""Secrets that the database keeps."""

from __future__ import annotations

import pytest

from engine.codec import EncryptionKeyError
from engine.sealing import Sealer

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_sealed_secret_opens_in_its_place_only() -> None:
    """Neither another key nor another row opens it."""
    kept = Sealer([NEW]).seal("the secret", "hook-1")
    assert "the secret" not in kept
    assert Sealer([NEW]).open(kept, "hook-1") == "the secret"
    with pytest.raises(EncryptionKeyError, match="changed"):
        Sealer([NEW]).open(kept, "hook-2")
    with pytest.raises(EncryptionKeyError, match="lacks"):
        Sealer([OLD]).open(kept, "hook-1")


def test_a_key_can_be_replaced() -> None:
    """What an old key sealed opens as long as it is among the keys."""
    kept = Sealer([OLD]).seal("the secret", "hook-1")
    assert Sealer([NEW, OLD]).open(kept, "hook-1") == "the secret"


def test_without_a_key_it_is_kept_as_it_is_and_opens_later_too() -> None:
    """Setting a key does not lose what was there before."""
    kept = Sealer().seal("sealed:the secret", "hook-1")
    assert Sealer([NEW]).open(kept, "hook-1") == "sealed:the secret"
