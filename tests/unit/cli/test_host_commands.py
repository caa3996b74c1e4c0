"""``stanchion host`` as it is typed: a real SSH server shows its keys, a real HTTP server takes them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest
from typer.testing import CliRunner, Result

from cli.hosts import split_place
from cli.main import app
from tests.fake_api import Asked, FakeApi, Reply

KEYS = [asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ecdsa-sha2-nistp256")]
LINES = {key.get_fingerprint(): " ".join(key.export_public_key().decode().split()[:2]) for key in KEYS}


@dataclass
class SshServer:
    """An SSH server in a thread of its own."""

    place: str
    port: int


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    """A server with an Ed25519 and an ECDSA key."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen("127.0.0.1", 0, server_host_keys=KEYS)

    async def close() -> None:
        acceptor.close()
        await acceptor.wait_closed()

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    yield SshServer(f"127.0.0.1:{acceptor.get_port()}", acceptor.get_port())
    asyncio.run_coroutine_threadsafe(close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def keeping(*fingerprints: str) -> FakeApi:
    """An API that has these keys, and takes what it is sent."""
    kept = [
        {"id": str(number), "host": "127.0.0.1", "port": 22, "algorithm": "x", "fingerprint": one, "created_at": "now"}
        for number, one in enumerate(fingerprints)
    ]

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply(body={"data": kept, "meta": {"total": len(kept), "page": 1, "per_page": 100}})
        return Reply(204) if asked.method == "DELETE" else Reply(201, asked.json)

    return FakeApi(answer)


def stanchion(api: FakeApi, *arguments: str, typed: str = "") -> Result:
    """The outcome of ``stanchion host …``."""
    return CliRunner().invoke(app, ["host", *arguments, "--url", api.url, "--token", "secret"], input=typed)


def sent(api: FakeApi) -> list[dict[str, object]]:
    """The keys that the API was given."""
    return [asked.json for asked in api.asked if asked.method == "POST"]


def test_trust_shows_and_asks(server: SshServer) -> None:
    """Every key of the server is shown; with yes they are trusted for its host and port."""
    with keeping() as api:
        outcome = stanchion(api, "trust", server.place, typed="y\n")
    assert outcome.exit_code == 0, outcome.output
    assert all(fingerprint in outcome.stdout for fingerprint in LINES)
    assert sent(api) == [
        {"host": "127.0.0.1", "port": server.port, "key": line, "replace": False} for line in LINES.values()
    ]


def test_trust_takes_no_for_an_answer(server: SshServer) -> None:
    """Nothing is trusted, and the command says so with its exit code."""
    with keeping() as api:
        outcome = stanchion(api, "trust", server.place, typed="n\n")
    assert (outcome.exit_code, sent(api)) == (1, [])


def test_trust_by_fingerprint(server: SshServer) -> None:
    """A fingerprint that was compared beforehand is trusted without a question; one that is not shown, never."""
    (fingerprint, line), _ = LINES.items()
    with keeping() as api:
        assert stanchion(api, "trust", server.place, "--fingerprint", fingerprint).exit_code == 0
        assert stanchion(api, "trust", server.place, "--fingerprint", "SHA256:" + "a" * 43).exit_code == 1
    assert [one["key"] for one in sent(api)] == [line]


def test_trust_warns_of_other_keys(server: SshServer) -> None:
    """A host whose keys have all changed is not trusted in passing; --replace forgets the old ones once."""
    with keeping("SHA256:" + "b" * 43) as api:
        outcome = stanchion(api, "trust", server.place, "--replace", "--yes")
    assert "OTHER KEYS THAN BEFORE" in outcome.stderr
    assert [one["replace"] for one in sent(api)] == [True, False]


def test_trust_from_a_file(tmp_path: Path) -> None:
    """Keys that were fetched by another way are taken from a file; nobody is asked for them."""
    file = tmp_path / "known_hosts"
    file.write_text("# comment\n" + "".join(f"web-01 {line} comment\n" for line in LINES.values()))
    with keeping() as api:
        assert stanchion(api, "trust", "web-01", "--key-file", str(file), "--yes").exit_code == 0
    assert [(one["host"], one["port"], one["key"]) for one in sent(api)] == [
        ("web-01", 22, line) for line in LINES.values()
    ]


def test_trust_of_no_server() -> None:
    """Where nothing answers nothing is trusted."""
    with keeping() as api:
        outcome = stanchion(api, "trust", "127.0.0.1:1", "--yes")
    assert (outcome.exit_code, sent(api)) == (1, [])
    assert "Cannot read the host keys" in outcome.stderr


def test_list_and_forget() -> None:
    """What counts is listed, and forgotten by host."""
    with keeping("SHA256:x", "SHA256:y") as api:
        assert "SHA256:y" in stanchion(api, "list").stdout
        assert stanchion(api, "forget", "127.0.0.1").exit_code == 0
    assert [asked.path for asked in api.asked if asked.method == "DELETE"] == ["/api/host-keys/0", "/api/host-keys/1"]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("web-01", ("web-01", 22)),
        ("web-01:2222", ("web-01", 2222)),
        ("2001:db8::1", ("2001:db8::1", 22)),
        ("[2001:db8::1]:2222", ("2001:db8::1", 2222)),
    ],
)
def test_places(place: str, expected: tuple[str, int]) -> None:
    """A host, with or without a port."""
    assert split_place(place) == expected
