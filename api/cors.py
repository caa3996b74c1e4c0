"""Which pages of other origins may use the API from a browser: none, unless ``STANCHION_CORS_ORIGINS`` names them."""

from __future__ import annotations

from typing import Any, Final

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
SENT: Final = (
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-ID",
    "ph-auth-token",
)
SHOWN: Final = (
    "ETag",
    "Location",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
)
MAX_AGE: Final = 600


def cors(origins: str) -> dict[str, Any]:
    """The options of Starlette's middleware for these origins, with commas between them.

    No cookies are allowed, since there are none: a page must have a token to send.
    """
    return {
        "allow_origins": origins.split(","),
        "allow_methods": METHODS,
        "allow_headers": SENT,
        "expose_headers": SHOWN,
        "max_age": MAX_AGE,
    }
