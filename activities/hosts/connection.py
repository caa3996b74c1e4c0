"""The one way to a host: SSH through the egress guard, with the server's key checked, bounded in time and output.

Nothing of the worker's own account is used: no agent, no ``~/.ssh``, no configuration.  Import this module inside of
the functions that use it: the library behind it is heavy, and the API loads the catalogue too.

::

    async with connected(inputs, context) as host:
        done = await host.run("uname -r")
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncssh

from activities.action import ActionContext
from activities.errors import ActionError
from activities.hosts.host_keys import HostKeyCheck, trusted_keys
from activities.hosts.session import Host
from activities.hosts.target import HostInput, Login

KEEPALIVE = {"keepalive_interval": 15, "keepalive_count_max": 3}
"""Seconds between questions to a silent server, and how many it may leave unanswered."""

CLOSING = 0.3
"""Seconds that a connection has to say goodbye."""

NOTHING_OF_THE_WORKER: dict[str, Any] = {
    "config": None,
    "agent_path": None,
    "pkcs11_provider": None,
    "client_host_keys": None,
    "host_based_auth": False,
    "gss_host": None,
    "gss_auth": False,
    "gss_kex": False,
    "x509_trusted_certs": None,
    "x509_trusted_cert_paths": [],
    "env": None,
    "send_env": None,
    "disable_trivial_auth": True,
}

# At INFO the library logs every command.
logging.getLogger("asyncssh").setLevel(logging.WARNING)


@asynccontextmanager
async def connected(target: HostInput, context: ActionContext) -> AsyncIterator[Host]:
    """A connection to ``target``, through its jump host where it has one; closed afterwards.

    Raises ``ActionError``: ``egress_refused``, ``resolve_failed``, ``connect_failed``, ``connection_lost``,
    ``timed_out``, ``host_key_unknown``, ``host_key_changed``, ``login_refused``, ``no_credentials``, ``invalid_key``,
    ``ssh_failed``, ``store_unavailable``.
    """
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(target.connect_timeout):
                tunnel = None
                if target.jump is not None:
                    tunnel = await enter(stack, target.jump, context, None)
                connection = await enter(stack, target, context, tunnel)
        except TimeoutError:
            raise ActionError(
                "timed_out", f"{target.place}: no SSH session within {target.connect_timeout:g} s."
            ) from None
        try:
            yield Host(connection, target.place)
        except (asyncssh.Error, ConnectionError) as error:
            raise explained(error, target) from None


async def enter(
    stack: AsyncExitStack, login: Login, context: ActionContext, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    """A connection that ``stack`` closes, through ``tunnel`` where there is one.  Raises what ``connected`` raises."""
    connection = await _open(login, context, tunnel)
    stack.push_async_callback(_close, connection)
    return connection


async def _open(
    login: Login, context: ActionContext, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    """A connection to the first allowed address that accepts one."""
    credentials = await _credentials(login)
    trusted = await trusted_keys(login, context.stores.host_keys)
    failure: ActionError | None = None
    for address in await context.egress.resolve(login.host, login.port):
        check = HostKeyCheck(login, trusted)
        try:
            return await asyncssh.connect(
                address,
                login.port,
                tunnel=tunnel,
                client_factory=lambda check=check: check,
                username=login.username,
                # Never empty: the library would read the worker's own known_hosts.
                known_hosts=(check.keys, [], []),
                server_host_key_algs=check.algorithms(),
                **credentials,
                **KEEPALIVE,
                **NOTHING_OF_THE_WORKER,
            )
        except asyncssh.HostKeyNotVerifiable:
            raise check.refusal() from None
        except (OSError, asyncssh.Error) as error:
            failure = explained(error, login)
            if failure.code != "connect_failed":
                raise failure from None
    assert failure is not None
    raise failure


async def _credentials(login: Login) -> dict[str, Any]:
    if login.private_key is None and login.password is None:
        raise ActionError(
            "no_credentials",
            f"No private key and no password are given for {login.username} at {login.place}.",
            retryable=False,
        )
    keys = None
    if login.private_key is not None:
        # In a thread: the function that turns a passphrase into a key is slow on purpose.
        keys = [await asyncio.to_thread(private_key, login)]
    return {"client_keys": keys, "password": login.password, "passphrase": None}


def private_key(login: Login) -> asyncssh.SSHKey:
    """The private key of ``login``, out of its passphrase.  Raises ``ActionError`` with code ``invalid_key``."""
    assert login.private_key is not None
    # A secret that came through an environment variable may have lost its last line's end.
    text = login.private_key.strip() + "\n"
    try:
        return asyncssh.import_private_key(text, login.passphrase)
    except asyncssh.KeyEncryptionError:
        reason = "its passphrase is wrong" if login.passphrase else "it needs a passphrase"
    except (asyncssh.KeyImportError, ValueError):
        reason = "it is no private key, or one that needs a passphrase"
    raise ActionError(
        "invalid_key", f"The private key for {login.place} cannot be used: {reason}.", retryable=False
    ) from None


def explained(error: Exception, login: Login) -> ActionError:
    """``error`` in the words of a playbook."""
    if isinstance(error, asyncssh.PermissionDenied):
        return ActionError("login_refused", f"{login.place} refused the login of {login.username}.", retryable=False)
    if isinstance(error, asyncssh.ConnectionLost | ConnectionResetError | BrokenPipeError):
        return ActionError("connection_lost", f"The connection to {login.place} broke: {error}.")
    if isinstance(error, asyncssh.ChannelOpenError):
        return ActionError("connect_failed", f"Cannot connect to {login.place}: {error.reason}.")
    if isinstance(error, OSError):
        return ActionError("connect_failed", f"Cannot connect to {login.place}: {error.strerror or error}.")
    return ActionError("ssh_failed", f"{login.place}: {error}.", retryable=False)


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    try:
        async with asyncio.timeout(CLOSING):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()
