"""``scan.ports``: the real nmap against real listeners on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from activities.action import ActionContext, ActionError
from activities.egress import EgressPolicy
from activities.scans import ports as scan_ports
from activities.scans.nmap import SCRIPTS, progress, read_report
from activities.scans.ports import PortScan, PortScanInput, PortScanOutput
from activities.scans.targets import expand, judge, parse_ports
from tests.unit.activities.action_support import Stage, make_context

BANNER = b"220 mail.example ESMTP Postfix (Debian)\r\n"


class Listener:
    """A mail server as far as its greeting, and a port beside it on which nothing listens."""

    def __init__(self) -> None:
        self.port = 0
        self.closed = 0
        self.connections = 0

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(BANNER)
        try:
            while line := await reader.readline():
                writer.write(b"250 mail.example\r\n" if line[:4].upper() in (b"EHLO", b"HELO") else b"500 what?\r\n")
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A listener on a free port of 127.0.0.1."""
    local = Listener()
    server = await asyncio.start_server(local.greet, "127.0.0.1", 0)
    local.port = server.sockets[0].getsockname()[1]
    with socket.socket() as held:  # bound and not listening: nobody else takes the port
        held.bind(("127.0.0.1", 0))
        local.closed = held.getsockname()[1]
        yield local
    server.close()


async def scan(context: ActionContext, **inputs: Any) -> PortScanOutput:
    return await PortScan().run(PortScanInput.model_validate({"targets": ["127.0.0.1"], **inputs}), context)


async def test_open_and_closed_ports_are_told(context: ActionContext, listener: Listener) -> None:
    """With what the service says of itself."""
    output = await scan(context, ports=f"{listener.port},{listener.closed}")
    (host,) = output.hosts
    states = {port.port: port.state for port in host.ports}
    assert states == {listener.port: "open", listener.closed: "closed"}
    open_port = next(port for port in host.ports if port.state == "open")
    assert (open_port.service, open_port.product) == ("smtp", "Postfix smtpd")
    assert (output.open, output.findings, output.missing, output.complete) == (1, [], [], True)
    assert output.scanner.startswith("nmap 7.")


async def test_an_unexpected_port_is_a_finding(context: ActionContext, listener: Listener) -> None:
    """And an expected one that is not open is told as missing."""
    ports = f"{listener.port},{listener.closed}"
    output = await scan(context, ports=ports, expected=[f"{listener.closed}/tcp"], severity="high")
    (found,) = output.findings
    assert (found.port, found.asset, found.severity, found.source) == (listener.port, "127.0.0.1", "high", "nmap")
    assert "Postfix" in found.evidence
    assert [(one.address, one.port) for one in output.missing] == [("127.0.0.1", listener.closed)]
    again = await scan(context, ports=ports, expected=[])
    assert [one.id for one in again.findings] == [found.id]
    assert (await scan(context, ports=ports, expected=[listener.port])).findings == []


async def test_a_script_of_the_list_runs(context: ActionContext, listener: Listener) -> None:
    """Its words are with the port."""
    output = await scan(context, ports=str(listener.port), scripts=["banner"], detect_services=False)
    assert BANNER.decode().strip() in output.hosts[0].ports[0].scripts["banner"]


def test_the_listed_scripts_are_safe_ones() -> None:
    """nmap itself puts each of them into its category safe, and none into one that breaks or spreads."""
    for name in SCRIPTS:
        text = Path("/usr/share/nmap/scripts", f"{name}.nse").read_text(encoding="utf-8", errors="replace")
        categories = set(re.findall(r'"(\w+)"', re.search(r"categories = \{(.*?)\}", text, re.DOTALL)[1]))  # type: ignore[index]
        assert "safe" in categories
        assert categories <= {"safe", "default", "discovery"}
    assert set(SCRIPTS) == set(PortScanInput.model_json_schema()["properties"]["scripts"]["items"]["enum"])


