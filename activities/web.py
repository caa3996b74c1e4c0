"""The one HTTP client under every action: guarded, bounded in time and size, its errors in the words of a playbook.

No proxy of the environment is used: it would connect for us, past the guard.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import IO
from urllib.parse import urlencode

import httpcore2
import httpx2

from activities.egress import EgressPolicy
from activities.errors import ActionError

CONNECT_TIMEOUT = 10.0
"""Seconds that one address has to accept a connection."""

MAX_REDIRECTS = 5

ERROR_BYTES = 256 * 1024
"""Bytes that are read of the answer that says why a file cannot be had."""

OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
"""Headers that the client alone writes; a playbook that could would speak to another host than the one checked."""

# At INFO the library logs every address, with the tokens that stand in it.
logging.getLogger("httpx2").setLevel(logging.WARNING)

HOST = re.compile(r"[A-Za-z0-9._-]+")
"""A name or an IPv4 address; the URL's parser lets a colon through only inside a valid IPv6 address."""

IDENTITY = ("", "identity")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request; ``timeout`` in seconds for all of it, ``max_bytes`` of the decoded body."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    query: list[tuple[str, str]] = field(default_factory=list)
    content: bytes | None = None
    timeout: float = 30.0
    follow_redirects: bool = True
    max_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, after redirects; header names in lower case, repeated ones joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes
    charset: str
    url: str

    @property
    def text(self) -> str:
        """The body as text; what does not decode is replaced."""
        try:
            return self.body.decode(self.charset, "replace")
        except LookupError:  # a charset that nobody knows
            return self.body.decode("utf-8", "replace")


async def send(call: Call, policy: EgressPolicy) -> Answer:
    """Send ``call`` and read the answer, whatever its status.

    Raises ``ActionError``: ``invalid_url``, ``egress_refused``, ``resolve_failed``, ``connect_failed``,
    ``tls_failed``, ``connection_lost``, ``too_many_redirects``, ``response_too_large``, ``unsupported_encoding``,
    ``timed_out``.
    """
    return await _sent(call, policy, partial(_read, max_bytes=call.max_bytes))


async def fetch(call: Call, policy: EgressPolicy, file: IO[bytes]) -> Answer:
    """Send ``call`` and write the body of a success into ``file``, as it comes; that of another answer is read.

    The body is written as it was sent, packed or not, up to ``call.max_bytes``.  Raises ``ActionError`` as ``send``.
    """
    return await _sent(call, policy, partial(_keep, file=file, max_bytes=call.max_bytes))


async def _sent(call: Call, policy: EgressPolicy, read: Callable[[httpx2.Response], Awaitable[Answer]]) -> Answer:
    url = parse_url(call.url)
    where = f"{call.method} {shown(url)}"
    try:
        async with asyncio.timeout(call.timeout):
            context = await asyncio.to_thread(_tls_context)
            async with httpx2.AsyncClient(transport=GuardedTransport(policy, context), trust_env=False) as client:
                return await _exchange(client, call, url, read)
    except TimeoutError:
        raise ActionError("timed_out", f"{where}: no answer within {call.timeout:g} s.") from None
    except httpx2.HTTPError as error:
        raise _explained(error, where) from None


def parse_url(text: str) -> httpx2.URL:
    """The URL.  Raises ``ActionError`` with code ``invalid_url`` unless it is http(s), with a host and no password."""
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise ActionError("invalid_url", f"Not a URL: {error}.", retryable=False) from None
    check_url(url)
    return url


def check_url(url: httpx2.URL) -> None:
    """Raise ``ActionError`` with code ``invalid_url`` for a URL that no action may call."""
    host = url.raw_host.decode("ascii")
    if url.scheme not in ("http", "https") or not (HOST.fullmatch(host) or ":" in host):
        raise ActionError("invalid_url", "The URL must begin with http:// or https:// and a host.", retryable=False)
    if url.userinfo:
        raise ActionError("invalid_url", "A user and password do not belong into a URL, but into a header.", False)
    if url.port is not None and not 0 < url.port < 65536:
        raise ActionError("invalid_url", "The URL's port is out of range.", retryable=False)


def shown(url: httpx2.URL) -> str:
    """``url`` for a message: without the query, where tokens stand."""
    return str(url.copy_with(query=None, fragment=None))


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Checks every URL, those of redirects too, and connects through the egress guard only."""

    def __init__(self, policy: EgressPolicy, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        # The base class has no parameter for the network backend, which is where names become addresses.
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=GuardedBackend(policy))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.  Raises ``ActionError`` for a URL or an address that is refused."""
        check_url(request.url)
        return await super().handle_async_request(request)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a name once and connects to exactly the addresses that were judged; TLS still names the host."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first allowed address that accepts one.

        Raises ``ActionError`` (``egress_refused``, ``resolve_failed``) and what the last address raised.
        """
        addresses = await self._policy.resolve(host, port)
        for address in addresses[:-1]:
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._sockets.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises ``ActionError``: there is no reason to reach a local socket."""
        raise ActionError("egress_refused", "Local sockets are not allowed.", retryable=False)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def _exchange(
    client: httpx2.AsyncClient, call: Call, url: httpx2.URL, read: Callable[[httpx2.Response], Awaitable[Answer]]
) -> Answer:
    own = {"accept-encoding": "identity", "user-agent": "stanchion"}
    request = client.build_request(
        call.method,
        _with_query(url, call.query),
        headers={**own, **call.headers},
        content=call.content,
        timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT),
    )
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            following = response.next_request if call.follow_redirects else None
            if following is None:
                return await read(response)
        finally:
            await response.aclose()
        request = _for_other_host(following, request.url, call)
    raise ActionError("too_many_redirects", f"More than {MAX_REDIRECTS} redirects.", retryable=False)


