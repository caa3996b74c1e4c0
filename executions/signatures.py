"""Signatures of webhooks: that a delivery comes from who knows the hook's secret, and that it is no replay.

``standard``  Standard Webhooks (the specification of that name): HMAC-SHA256 over id, time and body; five minutes.
``github``    ``X-Hub-Signature-256`` (GitHub docs: *Validating webhook deliveries*): HMAC-SHA256 over the body.
``none``      no signature: the token in the address is all there is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final, Literal

Scheme = Literal["standard", "github", "none"]

TOLERANCE: Final = 300
"""Seconds that the time of a delivery may be off."""

PREFIX: Final = "whsec_"
_MAX_ID: Final = 200


class BadSignature(Exception):
    """The delivery does not show that it comes from who knows the secret."""


def new_secret(scheme: Scheme) -> str | None:
    """A fresh secret as the sender is to be given it; 256 random bits."""
    match scheme:
        case "standard":
            return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        case "github":
            return secrets.token_hex(32)
        case "none":
            return None


def secret_fault(scheme: Scheme, secret: str) -> str | None:
    """What is wrong with a secret that somebody chose."""
    if scheme == "none":
        return "without a signature there is no secret"
    if scheme == "github":
        return None if 16 <= len(secret.encode()) <= 256 else "a secret has 16 to 256 bytes"
    try:
        size = len(_standard_key(secret))
    except ValueError:
        return "a secret of Standard Webhooks is whsec_ and Base64"
    return None if 24 <= size <= 64 else "a secret of Standard Webhooks has 24 to 64 bytes"


def check(scheme: str, secret: str | None, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
    """What tells this delivery from every other, for replays to be known by; None where nothing does.

    ``headers`` have names in lower case; ``now`` is in seconds since the epoch.  Raises BadSignature.
    """
    match scheme:
        case "standard":
            return _check_standard(secret or "", headers, body, now)
        case "github":
            return _check_github(secret or "", headers, body)
    given = headers.get("webhook-id") or headers.get("idempotency-key")
    return None if given is None else hashlib.sha256(given.encode()).hexdigest()


def _check_standard(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not stamp or "webhook-signature" not in headers:
        raise BadSignature("The delivery needs webhook-id, webhook-timestamp and webhook-signature.")
    if len(message_id) > _MAX_ID or not stamp.isascii() or not stamp.isdecimal() or len(stamp) > 12:
        raise BadSignature("webhook-id or webhook-timestamp is not what it should be.")
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    expected = base64.b64encode(hmac.digest(_standard_key(secret), signed, "sha256")).decode()
    given = [part.removeprefix("v1,") for part in headers["webhook-signature"].split()[:20] if part.startswith("v1,")]
    if not any(hmac.compare_digest(expected.encode(), one.encode()) for one in given):
        raise BadSignature("The signature does not fit the body.")
    if abs(now - int(stamp)) > TOLERANCE:
        raise BadSignature(f"The delivery is more than {TOLERANCE} s away from the time here.")
    return hashlib.sha256(message_id.encode()).hexdigest()


def _check_github(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    given = headers.get("x-hub-signature-256", "")
    expected = "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise BadSignature("The signature in X-Hub-Signature-256 is missing, or does not fit the body.")
    # Its delivery id is not signed: the same body is the same delivery.
    return expected


def _standard_key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("not Base64") from error
