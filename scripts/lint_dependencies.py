"""Audits the lock files, without a network: what is installed is what was looked at.

Every requirement is pinned to one version, by hashes, and comes from the index; the lock files agree; everything that
``pyproject.toml`` names is locked in a version that it allows; no version is in ``scripts/known_bad.txt``; and what is
installed here has a licence that the product can be shipped with.  Exit code 1 when something is not so.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.txt", "requirements-runtime.txt", "requirements-build.txt", "requirements-tools.txt")
KNOWN_BAD = ROOT / "scripts" / "known_bad.txt"
HASH = re.compile(r"sha256:[0-9a-f]{64}")
UNWANTED = re.compile(r"AGPL|Affero|SSPL|Server Side Public|Commons Clause|Business Source|Proprietary", re.IGNORECASE)

Locked = dict[str, str]


def parse(text: str) -> Iterator[tuple[Requirement, list[str]]]:
    """Each requirement of a lock file with its hashes."""
    joined = re.sub(r"\\\s*\n\s*", " ", text)
    for line in joined.splitlines():
        entry = line.split(" #")[0].strip()
        if entry and not entry.startswith("#"):
            requirement, *options = re.split(r"\s+--hash=", entry)
            yield Requirement(requirement), options


def faults_of_lock(name: str, text: str, locked: Locked) -> Iterator[str]:
    """What is wrong with a lock file; fills ``locked`` with its versions."""
    for requirement, hashes in parse(text):
        called = canonicalize_name(requirement.name)
        specifiers = list(requirement.specifier)
        if requirement.url is not None:
            yield f"{name}: {called} comes from an address, not from the index"
        elif len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
            yield f"{name}: {called} is not pinned to one version"
        elif not hashes or not all(HASH.fullmatch(one) for one in hashes):
            yield f"{name}: {called} has no hash, or one that is no SHA-256"
        else:
            locked[called] = specifiers[0].version


def faults_of_versions(locked: Locked, bad: str) -> Iterator[str]:
    """Versions that are known to be bad."""
    for line in bad.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, versions, why = line.split(maxsplit=2)
        found = locked.get(canonicalize_name(name))
        # Versions with == stand side by side; else it is one range.
        ranges = versions.split(",") if "==" in versions else [versions]
        if found is not None and any(SpecifierSet(one).contains(found, prereleases=True) for one in ranges):
            yield f"{name} {found}: {why}"


def faults_of_project(locked: Locked, text: str) -> Iterator[str]:
    """What the project asks for and the lock file does not have."""
    project = tomllib.loads(text)["project"]
    extras = project.get("optional-dependencies", {})
    for line in (*project["dependencies"], *(one for extra in extras.values() for one in extra)):
        requirement = Requirement(line)
        found = locked.get(canonicalize_name(requirement.name))
        if requirement.name.lower() == project["name"]:
            continue
        if found is None:
            yield f"{requirement.name} is not locked: make lock"
        elif not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} is locked as {found}, which pyproject.toml does not allow: make lock"


def faults_of_licences(locked: Locked) -> Iterator[str]:
    """Licences of what is installed here that the product cannot be shipped with."""
    for name in sorted(locked):
        try:
            told = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform
        fields = [told.get("License-Expression") or "", (told.get("License") or "")[:100]]
        fields += [one for one in told.get_all("Classifier") or [] if one.startswith("License")]
        if any(UNWANTED.search(field) for field in fields):
            yield f"{name}: {'; '.join(filter(None, fields))}"


def main() -> int:
    """Prints what is wrong."""
    locks: dict[str, Locked] = {name: {} for name in LOCKS}
    faults: list[str] = []
    for name, locked in locks.items():
        faults += faults_of_lock(name, (ROOT / name).read_text(), locked)
    whole = locks[LOCKS[0]]
    for name in LOCKS[1:]:
        for package, version in locks[name].items():
            if whole.get(package, version) != version:
                faults.append(f"{name}: {package} is {version}, and {whole[package]} in {LOCKS[0]}: make lock")
    everything = {package: version for locked in locks.values() for package, version in locked.items()}
    faults += faults_of_versions(everything, KNOWN_BAD.read_text())
    faults += faults_of_project(whole, (ROOT / "pyproject.toml").read_text())
    faults += faults_of_licences(locks["requirements-runtime.txt"])
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
