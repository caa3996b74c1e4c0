"""Why Temporal cannot be reached, in a sentence for the operator instead of the words of a TLS library."""

from __future__ import annotations

_CERTIFICATE = "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH"
_REFUSALS = {
    "UnknownIssuer": "its certificate is signed by an authority that is not trusted here: name the authority's in "
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    "NotValidForName": "its certificate is for another name: use that in the address, or say it in "
    "TEMPORAL_TLS_SERVER_NAME",
    "Expired": "its certificate has expired",
    "received fatal alert": f"it refuses the client certificate of {_CERTIFICATE}",
    "code: Unauthenticated": "it refuses TEMPORAL_API_KEY, or asks for one",
    "code: PermissionDenied": "TEMPORAL_API_KEY does not allow it",
}
"""What the SDK's error has in it, and what that means; nothing of it mends by waiting."""

_CLOSED = f"it closes the connection: it may speak TLS (TEMPORAL_TLS) or ask for a client certificate ({_CERTIFICATE})"


def refusal(text: str) -> str | None:
    """What a refusal means that waiting does not mend; None for everything else."""
    return next((meaning for mark, meaning in _REFUSALS.items() if mark in text), None)


def explained(text: str) -> str:
    """The SDK's error in words that tell what to do, where they are known; else its first line."""
    if "connection closed" in text:
        return _CLOSED
    lines = text.splitlines() or [""]
    return refusal(text) or lines[0][:200]
