"""Requests and answers as ``httpx2`` has them."""

from __future__ import annotations

import ipaddress
import ssl
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

import httpx2

from stanchion_client.errors import ConnectionFailed
from stanchion_client.messages import Answer, Request

FAULTS = (httpx2.RequestError, httpx2.InvalidURL, httpx2.StreamError)

_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.ProxyError,
    httpx2.InvalidURL,
)


def options(
    url: str, token: str | None, timeout: float, verify: ssl.SSLContext | bool, user_agent: str | None
) -> dict[str, Any]:
    """What both kinds of client of ``httpx2`` are made with."""
    headers = {"Accept": "application/json", "User-Agent": user_agent or f"stanchion-client/{_version()}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if verify is True and url.startswith("https:"):
        # With what the environment says is believed (SSL_CERT_FILE), which ``trust_env`` would leave out below.
        verify = httpx2.create_ssl_context()
    return {
        "base_url": url.rstrip("/"),
        "headers": headers,
        "timeout": timeout,
        "verify": verify,
        # Proxies of the environment are for the world outside, not for an API on this machine.
        "trust_env": not is_loopback(url),
    }


def built(http: httpx2.Client | httpx2.AsyncClient, request: Request, silence: float | None = None) -> httpx2.Request:
    """The request; ``silence`` are the seconds that may pass between two pieces of the answer."""
    query = {name: value for name, value in request.query.items() if value is not None}
    timeout: Any = httpx2.USE_CLIENT_DEFAULT if silence is None else httpx2.Timeout(http.timeout.connect, read=silence)
    return http.build_request(
        request.method,
        request.path,
        params=query,
        json=request.body,
        content=request.content,
        headers=dict(request.headers),
        timeout=timeout,
    )


def answer_head(response: httpx2.Response) -> Answer:
    """The answer without its content."""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def answer_of(response: httpx2.Response) -> Answer:
    """The whole answer."""
    head = answer_head(response)
    return Answer(head.status, head.headers, response.content)


def connection_failed(url: str, fault: Exception) -> ConnectionFailed:
    """The error for an answer that did not come."""
    message = f"Cannot reach {url}: {str(fault) or type(fault).__name__}."
    failed = ConnectionFailed(message, sent=not isinstance(fault, _NEVER_SENT))
    failed.__cause__ = fault
    return failed


def is_loopback(url: str) -> bool:
    """Whether ``url`` points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version() -> str:
    try:
        return version("stanchion")
    except PackageNotFoundError:
        return "unknown"
