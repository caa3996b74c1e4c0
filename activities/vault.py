"""Secrets from HashiCorp Vault (or OpenBao) over HTTP: the KV engine, version 2, with a token or by AppRole.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2 and …/auth/approle say what goes over the wire.  The
address is the operator's, not a playbook's, so the egress guard has no say in it; certificates are always checked.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from activities.errors import ActionError
from activities.secrets import NAME

CACHE_SECONDS: Final = 30.0
CACHE_SIZE: Final = 1000
TIMEOUT: Final = 5.0
ANSWER_BYTES: Final = 1024 * 1024
FIELD: Final = "value"
"""The key of a secret's data that holds it."""


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """Where Vault is and how to log in: a token, or role id and secret id of an AppRole."""

    url: str
    token: str | None = field(default=None, repr=False)
    role_id: str | None = None
    secret_id: str | None = field(default=None, repr=False)
    mount: str = "secret"
    path: str = "stanchion"
    namespace: str | None = None
    ca_file: Path | None = None


class VaultSecrets:
    """The secret ``name`` is the key ``value`` of ``<mount>/data/<path>/<name>``.

    What was found is kept for half a minute; what was not is asked for again.
    """

    def __init__(self, address: VaultAddress) -> None:
        self._address = address
        self._token = address.token
        self._token_ends: float | None = None
        self._login = asyncio.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    async def find(self, name: str) -> str | None:
        """See ``activities.secrets.SecretSource``."""
        if not NAME.fullmatch(name):
            return None
        known = self._known.get(name)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        value = await self._read(name)
        if value is not None:
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            self._known[name] = (time.monotonic() + CACHE_SECONDS, value)
        return value

    def place(self, name: str) -> str:
        """See ``activities.secrets.SecretSource``."""
        return f"Vault has no {self._path(name)} with a key {FIELD!r}"

    def _path(self, name: str) -> str:
        parts = (self._address.mount, "data", self._address.path, name)
        return "/".join(part.strip("/") for part in parts if part.strip("/"))

    async def _read(self, name: str) -> str | None:
        path = self._path(name)
        async with self._client() as client:
            token = await self._current_token(client)
            status, answer = await self._ask(client, "GET", path, token)
            if status == 403 and self._address.role_id is not None:
                # The token may have been revoked before its time.
                self._token = None
                token = await self._current_token(client)
                status, answer = await self._ask(client, "GET", path, token)
        match status:
            case 200:
                return _value(answer)
            case 404 if isinstance(answer, dict) and answer.get("errors"):
                # A secret that is not there has an empty list of errors.
                raise _away(f"Vault has no KV engine (version 2) at {self._address.mount}.", False)
            case 404:
                return None
            case 403:
                raise _away(f"Vault does not let this worker read {path}: look at the policy of its token.", False)
            case _:
                raise _away(f"Vault answered {status} for {path}.", status >= 500 or status == 429)

    async def _current_token(self, client: httpx2.AsyncClient) -> str:
        async with self._login:
            ended = self._token_ends is not None and self._token_ends <= time.monotonic()
            if self._token is None or (ended and self._address.role_id is not None):
                self._token, self._token_ends = await self._log_in(client)
            return self._token

    async def _log_in(self, client: httpx2.AsyncClient) -> tuple[str, float | None]:
        body = {"role_id": self._address.role_id or "", "secret_id": self._address.secret_id or ""}
        status, answer = await self._ask(client, "POST", "auth/approle/login", None, body)
        auth = answer.get("auth") if isinstance(answer, dict) else None
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if status != 200 or not isinstance(auth, dict) or not isinstance(token, str):
            raise _away(f"Vault refuses the AppRole of this worker ({status}).", status >= 500 or status == 429)
        lease = auth.get("lease_duration")
        # Anew a little before it ends; 0 is for ever.
        return token, time.monotonic() + lease * 0.9 if isinstance(lease, int) and lease > 0 else None

    async def _ask(
        self, client: httpx2.AsyncClient, method: str, path: str, token: str | None, body: Any = None
    ) -> tuple[int, Any]:
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token
        if self._address.namespace:
            headers["X-Vault-Namespace"] = self._address.namespace
        try:
            async with asyncio.timeout(TIMEOUT * 2), client.stream(method, path, headers=headers, json=body) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > ANSWER_BYTES:
                        raise _away("Vault answered with more than 1 MiB.", False)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
            raise _away(f"Vault at {self._address.url} cannot be reached: {_reason(error)}.", True) from None
        try:
            return answer.status_code, httpx2.Response(200, content=bytes(content)).json() if content else None
        except ValueError:
            return answer.status_code, None

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=self._address.url.rstrip("/") + "/v1/",
            timeout=TIMEOUT,
            verify=ssl.create_default_context(cafile=self._address.ca_file),
            follow_redirects=False,
            trust_env=False,
        )


def _value(answer: Any) -> str | None:
    try:
        value = answer["data"]["data"][FIELD]
    except (KeyError, TypeError):
        return None
    return value if isinstance(value, str) else None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _away(message: str, retryable: bool) -> ActionError:
    return ActionError("secrets_unavailable", message, retryable)
