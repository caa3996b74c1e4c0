"""The API as it is served, against clients that send slowly, too much, or nonsense: raw sockets on a real process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.conftest import free_port
from tests.house import ROOT

TOKEN = "test-admin-token"
HEAD_BYTES = 16_384
PATIENCE = 30
"""Seconds after which a test gives up; what is expected comes after about one."""


@dataclass
class Served:
    """The API in a process of its own."""

    port: int
    process: subprocess.Popen[bytes]

    @contextlib.contextmanager
    def connect(self) -> Iterator[socket.socket]:
        """A connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            yield connection

    def memory(self) -> int:
        """Bytes that the process holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API as ``stanchion api`` serves it, with short times."""
    with serving(tmp_path_factory.mktemp("data"), head_seconds="1", body_seconds="1.5") as served:
        yield served


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same with times that none of these tests reaches, so that what is refused is the size."""
    with serving(tmp_path_factory.mktemp("data"), head_seconds="300", body_seconds="300") as served:
        yield served


@contextlib.contextmanager
def serving(folder: Path, *, head_seconds: str, body_seconds: str) -> Iterator[Served]:
    """The API in a process of its own, ready."""
    port = free_port()
    environment = {
        **os.environ,
        "STANCHION_DATA_DIR": str(folder),
        "STANCHION_ADMIN_TOKEN": TOKEN,
        "STANCHION_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "STANCHION_HEAD_SECONDS": head_seconds,
        "STANCHION_BODY_SECONDS": body_seconds,
        "STANCHION_MAX_HEAD_BYTES": str(HEAD_BYTES),
        "STANCHION_CORS_ORIGINS": "https://ui.example.com",
        "STANCHION_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "api", "--port", str(port)], env=environment, cwd=ROOT
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200:
                    break
            time.sleep(0.05)
        yield Served(port, process)
    finally:
        process.terminate()
        process.wait(30)


def head(*fields: str, line: str = "GET /healthz HTTP/1.1") -> bytes:
    """The head of a request."""
    return "\r\n".join([line, "Host: x", *fields, "", ""]).encode()


def post(*fields: str) -> bytes:
    """The head of a request with a body."""
    return head(f"X-API-Key: {TOKEN}", *fields, line="POST /api/assets HTTP/1.1")


def until_closed(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def healthy(connection: socket.socket) -> bool:
    """Whether the whole answer of ``/healthz`` comes."""
    received = b""
    while not received.endswith(b'{"status":"ok"}') and (piece := connection.recv(65536)):
        received += piece
    return received.startswith(b"HTTP/1.1 200")


def drip(connection: socket.socket, data: bytes, pause: float = 0.1) -> bytes:
    """Sends byte by byte until the server has had enough; what it said."""
    deadline = time.monotonic() + PATIENCE
    connection.settimeout(pause)
    for number in range(len(data)):
        try:
            connection.sendall(data[number : number + 1])
            if (piece := connection.recv(65536)) or not piece:
                connection.settimeout(PATIENCE)
                return piece + until_closed(connection) if piece else b""
        except TimeoutError:
            assert time.monotonic() < deadline, "the server goes on listening"
        except (BrokenPipeError, ConnectionResetError):
            return b""
    raise AssertionError("everything was sent, and the server went on listening")


def refused(answer: bytes, status: int, code: str) -> bool:
    """Whether this is a refusal in the one shape of errors, and the end of the connection."""
    top, _, body = answer.partition(b"\r\n\r\n")
    return (
        top.startswith(f"HTTP/1.1 {status} ".encode())
        and b"connection: close" in top.lower()
        and json.loads(body)["error"]["code"] == code
    )


def test_a_whole_request_is_answered(served: Served) -> None:
    """Also when it comes in pieces, within its time; and the connection is kept for the next."""
    with served.connect() as connection:
        for _ in range(2):
            for piece in (b"GET /healthz HT", b"TP/1.1\r\nHost: x\r\n", b"\r\n"):
                connection.sendall(piece)
                time.sleep(0.05)
            assert healthy(connection)


def test_a_connection_that_says_nothing_is_closed(served: Served) -> None:
    """Without an answer: nothing was asked."""
    with served.connect() as connection:
        assert until_closed(connection) == b""


@pytest.mark.parametrize("start", [b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ", head()[:-2]])
def test_half_a_head(served: Served, start: bytes) -> None:
    """408, and the end."""
    with served.connect() as connection:
        connection.sendall(start)
        assert refused(until_closed(connection), 408, "timeout")


def test_a_head_that_never_ends(served: Served) -> None:
    """Sending a byte from time to time does not buy time: slow-loris."""
    with served.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        answer = drip(connection, b"a" * 1000)
        assert answer == b"" or refused(answer, 408, "timeout")


def test_the_second_head_of_a_connection_never_ends(served: Served) -> None:
    """A kept connection gives no more time than a new one."""
    with served.connect() as connection:
        connection.sendall(head())
        assert healthy(connection)
        answer = drip(connection, b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"a" * 1000)
        assert answer == b"" or refused(answer, 408, "timeout")


def test_many_slow_connections_hold_nobody_up(served: Served) -> None:
    """Two hundred of them; others are served meanwhile, and all are closed in the end."""
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(served.connect()) for _ in range(200)]
        for connection in slow:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for _ in range(20):
            assert httpx2.get(f"http://127.0.0.1:{served.port}/healthz").status_code == 200
        assert all(refused(until_closed(connection), 408, "timeout") for connection in slow)


@pytest.mark.parametrize("fields", [("Content-Length: 1000",), ("Transfer-Encoding: chunked",)])
def test_a_body_that_never_comes(served: Served, fields: tuple[str, ...]) -> None:
    """408: the application waits no longer than the connection."""
    with served.connect() as connection:
        connection.sendall(post(*fields))
        assert refused(until_closed(connection), 408, "timeout")


def test_a_body_that_never_ends(served: Served) -> None:
    """Byte by byte, well below any limit of size."""
    with served.connect() as connection:
        connection.sendall(post("Content-Length: 5000"))
        answer = drip(connection, b"a" * 4999)
        assert answer == b"" or refused(answer, 408, "timeout")


def test_a_body_that_goes_on_after_its_answer(served: Served) -> None:
    """A route that reads no body has answered long ago; the rest is not listened to for ever."""
    with served.connect() as connection:
        connection.sendall(head("Content-Length: 5000"))
        assert healthy(connection)
        assert drip(connection, b"a" * 4999) == b""


def test_trailers_that_never_end(served: Served) -> None:
    """They are counted as fields of the head."""
    with served.connect() as connection:
        connection.sendall(post("Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for number in range(2000):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))
        until_closed(connection)


@pytest.mark.parametrize("piece", [1, 100_000])
@pytest.mark.parametrize(
    "start",
    [b"GET /", b"GET / HTTP/1.1\r\nX-Large: ", b"GET / HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nX"],
)
def test_a_head_that_is_too_large(patient: Served, start: bytes, piece: int) -> None:
    """Its target, one field, many fields, the name of one: 431 long before it is there, and nothing of it is kept."""
    filler = b"X-1: y\r\n" if start.endswith(b"\r\n") else b"a"
    before = patient.memory()
    with patient.connect() as connection:
        connection.sendall(start)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(400 if piece == 1 else 800):
                connection.sendall(filler * (100 if piece == 1 else piece // len(filler)))
        answer = until_closed(connection)
    assert answer == b"" or refused(answer, 431, "too_large")
    assert patient.memory() - before < 30_000_000


def test_a_large_head_that_comes_in_one_piece(patient: Served) -> None:
    """Nothing comes after it that could be counted."""
    with patient.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Large: " + b"a" * (HEAD_BYTES + 2000))
        assert refused(until_closed(connection), 431, "too_large")


def test_a_head_of_many_fields(patient: Served) -> None:
    """In one piece, and below the limit of size."""
    with patient.connect() as connection:
        connection.sendall(head(*(f"X-{number}: y" for number in range(300))))
        assert refused(until_closed(connection), 431, "too_large")


def test_a_head_that_just_fits(served: Served) -> None:
    """The limit is what the setting says."""
    with served.connect() as connection:
        connection.sendall(head("X-Large: " + "a" * (HEAD_BYTES - 200)))
        assert healthy(connection)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST /api/assets HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/assets HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/assets HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/assets HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX-A: b\x00c\r\n\r\n",
    ],
)
def test_what_is_no_request(served: Served, request_bytes: bytes) -> None:
    """400 in the one shape, and the end: what can be read in two ways is not read at all."""
    with served.connect() as connection:
        connection.sendall(request_bytes)
        assert refused(until_closed(connection), 400, "bad_request")


def test_a_second_request_hidden_in_a_body_is_not_answered(served: Served) -> None:
    """Two lengths that disagree are how requests are smuggled past a proxy."""
    hidden = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    with served.connect() as connection:
        connection.sendall(post(f"Content-Length: {len(hidden)}", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + hidden)
        answer = until_closed(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert refused(answer, 400, "bad_request")


def test_an_answer_may_take_its_time(served: Served) -> None:
    """The deadlines are for requests: pipelined ones are answered one by one, and a kept connection goes on."""
    with served.connect() as connection:
        connection.sendall(head() * 3)
        received = b""
        while received.count(b"HTTP/1.1 200") < 3:
            piece = connection.recv(65536)
            assert piece, received
            received += piece


def test_headers_of_every_answer(served: Served) -> None:
    """Nothing is sniffed, framed, stored or referred; a page's own policy goes before the strict one."""
    base = f"http://127.0.0.1:{served.port}"
    for path in ("/healthz", "/api/assets", "/nothing", "/docs", "/openapi.json", "/rest/version"):
        headers = httpx2.get(base + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers.get_list("content-security-policy") == [headers["content-security-policy"]]
        assert "server" not in headers
        assert "strict-transport-security" not in headers


def preflight(base: str, origin: str, path: str = "/api/assets") -> httpx2.Response:
    """What a browser asks before a page of ``origin`` may send a token."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    return httpx2.request("OPTIONS", base + path, headers=asked)


def test_an_origin_that_is_allowed(served: Served) -> None:
    """It may send tokens and read what it needs of the answer's headers; cookies are of no use."""
    base = f"http://127.0.0.1:{served.port}"
    answer = preflight(base, "https://ui.example.com")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://ui.example.com"
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in answer.headers
    read = httpx2.get(f"{base}/api/assets", headers={"Origin": "https://ui.example.com"})
    assert read.headers["access-control-allow-origin"] == "https://ui.example.com"
    assert "Origin" in read.headers["vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://ui.example.com",
        "https://ui.example.com.evil.org",
        "null",
        "https://ui.example.com:8443",
    ],
)
def test_any_other_origin(served: Served, origin: str) -> None:
    """Nothing allows it."""
    base = f"http://127.0.0.1:{served.port}"
    assert "access-control-allow-origin" not in preflight(base, origin).headers
    assert "access-control-allow-origin" not in httpx2.get(f"{base}/healthz", headers={"Origin": origin}).headers