async def test_a_name_is_resolved_once_and_scanned_by_its_address(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nmap never sees the name, so that a second answer of the DNS server changes nothing."""
    commands: list[list[str]] = []
    kept = scan_ports.command

    def noted(plan: scan_ports.Plan) -> list[str]:
        commands.append(kept(plan))
        return commands[-1]

    monkeypatch.setattr(scan_ports, "command", noted)
    output = await scan(make_context(), targets=["localhost", "127.0.0.1"], ports=str(listener.port))
    assert "localhost" in next(host for host in output.hosts if host.address == "127.0.0.1").names
    assert all("localhost" not in word for command in commands for word in command)
    assert commands[0][-1] == "127.0.0.1"


async def test_the_guard_stands_before_it(listener: Listener) -> None:
    """An address that actions may not reach is refused, and nothing is sent."""
    with pytest.raises(ActionError) as raised:
        await scan(make_context(egress=EgressPolicy()), ports=str(listener.port))
    assert (raised.value.code, raised.value.retryable) == ("egress_refused", False)
    assert listener.connections == 0


async def test_every_address_of_a_network_is_judged() -> None:
    """One that may not be reached refuses the scan."""
    egress = EgressPolicy.parse("10.1.0.0/30")
    assert [one.address for one in await judge(list(expand("10.1.0.0/30")), [(22, 22)], egress)] == [
        "10.1.0.1",
        "10.1.0.2",
    ]
    with pytest.raises(ActionError, match=r"10\.1\.0\.4"):
        await judge(list(expand("10.1.0.0/29")), [(22, 22)], egress)


@pytest.mark.parametrize(
    ("allow", "ports", "good"),
    [
        ("10.0.0.5:22", "22", True),
        ("10.0.0.5:22", "22-23", False),
        ("10.0.0.5:22", "21-22", False),
        ("10.0.0.5:22, 10.0.0.5:23", "22-23", True),
        ("10.0.0.5", "1-65535", True),
        ("10.0.0.5, 10.0.0.6:80", "1-65535", True),
        ("10.0.0.6", "22", False),
    ],
)
async def test_every_port_is_judged(allow: str, ports: str, good: bool) -> None:
    """An opening of one port opens no other; the answer is that of asking the guard for each port."""
    work = judge(["10.0.0.5"], parse_ports(ports), EgressPolicy.parse(allow))
    if good:
        assert [target.address for target in await work] == ["10.0.0.5"]
    else:
        with pytest.raises(ActionError, match="egress_refused"):
            await work


@pytest.mark.parametrize(
    "inputs",
    [
        {"targets": []},
        {"targets": ["10.0.0.0/23"]},
        {"targets": ["10.0.0.0/24", "10.0.1.0/24"]},
        {"targets": ["-oN/tmp/x"]},
        {"ports": ""},
        {"ports": "0"},
        {"ports": "65536"},
        {"ports": "80-22"},
        {"ports": "T:22"},
        {"ports": "22 --script vuln"},
        {"ports": "-"},
        {"ports": "²"},
        {"scripts": ["vuln"]},
        {"scripts": ["http-shellshock"]},
        {"timing": "insane"},
        {"expected": ["22/udp"]},
        {"expected": [70000]},
    ],
)
def test_wrong_input_is_refused(inputs: dict[str, Any]) -> None:
    """Nothing but ports, hosts and listed scripts can reach the command line."""
    with pytest.raises(ValidationError):
        PortScanInput.model_validate({"targets": ["127.0.0.1"], **inputs})


@pytest.mark.parametrize("target", ["-oN", "--script=vuln", "127.0.0.1 -oN x", "10.0.0.1-5", "127.1", "$(id)"])
async def test_a_target_is_no_option(context: ActionContext, target: str) -> None:
    """What is neither a name nor an address ends at the resolver or the guard."""
    with pytest.raises(ActionError) as raised:
        await scan(context, targets=[target], ports="22")
    assert raised.value.code in ("resolve_failed", "egress_refused")


def test_ports_are_united() -> None:
    """Overlapping ranges are one."""
    assert parse_ports("80, 22,20-25,26,443-444") == [(20, 26), (80, 80), (443, 444)]


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """A port that accepts and says nothing, so that detection waits."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def of_nmap(port: int) -> list[str]:
    """The nmap processes of this machine that scan ``port``."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except (OSError, ValueError):
            continue
        if words[0] == "nmap" and str(port) in words:
            found.append(folder.name)
    return found


async def test_a_cancel_ends_nmap(context: ActionContext, silent: int) -> None:
    """When the action is over no nmap is left."""
    task = asyncio.create_task(scan(context, ports=str(silent)))
    while not of_nmap(silent):
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert of_nmap(silent) == []


async def test_time_is_limited(context: ActionContext, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that does not end is ended, and no nmap is left."""
    inputs = PortScanInput(targets=["127.0.0.1"], ports=str(silent)).model_copy(update={"timeout_seconds": 1})
    # nmap's own limit for a host would else come at the same time.
    kept = scan_ports.command
    monkeypatch.setattr(scan_ports, "command", lambda plan: [w if w != "1s" else "60s" for w in kept(plan)])
    with pytest.raises(ActionError, match="timed_out"):
        await PortScan().run(inputs, context)
    assert of_nmap(silent) == []


async def test_progress_is_told() -> None:
    """A heartbeat carries the task and how far it is."""
    told: list[Any] = []
    slow = {"ports": "1-100", "max_rate": 5, "detect_services": False}
    task = asyncio.create_task(scan(make_context(heartbeat=told.append), **slow))
    deadline = time.monotonic() + 90
    while not told and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert told
    assert told[0]["task"]
    assert 0 <= told[0]["percent"] <= 100


def test_progress_is_read_from_what_comes() -> None:
    """The latest of several, none where there is none."""
    line = b'<taskprogress task="Connect Scan" time="1" percent="%s" remaining="3" etc="4"/>\n'
    assert progress(line % b"3.25" + line % b"50.00") == ("Connect Scan", 50.0)
    assert progress(b"<host>") is None


async def test_a_worker_without_nmap_says_so(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setattr("activities.scans.child.PATH", "/nonexistent")
    with pytest.raises(ActionError, match="scanner_missing: This worker has no nmap: install it"):
        await scan(context, ports="22")


async def test_too_much_output_ends_nmap(
    context: ActionContext, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result beyond the limit is not kept in memory."""
    monkeypatch.setattr(scan_ports, "OUTPUT_BYTES", 100)
    with pytest.raises(ActionError, match="output_limit"):
        await scan(context, ports=str(listener.port))


async def test_ipv6_is_scanned(context: ActionContext) -> None:
    """An address of each family, in one scan."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    output = await scan(context, targets=["::1", "127.0.0.1"], ports=str(port), detect_services=False)
    server.close()
    assert {host.address: host.ports[0].state for host in output.hosts} == {"127.0.0.1": "closed", "::1": "open"}


async def test_a_dry_run_sends_nothing(stage: Stage, listener: Listener) -> None:
    """It says what it would scan, also where reading is allowed."""
    call = {"targets": ["127.0.0.1"], "ports": f"{listener.port},80-81"}
    result = await stage.perform("scan.ports", call, dry_run=True, dry_run_reads=True)
    assert result.would == "Would connect to 3 TCP ports of 127.0.0.1."
    assert result.effects == [{"kind": "port_scan", "target": "127.0.0.1", "ports": call["ports"], "scripts": []}]
    assert listener.connections == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("<nmaprun><host/></nmaprun>", "host 1: it has no address"),
        ('<nmaprun><host><address addr="::1"/><ports><port/></ports></host></nmaprun>', "host 1, port"),
        ("<nmaprun>\n<host>\n</nmaprun>", "line 3, column 3"),
        ("<x/>", "line 1: nmap's XML begins with nmaprun"),
    ],
)
def test_a_broken_report_is_told_with_its_place(text: str, place: str) -> None:
    """Line, host and port."""
    with pytest.raises(ActionError) as raised:
        read_report(text.encode())
    assert raised.value.code == "invalid_report"
    assert place in raised.value.message


def test_a_report_that_broke_off_is_not_finished() -> None:
    """nmap says at the end whether it came there."""
    assert not read_report(b"<!DOCTYPE nmaprun><nmaprun version='7.93'/>").finished
    failed = read_report(
        b"<nmaprun><runstats><finished time='1' elapsed='2' exit='error' errormsg='no route'/></runstats></nmaprun>"
    )
    assert (failed.finished, failed.problem) == (False, "no route")
