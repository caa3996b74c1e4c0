"""What actions keep and look up beyond a run, as they see it; ``worker.py`` hands them what ``storage/`` makes of it.

Actions import nothing of ``storage/`` (DESIGN.md §1): each store is a protocol here, with a field in ``Stores``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from activities.artifacts import ArtifactStore


class HostKeyStore(Protocol):
    """The host keys that somebody has trusted (``stanchion host trust``)."""

    async def keys_of(self, host: str, port: int) -> list[str]:
        """The public keys, as ``ssh-ed25519 AAAA…``, of the SSH server at ``host`` and ``port``."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of this worker; None where it has none, as in a test of one action."""

    artifacts: ArtifactStore | None = None
    host_keys: HostKeyStore | None = None
