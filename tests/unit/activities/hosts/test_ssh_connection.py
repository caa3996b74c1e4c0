"""The one way to a host: whose key counts, what of the worker is used, what cannot be connected to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from activities.action import ActionContext, ActionError
from activities.egress import EgressPolicy
from activities.hosts.command import CommandInput, SshCommand
from activities.hosts.scan import fingerprint_of, shown_keys
from storage import host_keys
from storage.database import Database
from tests.hosts import Machine
from tests.unit.activities.action_support import make_context

OTHER = " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[:2])


async def ssh(machine: Machine, context: ActionContext | None = None, **changes: Any) -> str:
    """What ``id -un`` says on ``machine``."""
    inputs = CommandInput.model_validate({**machine.login(), "command": "id -un", **changes})
    return (await SshCommand().run(inputs, context or make_context())).stdout.strip()


async def refused(machine: Machine, context: ActionContext | None = None, **changes: Any) -> ActionError:
    """Why it did not come to that."""
    with pytest.raises(ActionError) as caught:
        await ssh(machine, context, **changes)
    return caught.value


def trust(database: Database, machine: Machine, key: str) -> None:
    """Trust ``key`` as that of ``machine``."""
    new = host_keys.new_host_key("127.0.0.1", machine.port, key, created_at=1, created_by="test")
    database.write_sync(host_keys.trust, new)


async def test_an_unknown_key(machine: Machine, stored: ActionContext) -> None:
    """Nobody has trusted it: its fingerprint is told, and nothing runs."""
    error = await refused(machine, stored, host_key=None)
    assert (error.code, error.retryable) == ("host_key_unknown", False)
    assert fingerprint_of(machine.host_key) in error.message
    assert f"stanchion host trust 127.0.0.1:{machine.port}" in error.message


async def test_without_a_store_nothing_is_known(machine: Machine) -> None:
    """No store is no reason to accept a key."""
    assert (await refused(machine, host_key=None)).code == "host_key_unknown"


async def test_a_stored_key(machine: Machine, stored: ActionContext, key_database: Database) -> None:
    """The key of that host and port counts, and no other one does."""
    trust(key_database, machine, machine.host_key)
    assert await ssh(machine, stored, host_key=None) == "root"


async def test_a_changed_key(machine: Machine, stored: ActionContext, key_database: Database) -> None:
    """The host shows another one than the trusted one: both ways out are told, and nothing runs."""
    trust(key_database, machine, OTHER)
    error = await refused(machine, stored, host_key=None)
    assert (error.code, error.retryable) == ("host_key_changed", False)
    assert fingerprint_of(machine.host_key) in error.message


async def test_a_trusted_key_of_another_kind(machine: Machine, stored: ActionContext, key_database: Database) -> None:
    """Who trusted the RSA key only is shown that one, though the server has others."""
    keys = await shown_keys("127.0.0.1", machine.port)
    assert sorted(key.partition(" ")[0] for key in keys.values()) == ["ssh-ed25519", "ssh-rsa"]
    trust(key_database, machine, next(key for key in keys.values() if key.startswith("ssh-rsa")))
    assert await ssh(machine, stored, host_key=None) == "root"


async def test_a_fingerprint(machine: Machine) -> None:
    """A fingerprint in the playbook counts, and so does a line of known_hosts."""
    assert await ssh(machine, host_key=[fingerprint_of(machine.host_key)]) == "root"
    assert await ssh(machine, host_key=[f"[127.0.0.1]:{machine.port} {machine.host_key} a comment"]) == "root"
    assert (await refused(machine, host_key=[fingerprint_of(OTHER)])).code == "host_key_changed"
    assert (await refused(machine, host_key=[])).code == "host_key_unknown"


async def test_nothing_of_the_worker_is_used(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its configuration, nor its known hosts, nor its keys."""
    ssh_folder = tmp_path / ".ssh"
    ssh_folder.mkdir()
    (ssh_folder / "config").write_text("Host *\n  Port 1\n  User nobody\n  StrictHostKeyChecking no\n")
    (ssh_folder / "known_hosts").write_text(f"[127.0.0.1]:{machine.port} {machine.host_key}\n")
    (ssh_folder / "id_ed25519").write_text(machine.private_key)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert await ssh(machine) == "root"
    assert (await refused(machine, host_key=None)).code == "host_key_unknown"
    assert (await refused(machine, private_key=None)).code == "no_credentials"
    assert (await refused(machine, private_key=None, password="x")).code == "login_refused"


async def test_a_passphrase(machine: Machine) -> None:
    """It opens the key; without it, or with another, the key is of no use, and the error shows neither."""
    key = asyncssh.import_private_key(machine.private_key).export_private_key(passphrase="open sesame").decode()
    assert await ssh(machine, private_key=key, passphrase="open sesame") == "root"
    assert (await refused(machine, private_key=key)).code == "invalid_key"
    error = await refused(machine, private_key=key, passphrase="open barley")
    assert (error.code, error.retryable) == ("invalid_key", False)
    assert "barley" not in error.message


async def test_a_key_that_is_none(machine: Machine) -> None:
    """It is told apart from a key that the host refuses."""
    assert (await refused(machine, private_key="nonsense")).code == "invalid_key"
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    assert (await refused(machine, private_key=other)).code == "login_refused"


async def test_a_jump_host(machine: Machine) -> None:
    """The connection goes through it; its key is checked like any other."""
    jump = machine.login(username="ops")
    assert await ssh(machine, jump=jump) == "root"
    assert "127.0.0.1" in await ssh(machine, jump=jump, command="echo $SSH_CONNECTION")
    assert (await refused(machine, jump={**jump, "host_key": [OTHER]})).code == "host_key_changed"
    assert (await refused(machine, jump=jump, host_key=[OTHER])).code == "host_key_changed"
    assert (await refused(machine, jump=jump, port=1)).code == "connect_failed"


async def test_the_egress_guard(machine: Machine) -> None:
    """What no action may connect to, no SSH does, directly or through a jump host."""
    closed = make_context(egress=EgressPolicy())
    assert (await refused(machine, closed)).code == "egress_refused"
    one_port = make_context(egress=EgressPolicy.parse(f"127.0.0.1:{machine.port}"))
    assert (await refused(machine, one_port, port=1, jump=machine.login())).code == "egress_refused"


async def test_nobody_listens(machine: Machine) -> None:
    """It can be tried again."""
    error = await refused(machine, port=1)
    assert (error.code, error.retryable) == ("connect_failed", True)


async def served(answer: bytes | None) -> asyncio.Server:
    """A server that says ``answer`` to everybody and hangs up, or says nothing and hangs."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("answer", "code"),
    [(None, "timed_out"), (b"", "connection_lost"), (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, "ssh_failed")],
)
async def test_no_ssh_server(machine: Machine, answer: bytes | None, code: str) -> None:
    """A server that hangs, hangs up or speaks another protocol ends in an error within the time to connect."""
    async with await served(answer) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await refused(machine, port=port, connect_timeout=0.5)).code == code


async def test_the_connection_breaks(machine: Machine) -> None:
    """The host goes away in the middle of a command."""
    # The parent of the command's shell is the server's process for this connection.
    error = await refused(machine, command="kill -KILL $PPID; sleep 60")
    assert (error.code, error.retryable) == ("connection_lost", True)
