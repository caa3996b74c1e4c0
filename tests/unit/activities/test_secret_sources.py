"""Where secrets are looked for: order, files, and a Vault that speaks its documented wire."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from activities import vault as vault_module
from activities.errors import ActionError
from activities.secrets import EnvironmentSecrets, FileSecrets, SecretChain
from activities.vault import VaultAddress, VaultSecrets
from tests.unit.activities.action_support import Certificate, LocalServer, Received, http_answer

VALUE = 'p@ss/word+"ä"'


def answer(status: int, document: Any) -> bytes:
    """A whole answer with a JSON document."""
    return http_answer(status, json.dumps(document).encode(), content_type="application/json")


def kv(value: Any) -> dict[str, Any]:
    """What the KV engine, version 2, answers to a read."""
    metadata = {"created_time": "2026-03-22T02:24:06Z", "deletion_time": "", "destroyed": False, "version": 2}
    return {"request_id": "1", "lease_duration": 0, "data": {"data": value, "metadata": metadata}}


class FakeVault:
    """Vault's wire: a KV engine at ``secret``, and AppRole."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.tokens = {"s.good"}
        self.logins = 0
        server.answers |= {
            "/v1/secret/data/stanchion/api_key": self.guarded(answer(200, kv({"value": VALUE}))),
            "/v1/secret/data/stanchion/other": self.guarded(answer(200, kv({"password": "x"}))),
            "/v1/secret/data/stanchion/gone": self.guarded(answer(404, kv(None))),
            "/v1/secret/data/stanchion/missing": self.guarded(answer(404, {"errors": []})),
            "/v1/auth/approle/login": self.login,
        }

    def guarded(self, reply: bytes) -> Callable[[Received], Awaitable[bytes]]:
        """``reply`` for a good token, else Vault's refusal."""

        async def handle(request: Received) -> bytes:
            good = request.headers.get("x-vault-token") in self.tokens
            return reply if good else answer(403, {"errors": ["permission denied"]})

        return handle

    async def login(self, request: Received) -> bytes:
        """A new token for the right pair."""
        if json.loads(request.body) != {"role_id": "role", "secret_id": "pair"}:
            return answer(400, {"errors": ["invalid role or secret ID"]})
        self.logins += 1
        self.tokens = {f"s.{self.logins}"}
        return answer(200, {"auth": {"client_token": f"s.{self.logins}", "lease_duration": 1200, "renewable": True}})


@pytest.fixture
def vault(server: LocalServer) -> FakeVault:
    """A Vault on a free port."""
    return FakeVault(server)


def by_token(server: LocalServer, **changes: Any) -> VaultSecrets:
    """A client with a token."""
    return VaultSecrets(VaultAddress(**{"url": server.url, "token": "s.good", **changes}))


def by_role(server: LocalServer, **changes: Any) -> VaultSecrets:
    """A client with an AppRole."""
    return VaultSecrets(VaultAddress(**{"url": server.url, "role_id": "role", "secret_id": "pair", **changes}))


async def unavailable(source: VaultSecrets | FileSecrets, name: str = "api_key") -> ActionError:
    """The error that the source ends with."""
    with pytest.raises(ActionError) as caught:
        await source.find(name)
    assert caught.value.code == "secrets_unavailable"
    assert "s.good" not in caught.value.message
    assert "pair" not in caught.value.message
    return caught.value


async def test_the_first_place_that_has_it_decides(tmp_path: Path) -> None:
    """An empty value is none; the environment goes before the files."""
    (tmp_path / "a").write_text("file a")
    (tmp_path / "b").write_text("file b")
    environment = {"STANCHION_SECRET_A": "environment a", "STANCHION_SECRET_B": ""}
    chain = SecretChain([EnvironmentSecrets(environment), FileSecrets(tmp_path)])
    assert [await chain.resolve(name) for name in ("a", "b")] == ["environment a", "file b"]


async def test_an_unknown_secret_names_the_places(tmp_path: Path, vault: FakeVault) -> None:
    """The error says everything that an operator can look after."""
    chain = SecretChain([EnvironmentSecrets({}), FileSecrets(tmp_path), by_token(vault.server)])
    with pytest.raises(ActionError) as caught:
        await chain.resolve("missing")
    assert caught.value.code == "unknown_secret"
    assert caught.value.message == (
        f"The worker has no secret 'missing': STANCHION_SECRET_MISSING is not set; {tmp_path}/missing is not there; "
        "Vault has no secret/data/stanchion/missing with a key 'value'."
    )


async def test_a_file_is_a_secret(tmp_path: Path) -> None:
    """One line break at the end is the editor's; the rest is the secret; a mount's links are followed."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "key").write_text(f"{VALUE}\n\n")
    (tmp_path / "key").symlink_to(tmp_path / "..data" / "key")
    (tmp_path / "dos").write_bytes(b"x\r\n")
    files = FileSecrets(tmp_path)
    assert await files.find("key") == f"{VALUE}\n"
    assert await files.find("dos") == "x"
    (tmp_path / "..data" / "key").write_text("changed")
    assert await files.find("key") == "changed"


@pytest.mark.parametrize("name", ["../key", "..", ".hidden", "a/b", "/etc/passwd", "", "key\n"])
async def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    """No name leads out of the folder."""
    (tmp_path / "key").write_text("x")
    folder = tmp_path / "secrets"
    folder.mkdir()
    assert await FileSecrets(folder).find(name) is None


async def test_a_file_that_cannot_be_one(tmp_path: Path) -> None:
    """A folder, bytes that are no text, and a file without end are told, not cut."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "long").write_bytes(b"x" * (64 * 1024 + 1))
    for name in ("folder", "bytes", "long"):
        await unavailable(FileSecrets(tmp_path), name)


