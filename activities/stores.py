"""What actions keep and look up beyond a run, as they see it; ``worker.py`` hands them what ``storage/`` makes of it.

Actions import nothing of ``storage/`` (DESIGN.md §1): each store is a protocol here, with a field in ``Stores``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from activities.artifacts import ArtifactStore
from playbooks.record import Json

if TYPE_CHECKING:
    from activities.policies.changes import PolicyResultStore


class HostKeyStore(Protocol):
    """The host keys that somebody has trusted (``stanchion host trust``)."""

    async def keys_of(self, host: str, port: int) -> list[str]:
        """The public keys, as ``ssh-ed25519 AAAA…``, of the SSH server at ``host`` and ``port``."""
        ...


@dataclass(frozen=True, slots=True)
class Rated:
    """A rating as the body ``source`` states it; ``primary``: NVD counts it as the first one."""

    version: str
    vector: str
    score: float
    source: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Exploited:
    """An entry of CISA's catalogue of known exploited vulnerabilities; dates as YYYY-MM-DD."""

    vendor: str
    product: str
    name: str
    date_added: str
    due_date: str | None
    required_action: str
    ransomware: bool


@dataclass(frozen=True, slots=True)
class Predicted:
    """EPSS: the probability of exploitation in the next 30 days, and the share of CVEs that have no higher one."""

    probability: float
    percentile: float


@dataclass(frozen=True, slots=True)
class Described:
    """A CVE in NVD; times in ms since the epoch; ``ratings`` newest version of CVSS first."""

    description: str
    status: str
    published: int | None
    modified: int
    ratings: list[Rated]
    cwes: list[str]
    references: list[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sources say of one CVE; None where one says nothing."""

    exploited: Exploited | None = None
    predicted: Predicted | None = None
    described: Described | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is stored of a source; times in ms since the epoch; ``sample``: only the shipped sample."""

    source: str
    as_of: int | None
    synced_at: int
    entries: int
    sample: bool


@dataclass(frozen=True, slots=True)
class Intelligence:
    """The answer of an ``IntelStore``: facts by CVE, without those of which nothing is known, and the sources."""

    facts: dict[str, Facts] = field(default_factory=dict)
    sources: list[SourceState] = field(default_factory=list)


class IntelStore(Protocol):
    """What is known of vulnerabilities (``stanchion intel sync``)."""

    async def look_up(self, cves: Sequence[str]) -> Intelligence:
        """What is known of ``cves``, ids in capitals.  Raises ``ActionError`` with code ``store_unavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class AssetQuestion:
    """Which assets are looked for; every field that is not None must match; ``tag`` is ``key`` or ``key=value``."""

    id: str | None = None
    hostname: str | None = None
    ip: str | None = None
    tag: str | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """An asset as it is stored."""

    id: str
    name: str
    type: str
    hostname: str | None
    ip: str | None
    url: str | None
    tags: Mapping[str, Json]
    attributes: Mapping[str, Json]


class AssetStore(Protocol):
    """The assets that playbooks run on."""

    async def find(self, question: AssetQuestion) -> tuple[list[AssetFacts], int]:
        """Those that match, by name, and how many there are.  Raises ``ActionError``: ``store_unavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of this worker; None where it has none, as in a test of one action."""

    artifacts: ArtifactStore | None = None
    host_keys: HostKeyStore | None = None
    intel: IntelStore | None = None
    policy_results: PolicyResultStore | None = None
    assets: AssetStore | None = None
