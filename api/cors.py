"""Which pages of other origins may use the API from a browser: none, unless ``STANCHION_CORS_ORIGINS`` names them.

The codec may be asked by pages of Temporal's Web UI too, which are made to do so.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from settings import Settings

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
    "X-Namespace",
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


CODEC: Final = "/api/codec/"


def origins(settings: Settings) -> list[str]:
    """The origins whose pages may use the API."""
    return settings.cors_origins.split(",") if settings.cors_origins else []


def codec_origins(settings: Settings) -> list[str]:
    """The origins whose pages may use the codec: those, and the Web UI's, by the names that this machine has."""
    allowed = origins(settings)
    if settings.temporal_ui_url:
        parts = urlsplit(settings.temporal_ui_url)
        allowed.append(f"{parts.scheme}://{parts.netloc}")
        if parts.hostname == "127.0.0.1":
            allowed.append(f"{parts.scheme}://{parts.netloc.replace('127.0.0.1', 'localhost')}")
    return allowed


class Origins:
    """Starlette's middleware, with other origins for the codec.

    No cookies are allowed: the only one there is belongs to the console, and a page must have a token to send.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str], codec: Collection[str]) -> None:
        self._others, self._codec = _allowing(app, allowed), _allowing(app, codec)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a preflight, or passes the request on."""
        is_codec = scope["type"] == "http" and scope["path"].startswith(CODEC)
        await (self._codec if is_codec else self._others)(scope, receive, send)


def _allowing(app: ASGIApp, allowed: Collection[str]) -> ASGIApp:
    if not allowed:
        return app
    return CORSMiddleware(
        app, allow_origins=allowed, allow_methods=METHODS, allow_headers=SENT, expose_headers=SHOWN, max_age=MAX_AGE
    )
