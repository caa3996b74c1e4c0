"""Lynis: how it is called, and what its report says (``lynis-report.dat``, version 1.0)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from activities.findings import Finding, cut, finding
from activities.scans.documents import fault
from playbooks.record import Json

MISSING: Final = 90
NO_FOLDER: Final = 91
"""Exit codes of ``script``: there is no lynis; the folder for its report cannot be made."""

MAX_LINES: Final = 200_000

CONTROLS: Final = "https://cisofy.com/lynis/controls/"
PACKAGE_TESTS: Final = frozenset({"PKGS-7322", "PKGS-7330", "PKGS-7381", "PKGS-7384", "PKGS-7392", "PKGS-7393"})
"""The tests that look for packages with known holes."""

OWN_FACTS: Final = frozenset({"installed_packages_array", "tests_executed", "tests_skipped", "details", "warning"})
"""Keys of the report that are not told as they are: they are facts of their own, or long and of no use."""

LISTS: Final = frozenset(
    {
        *("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms"),
        *("hostbasedacceptedalgorithms", "casignaturealgorithms", "gssapikexalgorithms"),
    }
)
REPEATED: Final = frozenset({"acceptenv", "hostkey", "listenaddress", "setenv", "subsystem"})
"""Settings of sshd that are lists, and those that stand once for each value."""

_PARTS = re.compile(r"^@@(host|ssh|report)@@$", re.MULTILINE)
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,14}")
_LINE = re.compile(r"([A-Za-z0-9_-]{1,100})(\[\])?=(.*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``script`` wrote, in its three parts: about the call, sshd's settings, the report."""

    user: str
    exit_code: str
    ssh: str
    report: str


@dataclass(slots=True)
class Report:
    """A report: single values, and lists of them, by their keys."""

    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def get(self, key: str) -> str:
        """A single value, empty where there is none."""
        return self.values.get(key, "")

    def all(self, key: str) -> list[str]:
        """A list, each value once."""
        return list(dict.fromkeys(self.lists.get(key, [])))

    @property
    def finished(self) -> bool:
        """Whether Lynis came to its end."""
        return self.get("finish") == "true"

    @property
    def whole(self) -> bool:
        """Whether all tests were asked for."""
        return self.get("test_category") in ("", "all") and self.get("test_group") in ("", "all")

    @property
    def executed(self) -> set[str]:
        """The tests that ran."""
        return set(filter(None, self.get("tests_executed").split("|")))


def script(folder: str, groups: Sequence[str]) -> str:
    """A script for a POSIX shell that scans its host; ``folder`` is made, and gone afterwards.

    Its output is read by ``read_answer``.
    """
    place = shlex.quote(folder)
    asked = f"--tests-from-group {shlex.quote(' '.join(groups))}" if groups else ""
    return f"""
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin; export PATH; umask 077
command -v lynis >/dev/null 2>&1 || exit {MISSING}
mkdir -m 700 {place} || exit {NO_FOLDER}
lynis audit system --quick --quiet --no-colors --no-log {asked} \\
    --report-file {place}/report </dev/null >{place}/said 2>&1
code=$?
echo @@host@@; id -u; echo $code
echo @@ssh@@; sshd -T 2>/dev/null
echo @@report@@; cat {place}/report 2>/dev/null || tail -n 5 {place}/said >&2
rm -rf {place}
"""


def tidy(folder: str) -> str:
    """A script that takes away what a scan that was killed has left; the number in the file is of a dead process."""
    return (
        f"rm -rf {shlex.quote(folder)}; p=$(cat /var/run/lynis.pid 2>/dev/null) && "
        '! kill -0 "$p" 2>/dev/null && rm -f /var/run/lynis.pid; true'
    )


def read_answer(text: str) -> Answer:
    """What ``script`` wrote.  Raises ``ActionError`` with code ``invalid_report``."""
    parts = _PARTS.split(text, maxsplit=3)
    if parts[1::2] != ["host", "ssh", "report"]:
        raise fault("", "the host did not answer as it was asked")
    user, _, code = parts[2].strip().partition("\n")
    return Answer(user.strip(), code.strip(), parts[4], parts[6])


def read_report(text: str) -> Report:
    """A report of Lynis.  Raises ``ActionError`` with code ``invalid_report``; lines that are none are left out."""
    report = Report()
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise fault("", f"the report has more than {MAX_LINES} lines")
    for line in lines:
        matched = _LINE.fullmatch(line.strip())
        if matched is None:
            continue
        key, listed, value = matched.groups()
        if listed:
            report.lists.setdefault(key, []).append(value)
        else:
            report.values[key] = value
    if "lynis_version" not in report.values:
        raise fault("", "this is no report of Lynis: it has no lynis_version")
    return report


