"""Which host an action works on, and as whom: the fields that every action over SSH has."""

from __future__ import annotations

import base64
import binascii
import re
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from activities.action import InputModel
from playbooks.record import Json

HOST_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$|^[0-9A-Fa-f:.]{2,45}$"
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def _host_key(text: str) -> str:
    """A fingerprint or a public key as it was given.  Raises ``ValueError`` for anything else."""
    if FINGERPRINT.fullmatch(text.strip()) or public_key_of(text):
        return text.strip()
    raise ValueError("a host key is SHA256:… or a line such as ssh-ed25519 AAAA…")


def public_key_of(line: str) -> str | None:
    """``ssh-ed25519 AAAA…`` out of a line of a ``.pub`` or ``known_hosts`` file; None when there is no key in it."""
    words = line.split()
    for kind, blob in pairwise(words):
        try:
            decoded = base64.b64decode(blob, validate=True)
        except (binascii.Error, ValueError):
            continue
        # RFC 4253, section 6.6: the blob begins with the length and the name of its algorithm.
        if decoded[4 : 4 + len(kind)] == kind.encode() and int.from_bytes(decoded[:4], "big") == len(kind):
            return f"{kind} {blob}"
    return None


Host = Annotated[str, Field(pattern=HOST_NAME, description="Name or address of the host.")]
Port = Annotated[int, Field(ge=1, le=65535, description="Port of its SSH server.")]
User = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}$", description="Who logs in.")]
PrivateKey = Annotated[
    str | None, Field(max_length=32 * 1024, description="Private key, OpenSSH or PEM; a secret: {{ secrets.ssh_key }}.")
]
Passphrase = Annotated[str | None, Field(max_length=1024, description="Passphrase of the private key; a secret.")]
Password = Annotated[str | None, Field(max_length=1024, description="Password, where no key is used; a secret.")]
HostKeys = Annotated[
    list[Annotated[str, Field(max_length=16 * 1024), AfterValidator(_host_key)]] | None,
    Field(
        max_length=20,
        description="Fingerprints (SHA256:…) or public keys that count for this host; without them the keys that "
        "`stanchion host trust` has stored.",
    ),
]


class Login(BaseModel):
    """One SSH server, and how to log in there."""

    host: Host
    port: Port = 22
    username: User = "root"
    private_key: PrivateKey = None
    passphrase: Passphrase = None
    password: Password = None
    host_key: HostKeys = None

    @property
    def place(self) -> str:
        """The host for messages, its port only where it is an unusual one."""
        if self.port == 22:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Jump(InputModel, Login):
    """The host that the connection goes through; its key is checked like any other."""


class HostInput(InputModel, Login):
    """The host, and how to log in there.  Base of the input of every action that works on one."""

    jump: Annotated[Jump | None, Field(description="A jump host, where the host is reached through one.")] = None
    connect_timeout: Annotated[float, Field(gt=0, le=120, description="Seconds to connect and log in.")] = 10.0


def effect_on(target: Login, kind: str, **details: Json) -> dict[str, Json]:
    """An effect of a rehearsal on ``target``: the host and the kind first."""
    return {"kind": kind, "host": target.host, "username": target.username, **details}
