"""``scan.host``: the real Lynis on a real host over SSH, and on this machine; and what it does when it must end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from activities.action import ActionError
from activities.scans.host import HostScan, HostScanInput, HostScanOutput
from activities.scans.lynis import facts_of, findings_of, read_answer, read_report, read_ssh
from tests.hosts import Machine, running_machine
from tests.unit.activities.action_support import Stage, make_context

# A stand-in for sshd's usual settings, one of which is loose.
LOOSE = """
mkdir -p /etc/ssh/sshd_config.d
echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/loose.conf
useradd --create-home --password '*' plain
"""
SSH: dict[str, Any] = {"groups": ["ssh"]}

REPORT = """# Lynis Report
lynis_version=3.0.8
os_name=Debian
os_fullname=Debian GNU/Linux 12 (bookworm)
os_version=12
os_kernel_version=6.1
hostname=web-01
test_category=all
test_group=all
warning[]=PKGS-7392|Found one or more vulnerable packages.|-|-|
suggestion[]=SSH-7408|Consider hardening SSH configuration|AllowTcpForwarding (set YES to NO)|-|
suggestion[]=SSH-7408|Consider hardening SSH configuration|MaxAuthTries (set 6 to 3)|text:Edit sshd_config|
suggestion[]=LYNIS|Update Lynis|-|url:https://example.com/new|
suggestion[]=LYNIS|Update Lynis|-|url:https://example.com/new|
vulnerable_package[]=openssl
installed_packages_array=|openssl,3.0.1-1|zlib1g,1:1.2|
details[]=KRNL-6000|sysctl|desc:Hide addresses;field:kernel.kptr_restrict;prefval:2;value:0;|
firewall_active=1
firewall_empty_ruleset=1
firewall_software[]=iptables
password_max_days=-1
hardening_index=59
tests_executed=PKGS-7392|SSH-7408|MACF-6204|FIRE-4511|
a broken line
finish=true
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host with Lynis."""
    with running_machine(tmp_path_factory.mktemp("machine") / "host", LOOSE) as running:
        yield running


async def scan(**inputs: Any) -> HostScanOutput:
    return await HostScan().run(HostScanInput.model_validate(inputs), make_context())


async def refused(**inputs: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await scan(**inputs)
    return caught.value


def left_behind(machine: Machine) -> str:
    """What a scan has left on the host."""
    found = "ls -d /tmp/stanchion-scan-* /var/run/lynis.pid; pgrep -fa '[l]ynis audit'"
    return machine.inside(f"({found}) 2>/dev/null", check=False)


async def test_a_host_over_ssh(machine: Machine) -> None:
    """Findings and facts, as root; nothing is left there."""
    output = await scan(**machine.login(), **SSH)
    assert (output.as_root, output.whole, output.hardening_index) == (True, False, None)
    assert output.os.startswith("Debian GNU/Linux")
    assert output.scanner.startswith("Lynis 3.")
    assert output.facts["ssh"]["permitrootlogin"] == "yes"
    assert output.facts["ssh"]["maxauthtries"] == 6
    assert "aes128-ctr" in output.facts["ssh"]["ciphers"]
    assert output.facts["hostname"] == output.hostname
    assert "firewall" not in output.facts
    assert "hardening_index" not in output.facts
    assert all((one.source, one.asset) == ("lynis", output.hostname) for one in output.findings)
    assert sum(output.severities.values()) == len(output.findings) > 0
    assert left_behind(machine) == ""


async def test_without_root_and_by_sudo(machine: Machine) -> None:
    """The output says which it was; without root the effective settings of sshd are not known."""
    plain = await scan(**machine.login(username="plain"), **SSH)
    assert (plain.as_root, "ssh" in plain.facts) == (False, False)
    by_sudo = await scan(**machine.login(username="ops", sudo=True), **SSH, asset="web-01")
    assert (by_sudo.as_root, by_sudo.facts["ssh"]["permitrootlogin"]) == (True, "yes")
    assert {one.asset for one in by_sudo.findings} == {"web-01"}
    assert left_behind(machine) == ""


async def test_this_machine() -> None:
    """With an empty host, as whoever the worker is."""
    output = await scan(**SSH)
    assert output.tests > 0
    assert output.os
    assert list(Path("/tmp").glob("stanchion-scan-*/scan")) == []


async def test_a_host_without_lynis(tmp_path: Path) -> None:
    """Is told what to install; so is one without sudo for the user, and one that does not answer."""
    with running_machine(tmp_path / "host", "rm -f /usr/sbin/lynis; useradd -m -p '*' plain") as bare:
        error = await refused(**bare.login())
        assert (error.code, error.retryable) == ("scanner_missing", False)
        assert "apt-get install lynis" in error.message
        assert (await refused(**bare.login(username="plain", sudo=True))).code == "sudo_refused"
        assert (await refused(**bare.login(host_key=["SHA256:" + "A" * 43]))).code == "host_key_changed"
        login = bare.login()
    assert (await refused(**{**login, "port": 1})).code == "connect_failed"


async def test_a_cancel_kills_it_there(machine: Machine) -> None:
    """When the cancel is done, Lynis, all that it started and its files are gone from the host."""
    running = asyncio.create_task(scan(**machine.login()))
    while not machine.inside("pgrep -f '[l]ynis audit'", check=False):
        await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_behind(machine) == ""


async def test_a_cancel_kills_it_here() -> None:
    """On this machine too."""

    def scans() -> list[str]:
        return [
            text
            for file in Path("/proc").glob("[0-9]*/cmdline")
            if "--tests-from-group" in (text := _read(file)) and "kernel_hardening" in text and "/scan/report" in text
        ]

    running = asyncio.create_task(scan(groups=["kernel_hardening", "ports_packages"]))
    while not scans():
        await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert scans() == []
    assert list(Path("/tmp").glob("stanchion-scan-*/scan")) == []


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


async def test_one_that_takes_too_long(machine: Machine) -> None:
    """Is ended, and told as such."""
    error = await refused(**machine.login(), timeout_seconds=5)
    assert error.code == "timed_out"
    assert "did not end within 5 s" in error.message
    assert left_behind(machine) == ""


def test_a_report_is_read() -> None:
    """Facts of everything that was looked at."""
    report = read_report(REPORT)
    facts = facts_of(report, read_ssh("port 22\npermitrootlogin no\nciphers a,b\nhostkey /x\nhostkey /y\nmask 0177\n"))
    plain = facts.pop("report")
    assert facts == {
        "hostname": "web-01",
        "os": {"name": "Debian", "fullname": "Debian GNU/Linux 12 (bookworm)", "version": "12", "kernel": "6.1"},
        "details": [
            {
                "test": "KRNL-6000",
                "service": "sysctl",
                "field": "kernel.kptr_restrict",
                "value": 0,
                "preferred": "2",
                "description": "Hide addresses",
            }
        ],
        "hardening_index": 59,
        "warnings": ["PKGS-7392"],
        "suggestions": ["LYNIS", "SSH-7408"],
        "packages": {"openssl": "3.0.1-1", "zlib1g": "1:1.2"},
        "vulnerable_packages": ["openssl"],
        "firewall": {"active": True, "empty": True, "software": ["iptables"]},
        "access_control": {"apparmor": False, "selinux": False},
        "ssh": {"port": 22, "permitrootlogin": "no", "ciphers": ["a", "b"], "hostkey": ["/x", "/y"], "mask": "0177"},
    }
    assert (plain["password_max_days"], plain["vulnerable_package"]) == (-1, ["openssl"])
    assert "tests_executed" not in plain


def test_what_was_not_looked_at_is_no_fact() -> None:
    """A part of a scan that found no vulnerable package has not looked for any."""
    part = REPORT.replace("test_group=all", "test_group=ssh")
    part = part.replace("PKGS-7392|SSH-7408|MACF-6204|FIRE-4511|", "SSH-7408|")
    part = part.replace("firewall_active=1\n", "").replace("installed_packages_array", "other")
    facts = facts_of(read_report(part), {})
    assert sorted(facts) == ["details", "hostname", "os", "report"]


def test_findings() -> None:
    """Packages, warnings, suggestions; each has an id of its own, and one that stands twice has one."""
    found = findings_of(read_report(REPORT), "web-01")
    assert [(one.rule, one.severity) for one in found] == [
        ("PKGS-7392", "medium"),
        ("SSH-7408", "low"),
        ("SSH-7408", "low"),
        ("LYNIS", "low"),
        ("vulnerable-package", "high"),
    ]
    assert len({one.id for one in found}) == 5
    assert found[2].remediation == "Edit sshd_config"
    assert found[3].references == ["https://cisofy.com/lynis/controls/LYNIS/", "https://example.com/new"]
    assert (found[4].package, found[4].version) == ("openssl", "3.0.1-1")


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "did not answer"), ("@@host@@\n0\n@@report@@\n@@ssh@@\n", "did not answer"), ("Hello\n", "did not answer")],
)
def test_an_answer_that_is_none(text: str, message: str) -> None:
    """A host that says something else is not believed."""
    with pytest.raises(ActionError, match=message):
        read_answer(text)


def test_a_report_that_is_none() -> None:
    """Nor is a file that Lynis did not write, or a report without end."""
    with pytest.raises(ActionError, match="no report of Lynis"):
        read_report("hello=world\n")
    with pytest.raises(ActionError, match="more than 200000 lines"):
        read_report("\n" * 200_001)


@pytest.mark.parametrize(
    "inputs",
    [{"host": "-oProxyCommand=x"}, {"host": "a b"}, {"groups": ["ssh; id"]}, {"sudo": True}, {"timeout_seconds": 1}],
)
def test_wrong_input_is_refused(inputs: dict[str, Any]) -> None:
    """Nothing in it can become a command; sudo is for hosts over SSH."""
    with pytest.raises(ValidationError):
        HostScanInput.model_validate(inputs)


async def test_a_dry_run_scans(machine: Machine, stage: Stage) -> None:
    """It only reads, so it runs for real."""
    result = await stage.perform("scan.host", {**machine.login(), **SSH}, dry_run=True, dry_run_reads=True)
    assert result.output["as_root"] is True
    assert result.would is None