def read_ssh(text: str) -> dict[str, Json]:
    """The effective settings that ``sshd -T`` tells, by their names in lower case."""
    settings: dict[str, Json] = {}
    for line in text.split("\n"):
        name, _, value = line.strip().partition(" ")
        if not name or not name.isalnum():
            continue
        if name in REPEATED:
            settings.setdefault(name, []).append(value)
        else:
            settings[name] = value.split(",") if name in LISTS else typed(value)
    return settings


def typed(value: str) -> Json:
    """``value`` as a number where it is written as one."""
    return int(value) if _NUMBER.fullmatch(value) else cut(value, 1000)


def facts_of(report: Report, ssh: dict[str, Json]) -> dict[str, Json]:
    """What is true of the host.  What was not looked at is not in it: nobody may take it for what is in order."""
    executed = report.executed
    facts: dict[str, Json] = {
        "hostname": report.get("hostname"),
        "os": {
            "name": report.get("os_name"),
            "fullname": report.get("os_fullname"),
            "version": report.get("os_version"),
            "kernel": report.get("os_kernel_version_full") or report.get("os_kernel_version"),
        },
        "details": [_detail(line) for line in report.all("details")],
        "report": _plain(report),
    }
    if report.whole:
        facts |= {
            "hardening_index": typed(report.get("hardening_index")),
            "warnings": sorted({line.partition("|")[0] for line in report.all("warning")}),
            "suggestions": sorted({line.partition("|")[0] for line in report.all("suggestion")}),
        }
    if "installed_packages_array" in report.values:
        facts["packages"] = packages_of(report)
    if executed & PACKAGE_TESTS:
        facts["vulnerable_packages"] = report.all("vulnerable_package")
    if any(test.startswith("FIRE-") for test in executed):
        facts["firewall"] = {
            "active": report.get("firewall_active") == "1",
            "empty": report.get("firewall_empty_ruleset") == "1",
            "software": report.all("firewall_software"),
        }
    if any(test.startswith("MACF-") for test in executed):
        facts["access_control"] = {
            "apparmor": report.get("apparmor_enabled") == "1",
            "selinux": report.get("selinux_status") == "1",
        }
    if ssh:
        facts["ssh"] = ssh
    return facts


def packages_of(report: Report) -> dict[str, str]:
    """The version of each installed package."""
    pairs = (entry.partition(",") for entry in report.get("installed_packages_array").split("|"))
    return {name: version for name, _, version in pairs if name}


def _plain(report: Report) -> dict[str, Json]:
    single: dict[str, Json] = {key: typed(value) for key, value in report.values.items() if key not in OWN_FACTS}
    lists: dict[str, Json] = {
        key: [cut(value, 1000) for value in report.all(key)] for key in report.lists if key not in OWN_FACTS
    }
    return {**lists, **single}


def _detail(line: str) -> dict[str, Json]:
    """``TEST|service|desc:…;field:…;prefval:…;value:…;|`` as an object."""
    test, _, rest = line.partition("|")
    service, _, said = rest.partition("|")
    named = dict(part.partition(":")[::2] for part in said.rstrip("|").split(";") if ":" in part)
    return {
        "test": test,
        "service": service,
        "field": named.get("field", ""),
        "value": typed(named.get("value", "")),
        "preferred": named.get("prefval", ""),
        "description": cut(named.get("desc", ""), 300),
    }


def findings_of(report: Report, asset: str) -> list[Finding]:
    """Warnings (medium), suggestions (low), and packages with known holes (high)."""
    versions = packages_of(report)
    found = [_finding(line, "medium", asset) for line in report.all("warning")]
    found += [_finding(line, "low", asset) for line in report.all("suggestion")]
    if report.executed & PACKAGE_TESTS:
        found += [_package(name, versions.get(name, ""), asset) for name in report.all("vulnerable_package")]
    return found


def _finding(line: str, severity: str, asset: str) -> Finding:
    test, title, details, solution = ([*line.split("|"), "", "", ""])[:4]
    solution = "" if solution == "-" else solution
    kind, colon, text = solution.partition(":")
    remediation = text if colon and kind == "text" else "" if kind == "url" else solution
    details = "" if details == "-" else details
    return finding(
        "lynis",
        cut(test, 100) or "LYNIS",
        title,
        "medium" if severity == "medium" else "low",
        asset=asset,
        # One test suggests several things: each is a finding of its own.
        place=cut(details or title, 300),
        evidence=details,
        remediation=remediation,
        references=[f"{CONTROLS}{test}/", *([text] if kind == "url" and colon else [])],
    )


def _package(name: str, version: str, asset: str) -> Finding:
    return finding(
        "lynis",
        "vulnerable-package",
        f"An update of {cut(name, 100)} mends a known hole",
        "high",
        asset=asset,
        package=cut(name, 300),
        version=cut(version, 200),
        evidence=f"{name} {version} is installed.".replace("  ", " "),
        remediation=f"Update {name}.",
    )