async def test_vault_with_a_token(vault: FakeVault) -> None:
    """The value of the key `value`; what was found is not asked for again at once."""
    source = by_token(vault.server, namespace="team")
    assert [await source.find("api_key") for _ in range(2)] == [VALUE, VALUE]
    (request,) = vault.server.received
    assert (request.method, request.path) == ("GET", "/v1/secret/data/stanchion/api_key")
    assert (request.headers["x-vault-token"], request.headers["x-vault-namespace"]) == ("s.good", "team")


async def test_what_vault_found_is_kept_for_a_moment(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a minute a changed value is seen; what was not there is asked for each time."""
    now = 1000.0
    monkeypatch.setattr(vault_module.time, "monotonic", lambda: now)
    source = by_token(vault.server)
    assert await source.find("api_key") == VALUE
    vault.server.answers["/v1/secret/data/stanchion/api_key"] = answer(200, kv({"value": "new"}))
    now += vault_module.CACHE_SECONDS - 1
    assert await source.find("api_key") == VALUE
    now += 2
    assert await source.find("api_key") == "new"
    assert await source.find("missing") is None
    vault.server.answers["/v1/secret/data/stanchion/missing"] = answer(200, kv({"value": "there"}))
    assert await source.find("missing") == "there"


@pytest.mark.parametrize("name", ["missing", "gone", "other", "../sys/health", ""])
async def test_what_vault_does_not_have(vault: FakeVault, name: str) -> None:
    """No secret, a deleted one, one without the key `value`, and what can be no name."""
    assert await by_token(vault.server).find(name) is None


async def test_vault_with_an_approle(vault: FakeVault) -> None:
    """The worker logs in once, and again when its token is refused or has ended."""
    source = by_role(vault.server)
    assert await source.find("api_key") == VALUE
    await source.find("missing")
    assert vault.logins == 1
    vault.tokens = set()
    await source.find("missing")
    assert vault.logins == 2


async def test_a_refused_approle(vault: FakeVault) -> None:
    """A wrong pair is told, for good, without it."""
    error = await unavailable(by_role(vault.server, role_id="wrong"))
    assert (error.message, error.retryable) == ("Vault refuses the AppRole of this worker (400).", False)


async def test_a_policy_that_forbids(vault: FakeVault) -> None:
    """A token without the right is told, with the path that it needs."""
    error = await unavailable(by_token(vault.server, token="s.bad"))
    assert "does not let this worker read secret/data/stanchion/api_key" in error.message
    assert error.retryable is False


async def test_a_vault_that_is_sealed(vault: FakeVault) -> None:
    """503 passes by itself, so the step may be tried again."""
    vault.server.answers["/v1/secret/data/stanchion/api_key"] = answer(503, {"errors": ["Vault is sealed"]})
    assert (await unavailable(by_token(vault.server))).retryable is True


async def test_a_wrong_mount(vault: FakeVault) -> None:
    """Nothing is mounted there: a fault of the settings, not a missing secret."""
    vault.server.answers["/v1/kv/data/stanchion/api_key"] = answer(404, {"errors": ["no handler for route"]})
    assert "no KV engine" in (await unavailable(by_token(vault.server, mount="kv"))).message


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\n\r\nno json", b"nonsense\r\n\r\n", b""])
async def test_a_vault_that_talks_nonsense(vault: FakeVault, reply: bytes) -> None:
    """What is no answer of Vault is none: no value, or not reachable."""
    vault.server.answers["/v1/secret/data/stanchion/api_key"] = reply
    source = by_token(vault.server)
    if reply.startswith(b"HTTP"):
        assert await source.find("api_key") is None
    else:
        assert (await unavailable(source)).retryable is True


async def test_a_vault_that_answers_without_end(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of any size does not fill the worker's memory."""
    monkeypatch.setattr(vault_module, "ANSWER_BYTES", 100)
    vault.server.answers["/v1/secret/data/stanchion/api_key"] = answer(200, kv({"value": "x" * 200}))
    assert "more than" in (await unavailable(by_token(vault.server))).message


async def test_a_vault_that_is_away() -> None:
    """An address where nobody answers is told with the address."""
    error = await unavailable(VaultSecrets(VaultAddress(url="http://127.0.0.1:1", token="s.good")))
    assert error.message.startswith("Vault at http://127.0.0.1:1 cannot be reached: ")
    assert error.retryable is True


async def test_the_certificate_of_vault_is_checked(tls_server: LocalServer, certificate: Certificate) -> None:
    """An unknown certificate is refused; one of the named file is taken."""
    tls_server.answers["/v1/secret/data/stanchion/api_key"] = answer(200, kv({"value": VALUE}))
    url = tls_server.url.replace("http:", "https:")
    assert "CERTIFICATE_VERIFY_FAILED" in (await unavailable(by_token(tls_server, url=url))).message
    assert await by_token(tls_server, url=url, ca_file=certificate.file).find("api_key") == VALUE
