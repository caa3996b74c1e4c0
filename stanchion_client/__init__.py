"""The client of Stanchion's API: typed, patient, synchronous and asynchronous (docs/client.md)."""

from stanchion_client.asynchronous import AsyncStanchion
from stanchion_client.errors import (
    ApiError,
    BadRequest,
    Conflict,
    ConnectionFailed,
    Detail,
    Forbidden,
    IdempotencyMismatch,
    NotFound,
    NotRunning,
    NotWaiting,
    ParametersInvalid,
    RateLimited,
    StanchionError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    WaitTimeout,
)
from stanchion_client.following import FINAL, is_final
from stanchion_client.paging import Page
from stanchion_client.retries import Retries
from stanchion_client.synchronous import Stanchion

__all__ = [
    "FINAL",
    "ApiError",
    "AsyncStanchion",
    "BadRequest",
    "Conflict",
    "ConnectionFailed",
    "Detail",
    "Forbidden",
    "IdempotencyMismatch",
    "NotFound",
    "NotRunning",
    "NotWaiting",
    "Page",
    "ParametersInvalid",
    "RateLimited",
    "Retries",
    "Stanchion",
    "StanchionError",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMediaType",
    "WaitTimeout",
    "is_final",
]
