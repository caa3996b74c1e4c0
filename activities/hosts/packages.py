"""Packages of a host: what is known of one, which version is meant, and what a package manager must be able to do."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from activities.action import OutputModel
from activities.errors import ActionError

if TYPE_CHECKING:
    from activities.hosts.jobs import Ended
    from activities.hosts.session import Finished, Host

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~^:_-]{0,199}")
"""A version of Debian's policy manual, section 5.6.12, or of rpm."""

LATEST = "latest"


class PackageChange(OutputModel):
    """What happens to one package."""

    package: str
    change: Literal["install", "upgrade", "downgrade", "remove"]
    from_version: str | None = None
    to_version: str | None = None


@dataclass(frozen=True, slots=True)
class PackageState:
    """A package as the host knows it; ``available`` has the newest version first.

    ``unfinished``: the package itself was left half-way; ``broken``: it or another one.
    """

    package: str
    architecture: str | None = None
    installed: str | None = None
    candidate: str | None = None
    available: tuple[str, ...] = ()
    held: bool = False
    unfinished: bool = False
    broken: bool = False
    index_age: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with a package, in the words of no particular package manager.  Times in seconds."""

    package: str
    version: str
    change: Literal["install", "upgrade", "downgrade"]
    ignore_hold: bool = False
    allow_removals: bool = False
    replace_configuration: bool = False
    lock_timeout: int = 300


class PackageManager(ABC):
    """The package manager of one host."""

    name: Literal["apt", "dnf"]
    failures: Sequence[tuple[str, str, bool]] = ()
    """Words of its log, the code that they mean, and whether a later try may help; the first that fits counts."""

    def __init__(self, host: Host, *, sudo: bool) -> None:
        self.host = host
        self.sudo = sudo

    @abstractmethod
    async def look(self, package: str) -> PackageState:
        """What the host knows of ``package``; nothing is changed."""

    @abstractmethod
    async def refresh(self, lock_timeout: int) -> None:
        """Fetch the index of the repositories anew.  Raises ``ActionError``: ``index_failed``, ``locked``."""

    @abstractmethod
    async def simulate(self, wish: Wish) -> list[PackageChange]:
        """What would change.  Raises ``ActionError`` when it would not work."""

    @abstractmethod
    async def compare(self, one: str, other: str) -> int:
        """Below, at or above 0, as ``one`` is older than, like or newer than ``other``."""

    @abstractmethod
    def script(self, wish: Wish) -> str:
        """A job (``activities.hosts.jobs``) that does it."""

    @abstractmethod
    async def reboot_required(self) -> bool | None:
        """True when the host asks for a reboot; None where it has no way to tell."""

    @abstractmethod
    def kept_configuration(self, log: str) -> list[str]:
        """The configuration files that the log of a job says were left as they are, beside a new one."""

    async def shell(self, script: str) -> Finished:
        """The end of ``script`` on the host, messages in English."""
        return await self.host.run(f"export LC_ALL=C.UTF-8\n{script}", sudo=self.sudo)

    def failure(self, what: str, log: str) -> ActionError:
        """The error that ``log`` tells of."""
        said = " ".join(line for line in log.strip().splitlines()[-12:] if line)[-600:]
        for words, code, retryable in self.failures:
            if re.search(words, log):
                return ActionError(code, f"{self.host.place} could not {what}: {said}", retryable=retryable)
        return ActionError("patch_failed", f"{self.host.place} could not {what}: {said}", retryable=False)

    def check(self, ended: Ended, what: str) -> None:
        """Raise ``ActionError`` unless the job did it."""
        if ended.stopped:
            raise ActionError("stopped", f"{self.host.place}: somebody stopped this before anything was changed.")
        if ended.exit_code:
            raise self.failure(what, ended.log)


def matching(wanted: str, versions: Sequence[str]) -> str | None:
    """The first of ``versions`` that is ``wanted``, which may leave out the epoch and the distribution's revision."""
    ways = (lambda version: version, without_epoch, upstream)
    for way in ways:
        for version in versions:
            if way(version) == wanted:
                return version
    return None


def comparable(installed: str, wanted: str) -> str:
    """``installed`` without what ``wanted`` leaves out, so that the two can be compared."""
    if ":" not in wanted:
        installed = without_epoch(installed)
    return installed if "-" in wanted else upstream(installed)


def without_epoch(version: str) -> str:
    """``2:1.0-1`` → ``1.0-1``."""
    return version.partition(":")[2] if ":" in version else version


def upstream(version: str) -> str:
    """``2:1.0-1`` → ``1.0``."""
    return without_epoch(version).rpartition("-")[0] or without_epoch(version)


@dataclass(slots=True)
class Records:
    """Lines of a script that begin with a word and a tab."""

    lines: dict[str, list[list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Records:
        """Read ``text``; lines of other forms are left out."""
        records = cls()
        for line in text.splitlines():
            word, tab, rest = line.partition("\t")
            if tab:
                records.lines.setdefault(word, []).append(rest.split("\t"))
        return records

    def all(self, word: str) -> list[list[str]]:
        """The fields of every line of ``word``."""
        return self.lines.get(word, [])

    def first(self, word: str) -> str | None:
        """The first field of the first line of ``word``."""
        found = self.all(word)
        return found[0][0] if found and found[0][0] else None

    def number(self, word: str) -> int | None:
        """The same as a number; None for anything else."""
        found = self.first(word)
        return int(found) if found is not None and found.isdigit() else None


def known_versions(versions: Sequence[str]) -> tuple[str, ...]:
    """``versions`` once each, without those that are no versions."""
    return tuple(dict.fromkeys(version for version in versions if VERSION.fullmatch(version)))
