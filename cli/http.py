"""The API as the command line sees it: HTTP, like any client."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

TOKEN_FILE = "admin-token"


class ApiError(Exception):
    """The API refused, or was not there (``status`` None); ``document`` is its answer."""

    def __init__(self, message: str, status: int | None = None, document: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.document = document or {"status": "error", "error": {"code": "unreachable", "message": message}}

    @property
    def code(self) -> str:
        """The API's stable code, such as ``conflict``."""
        return str(self.document["error"].get("code", ""))

    @property
    def details(self) -> list[dict[str, Any]]:
        """What is wrong where: ``path``, ``message`` and sometimes ``line`` and ``column``."""
        return list(self.document["error"].get("details") or [])


class Api:
    """One API at ``url``, with a token; every method raises ``ApiError`` for any answer but a success."""

    def __init__(
        self, url: str, token: str | None = None, timeout: float = 30.0, certificate: Path | None = None
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json", "User-Agent": "stanchion-cli"}
        if token is None:
            token = local_token(self.url)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # Proxies of the environment are for the world outside, not for an API on this machine.
        self.client = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=timeout,
            trust_env=not is_loopback(self.url),
            verify=trusted(self.url, certificate),
        )

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The answer to a GET; entries of ``query`` that are None are left out."""
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """The answer to a POST of ``body`` as JSON."""
        return self.request("POST", path, body=body, **options)

    def delete(self, path: str) -> Any:
        """The answer to a DELETE; None when it has no body."""
        return self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The decoded answer; ``body`` is sent as JSON, ``content`` as it is."""
        return decode(self._send(method, path, query, body, content, headers))

    def download(self, path: str) -> bytes:
        """The content of a file."""
        answer = self._send("GET", path, headers={"Accept": "*/*"})
        if not answer.is_success:
            decode(answer)
        return answer.content

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            return self.client.request(
                method,
                path,
                params=parameters,
                json=body,
                content=content,
                headers=dict(headers or {}),
            )
        except (httpx2.TransportError, httpx2.InvalidURL) as fault:
            raise unreachable(self.url, fault) from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()


def decode(answer: httpx2.Response) -> Any:
    """The JSON of a success, None for an empty one; raises ``ApiError`` for the rest."""
    try:
        document = answer.json() if answer.content else None
    except ValueError:
        document = None
    if answer.is_success:
        return document
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        raise ApiError(f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}", answer.status_code)
    raise ApiError(str(error.get("message", answer.reason_phrase)), answer.status_code, document)


def unreachable(url: str, fault: Exception) -> ApiError:
    """The error for an API that does not answer."""
    hint = " Is `stanchion up` running?" if isinstance(fault, httpx2.ConnectError) and is_loopback(url) else ""
    return ApiError(f"Cannot reach {url}: {str(fault) or type(fault).__name__}.{hint}")


def is_loopback(url: str) -> bool:
    """True when ``url`` points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trusted(url: str, certificate: Path | None = None) -> ssl.SSLContext | bool:
    """Which certificates are believed beside those that everybody believes.

    The one that is given, those of ``STANCHION_CA_FILE``, or on this machine the one that ``stanchion up
    --tls-self-signed`` has made.
    """
    own = Path(os.environ.get("STANCHION_DATA_DIR", "data")) / "tls" / "cert.pem"
    given = certificate or os.environ.get("STANCHION_CA_FILE")
    files = [Path(given)] if given else [own] if is_loopback(url) and own.exists() else []
    if not url.startswith("https:") or not files:
        return True
    context = ssl.create_default_context()
    for file in files:
        context.load_verify_locations(file)
    return context


def local_token(url: str) -> str | None:
    """The token that ``stanchion up`` left in the data folder; only ever for an API on this machine."""
    path = Path(os.environ.get("STANCHION_DATA_DIR", "data")) / TOKEN_FILE
    try:
        return path.read_text(encoding="ascii").strip() if is_loopback(url) else None
    except (OSError, UnicodeDecodeError):
        return None