def _with_query(url: httpx2.URL, query: list[tuple[str, str]]) -> httpx2.URL:
    if not query:
        return url
    return url.copy_with(query=b"&".join(filter(None, [url.query, urlencode(query).encode()])))


def _for_other_host(following: httpx2.Request, origin: httpx2.URL, call: Call) -> httpx2.Request:
    """The redirected request, without the playbook's headers when it leaves the origin: they may hold keys."""
    if (following.url.scheme, following.url.raw_host, following.url.port) != (
        origin.scheme,
        origin.raw_host,
        origin.port,
    ):
        for name in call.headers:
            if name.lower() != "content-type":
                following.headers.pop(name, None)
    return following


async def _read(response: httpx2.Response, max_bytes: int) -> Answer:
    decoder = _Decoder(response.headers.get("content-encoding", "").strip().lower(), max_bytes)
    async for chunk in response.aiter_raw():
        decoder.feed(chunk)
    return Answer(
        status=response.status_code,
        headers=dict(response.headers),
        body=bytes(decoder.body),
        charset=response.charset_encoding or "utf-8",
        url=str(response.url),
    )


async def _keep(response: httpx2.Response, file: IO[bytes], max_bytes: int) -> Answer:
    if not response.is_success:
        return await _read(response, ERROR_BYTES)
    written = 0
    async for chunk in response.aiter_raw():
        written += len(chunk)
        if written > max_bytes:
            message = f"The file is larger than {max_bytes} bytes; the rest was not read."
            raise ActionError("response_too_large", message, retryable=False)
        file.write(chunk)
    return Answer(response.status_code, dict(response.headers), b"", "utf-8", str(response.url))


class _Decoder:
    """Collects a body; unpacks gzip and deflate no further than the limit, so that a small answer cannot grow big."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self.body = bytearray()
        self._encoding = encoding
        self._max_bytes = max_bytes
        # 47: zlib and gzip, told apart by the header (zlib manual, inflateInit2).
        self._inflate = None if encoding in IDENTITY else zlib.decompressobj(47)

    def feed(self, chunk: bytes) -> None:
        """Add what came.  Raises ``ActionError`` with code ``response_too_large`` or ``unsupported_encoding``."""
        if self._encoding not in (*IDENTITY, "gzip", "x-gzip", "deflate"):
            raise ActionError("unsupported_encoding", f"The answer came as {self._encoding}.", retryable=False)
        if self._inflate is None:
            self.body += chunk
        else:
            try:
                self.body += self._inflate.decompress(chunk, self._max_bytes + 1 - len(self.body))
            except zlib.error as error:
                message = f"The answer's compression is broken: {error}."
                raise ActionError("unsupported_encoding", message, retryable=False) from None
        if len(self.body) > self._max_bytes:
            self.body.clear()  # the error outlives it
            message = f"The answer's body is larger than {self._max_bytes} bytes; the rest was not read."
            raise ActionError("response_too_large", message, retryable=False)


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    """The context of all connections; made once, since reading the certificates takes tens of milliseconds."""
    return httpx2.create_ssl_context()


def _explained(error: httpx2.HTTPError, where: str) -> ActionError:
    causes = list(_causes(error))
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        if tls is not None:
            certificate = isinstance(tls, ssl.SSLCertVerificationError)
            reason = tls.verify_message if isinstance(tls, ssl.SSLCertVerificationError) else tls.reason or str(tls)
            return ActionError("tls_failed", f"{where}: TLS failed: {reason}.", retryable=not certificate)
        system = [cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno]
        reason = os.strerror(system[-1]) if system else "no connection in time"
        return ActionError("connect_failed", f"{where}: cannot connect: {reason}.")
    if isinstance(error, httpx2.LocalProtocolError):
        return ActionError("invalid_input", f"{where}: cannot be sent: {error}.", retryable=False)
    return ActionError("connection_lost", f"{where}: {(str(error) or type(error).__name__).rstrip('.')}.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was made from; the libraries keep that in the cause, the context or the arguments."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        links = [current.__cause__, current.__context__, *current.args]
        waiting.extend(link for link in links if isinstance(link, BaseException))
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
