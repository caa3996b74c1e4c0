"""Packages for the hosts of tests: real ones, built here, in repositories that lie on the host itself."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

APT_HOST = """
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /var/lib/apt/lists/* /etc/apt/apt.conf.d/*
echo 'deb [trusted=yes] file:/host/repository ./' > /etc/apt/sources.list
chmod -R a+rX /host/repository
"""
"""Prepares a host whose only repository is ``/host/repository``."""

RPM_HOST = """
rm -f /usr/bin/apt-get
rm -rf /etc/yum.repos.d /var/cache/dnf /var/lib/rpm
mkdir -p /etc/yum.repos.d /var/lib/rpm
rpm --initdb
printf '[local]\\nname=local\\nbaseurl=file:///host/repository\\ngpgcheck=0\\n' > /etc/yum.repos.d/local.repo
dnf -q makecache
"""
"""Prepares a host of RPM packages with the same."""


@dataclass(frozen=True)
class Package:
    """One version of a package.  ``files`` by path; ``scripts`` of the maintainer by name, such as ``postinst``."""

    name: str
    version: str
    files: Mapping[str, str] = field(default_factory=dict)
    configuration: Sequence[str] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    """Files of this machine to put into the package, by their path there."""


def deb_repository(folder: Path, packages: Sequence[Package]) -> dict[str, bytes]:
    """The files of a flat repository of ``packages``, by their path below ``/host``."""
    files: dict[str, bytes] = {}
    index = []
    for package in packages:
        control = _control(package)
        name = f"{package.name}_{package.version.replace(':', '%3a')}.deb"
        content = _deb(folder / name.removesuffix(".deb"), package, control)
        files[f"repository/{name}"] = content
        digest = hashlib.sha256(content).hexdigest()
        index.append(f"{control}Filename: ./{name}\nSize: {len(content)}\nSHA256: {digest}\n")
    files["repository/Packages"] = "\n".join(index).encode()
    return files


def rpm_repository(folder: Path, packages: Sequence[Package]) -> dict[str, bytes]:
    """The same of RPM packages; a version is ``version-release``."""
    repository = folder / "repository"
    repository.mkdir(parents=True)
    for package in packages:
        _rpm(folder / f"{package.name}-{package.version}", package, repository)
    subprocess.run(["createrepo_c", "--quiet", str(repository)], check=True, capture_output=True)
    return {
        f"repository/{path.relative_to(repository)}": path.read_bytes()
        for path in repository.rglob("*")
        if path.is_file()
    }


def _control(package: Package) -> str:
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "all",
        "Maintainer": "Tests <tests@example.com>",
        **package.fields,
        "Description": "A package for tests",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _deb(tree: Path, package: Package, control: str) -> bytes:
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(control)
    _fill(tree, package)
    if package.configuration:
        (tree / "DEBIAN/conffiles").write_text("".join(f"{path}\n" for path in package.configuration))
    for name, script in package.scripts.items():
        (tree / "DEBIAN" / name).write_text(f"#!/bin/sh\nset -e\n{script}\n")
        (tree / "DEBIAN" / name).chmod(0o755)
    built = tree.with_suffix(tree.suffix + ".deb")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(built)], check=True, capture_output=True
    )
    return built.read_bytes()


def _fill(tree: Path, package: Package) -> None:
    for path, content in package.files.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    for path, source in package.copies.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(source).read_bytes())
        target.chmod(0o755)


def _rpm(tree: Path, package: Package, repository: Path) -> None:
    root = tree / "tree"
    root.mkdir(parents=True)
    _fill(root, package)
    version, _, release = package.version.partition("-")
    listed = [
        f"{'%config(noreplace) ' if path in package.configuration else ''}{path}"
        for path in (*package.files, *package.copies)
    ]
    lines = [
        f"Name: {package.name}",
        f"Version: {version}",
        f"Release: {release}",
        *(f"{name}: {value}" for name, value in package.fields.items()),
        "Summary: A package for tests",
        "License: MIT",
        "BuildArch: noarch",
        "AutoReqProv: no",
        "%description",
        "For tests.",
        "%install",
        f"cp -a {root}/. %{{buildroot}}/",
        "%files",
        *listed,
    ]
    spec = tree / "package.spec"
    spec.write_text("\n".join(lines) + "\n")
    subprocess.run(
        [
            "rpmbuild",
            "--quiet",
            "-bb",
            "--define",
            f"_topdir {tree}/build",
            "--define",
            f"_rpmdir {repository}",
            "--define",
            "_build_name_fmt %{NAME}-%{VERSION}-%{RELEASE}.rpm",
            str(spec),
        ],
        check=True,
        capture_output=True,
    )
