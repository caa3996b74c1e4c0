"""Whether a server is the one that is meant: its key against those that somebody has trusted.

There is no way around it: a host without a trusted key is not spoken to, whatever the playbook says.
"""

from __future__ import annotations

import asyncssh

from activities.errors import ActionError
from activities.hosts.target import FINGERPRINT, Login, public_key_of
from activities.stores import HostKeyStore

ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Kinds of host keys, and the signatures that are taken of them; never RSA with SHA-1 (RFC 8332)."""


class HostKeyCheck(asyncssh.SSHClient):
    """Judges the key that the server of ``login`` shows, and remembers one that it refuses.

    ``trusted`` are public keys and fingerprints, as ``trusted_keys`` finds them.
    """

    def __init__(self, login: Login, trusted: list[str]) -> None:
        self.login = login
        self.fingerprints = {key for key in trusted if FINGERPRINT.fullmatch(key)}
        self.keys = [
            asyncssh.import_public_key(key) for line in trusted if (key := public_key_of(line)) and _known_kind(key)
        ]
        self.refused: asyncssh.SSHKey | None = None

    def algorithms(self) -> list[str]:
        """Signature algorithms in the order of preference: those of trusted keys first.

        A server has several keys and shows the one that is asked for first; the others are asked for too, since a
        server that was set up anew may have none of the kind that it had.
        """
        kinds = [key.get_algorithm() for key in self.keys]
        wanted = sorted(ALGORITHMS, key=lambda kind: kind not in kinds)
        return [name for kind in wanted for name in ALGORITHMS[kind]]

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """True for a key whose fingerprint is trusted; whole keys are compared by the library before."""
        if key.get_fingerprint() in self.fingerprints:
            return True
        self.refused = key
        return False

    def refusal(self) -> ActionError:
        """What to say of the refused key."""
        assert self.refused is not None
        shown = f"{self.refused.get_algorithm()} {self.refused.get_fingerprint()}"
        if self.keys or self.fingerprints:
            return ActionError(
                "host_key_changed",
                f"{self.login.place} shows another host key than the trusted one: {shown}. Either the server was set "
                "up anew, or somebody sits in between. If it is right: stanchion host trust --replace "
                f"{self.login.place}.",
                retryable=False,
            )
        return ActionError(
            "host_key_unknown",
            f"The host key of {self.login.place} is not trusted: {shown}. If it is right: stanchion host trust "
            f"{self.login.place}.",
            retryable=False,
        )


async def trusted_keys(login: Login, store: HostKeyStore | None) -> list[str]:
    """The keys and fingerprints that count for ``login``: its own, or else those of the store."""
    if login.host_key is not None:
        return list(login.host_key)
    return [] if store is None else await store.keys_of(login.host, login.port)


def _known_kind(key: str) -> bool:
    return key.partition(" ")[0] in ALGORITHMS
