"""``scan.ports``: which TCP ports are open, and what listens there, by nmap."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.findings import Finding, Severity, merged
from activities.scans.child import run_child
from activities.scans.nmap import Host, Plan, Port, Report, command, open_port_finding, progress, read_report
from activities.scans.targets import MAX_ADDRESSES, Target, expand, judge, parse_ports
from activities.scrub import excerpt_of, scrubbed
from playbooks.record import Json

DEFAULT_PORTS = "1-1024,1433,1521,2049,2375,3000,3306,3389,5000,5432,5900,6379,6443,8000,8080,8443,9200,11211,27017"
OUTPUT_BYTES = 16 * 1024 * 1024
SHOWN = 500

_EXPECTED = re.compile(r"(\d{1,5})(?:/tcp)?")

Script = Literal["banner", "ssh-hostkey", "ssh2-enum-algos", "ssl-cert", "ssl-date", "tls-alpn"]


class PortScanInput(InputModel):
    """What is scanned, and how hard."""

    targets: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253)]],
        Field(min_length=1, max_length=64, description="Names, addresses, or networks of at most 256 addresses."),
    ]
    ports: Annotated[str, Field(max_length=4000, description="TCP ports and ranges of them: 22,80,8000-8100.")] = (
        DEFAULT_PORTS
    )
    detect_services: Annotated[bool, Field(description="Ask each open port what it speaks.")] = True
    scripts: list[Script] = Field(
        default_factory=list, max_length=6, description="Scripts of nmap that only read, run on each open port."
    )
    timing: Annotated[
        Literal["polite", "normal", "fast"], Field(description="How fast; polite waits 0.4 s between probes.")
    ] = "normal"
    max_rate: Annotated[int | None, Field(ge=1, le=100_000, description="Packets a second at most.")] = None
    timeout_seconds: Annotated[int, Field(ge=5, le=6 * 3600, description="The scan is ended after that.")] = 600
    expected: Annotated[
        list[int | str] | None,
        Field(max_length=1000, description="Ports that may be open, as 22 or 22/tcp; any other open one is a finding."),
    ] = None
    severity: Annotated[Severity, Field(description="Severity of an open port that is not expected.")] = "medium"

    @field_validator("targets")
    @classmethod
    def _targets(cls, targets: list[str]) -> list[str]:
        hosts = [host for target in targets for host in expand(target)]
        if len(hosts) > MAX_ADDRESSES:
            raise ValueError(f"these are {len(hosts)} hosts; at most {MAX_ADDRESSES} are scanned at once")
        return targets

    @field_validator("ports")
    @classmethod
    def _ports(cls, ports: str) -> str:
        parse_ports(ports)
        return ports

    @field_validator("expected")
    @classmethod
    def _expected(cls, expected: list[int | str] | None) -> list[int | str] | None:
        for item in expected or ():
            matched = _EXPECTED.fullmatch(str(item))
            if matched is None or not 0 < int(matched[1]) < 65536:
                raise ValueError(f"{excerpt_of(str(item), 20)!r} is no port: 22 or 22/tcp")
        return expected

    def hosts(self) -> list[str]:
        """Every host once: names and addresses."""
        return list(dict.fromkeys(host for target in self.targets for host in expand(target)))

    def expected_ports(self) -> set[int] | None:
        """The expected ports as numbers, None where none are told."""
        return None if self.expected is None else {int(str(item).partition("/")[0]) for item in self.expected}


class MissingPort(OutputModel):
    """A port that was expected to be open and is not."""

    address: str
    port: int


class PortScanOutput(OutputModel):
    """What is open."""

    hosts: list[Host]
    open: Annotated[int, Field(description="Open ports on all hosts together.")]
    findings: Annotated[list[Finding], Field(description="Open ports that `expected` does not name.")]
    missing: Annotated[list[MissingPort], Field(description="Ports that `expected` names and that are not open.")]
    complete: Annotated[bool, Field(description="False where nmap gave up on a host before it had seen every port.")]
    scanner: Annotated[str, Field(description="nmap and its version.")]
    seconds: Annotated[float | None, Field(description="How long nmap took.")]


class PortScan(Action[PortScanInput, PortScanOutput]):
    """Scans TCP ports with nmap, and compares what is open with what is expected.

    It connects to every port that it is given, which the target sees and may take for an attack: a dry run only says
    what it would scan.  Names are resolved once, and every address must be one that actions may reach.
    """

    name = "scan.ports"
    title = "Scan ports"
    rehearsal = "Says what it would scan, and sends nothing."
    Input = PortScanInput
    Output = PortScanOutput
    idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        "scanner_missing": "The worker has no nmap.",
        "scan_failed": "nmap ended with an error, which the message tells.",
        "egress_refused": "A target, or one of its ports, is not one that actions may reach.",
        "resolve_failed": "The name of a target has no address.",
        "too_many_targets": "The targets have more than 256 addresses.",
        "timed_out": "The scan did not end within timeout_seconds.",
        "output_limit": "nmap wrote more than 16 MiB.",
        "invalid_report": "nmap wrote something that is not its XML.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "targets": ["{{ asset.ip }}"],
        "ports": "1-1024,3306,8080",
        "expected": [22, 443],
        "timing": "normal",
    }

    async def run(self, inputs: PortScanInput, context: ActionContext) -> PortScanOutput:
        """Scan.  Raises ``ActionError`` with the codes in ``errors``."""
        ports = parse_ports(inputs.ports)
        targets = await judge(inputs.hosts(), ports, context.egress)
        loop = asyncio.get_running_loop()
        until = loop.time() + inputs.timeout_seconds
        reports = []
        for family in _families(targets):
            plan = Plan(
                addresses=[target.address for target in family],
                ports=ports,
                timing=inputs.timing,
                detect=inputs.detect_services,
                scripts=inputs.scripts,
                host_seconds=inputs.timeout_seconds,
                max_rate=inputs.max_rate,
            )
            reports.append(await _scan(plan, max(until - loop.time(), 0.0), context.heartbeat))
        return _output(inputs, targets, reports)

    async def rehearse(self, inputs: PortScanInput, context: ActionContext) -> Rehearsal:
        """Say what would be scanned; nothing is resolved."""
        count = sum(high - low + 1 for low, high in parse_ports(inputs.ports))
        effects: list[dict[str, Json]] = [
            {"kind": "port_scan", "target": target, "ports": inputs.ports, "scripts": list(inputs.scripts)}
            for target in inputs.targets
        ]
        shown = ", ".join(inputs.targets)
        shown = shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
        return Rehearsal(f"Would connect to {count} TCP port{'s' * (count != 1)} of {shown}.", effects)


async def _scan(plan: Plan, seconds: float, heartbeat: Callable[..., None]) -> Report:
    def seen(output: bytes) -> None:
        told = progress(output)
        if told is not None:
            heartbeat({"task": told[0], "percent": told[1], "addresses": len(plan.addresses)})

    # Its own data files, and none of a user's.
    environment = {"HOME": "/nonexistent", "NMAPDIR": "/usr/share/nmap"}
    ended = await run_child(
        command(plan), seconds=seconds, output_bytes=OUTPUT_BYTES, environment=environment, seen=seen
    )
    if ended.exit_code != 0:
        said = " ".join(scrubbed(ended.stderr).split())[:SHOWN] or f"exit code {ended.exit_code}"
        raise ActionError("scan_failed", f"nmap failed: {said}")
    report = await asyncio.to_thread(read_report, ended.stdout)
    if not report.finished:
        raise ActionError("scan_failed", f"nmap did not come to its end: {report.problem or 'it does not say why'}")
    return report


def _families(targets: Sequence[Target]) -> list[list[Target]]:
    """IPv4 and IPv6 apart: one run of nmap speaks one of them."""
    sixes = [target for target in targets if ":" in target.address]
    fours = [target for target in targets if ":" not in target.address]
    return [family for family in (fours, sixes) if family]


def _output(inputs: PortScanInput, targets: Sequence[Target], reports: Sequence[Report]) -> PortScanOutput:
    asked = {target.address: target.names for target in targets}
    hosts = [
        host.model_copy(update={"names": list(dict.fromkeys([*asked.get(host.address, []), *host.names]))})
        for report in reports
        for host in report.hosts
    ]
    told = {host.address for host in hosts}
    expected = inputs.expected_ports()
    seconds = [report.seconds for report in reports if report.seconds is not None]
    return PortScanOutput(
        hosts=hosts,
        open=sum(len(_open(host)) for host in hosts),
        findings=[] if expected is None else merged(_unexpected(hosts, expected, inputs.severity)),
        missing=[] if expected is None else _missing(hosts, expected, inputs.ports),
        complete=told == set(asked) and not any(host.timed_out for host in hosts),
        scanner=f"nmap {reports[0].version}".strip(),
        seconds=sum(seconds) if seconds else None,
    )


def _open(host: Host) -> list[Port]:
    return [port for port in host.ports if port.state == "open"]


def _unexpected(hosts: Sequence[Host], expected: set[int], severity: Severity) -> list[Finding]:
    return [
        open_port_finding(host, port, severity, expected=False)
        for host in hosts
        for port in _open(host)
        if port.port not in expected
    ]


def _missing(hosts: Sequence[Host], expected: set[int], ports: str) -> list[MissingPort]:
    ranges = parse_ports(ports)
    scanned = sorted(port for port in expected if any(low <= port <= high for low, high in ranges))
    return [
        MissingPort(address=host.address, port=port)
        for host in hosts
        for port in scanned
        if port not in {one.port for one in _open(host)}
    ]
