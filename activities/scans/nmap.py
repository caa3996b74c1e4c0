"""nmap: how it is called, and what its XML says (``nmap.dtd``, version 1.05 of its output)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from xml.etree.ElementTree import Element

from pydantic import Field

from activities.action import OutputModel
from activities.findings import Finding, Severity, finding
from activities.scans.documents import fault, local, named, number, read_xml

SCRIPTS: Final = ("banner", "ssh-hostkey", "ssh2-enum-algos", "ssl-cert", "ssl-date", "tls-alpn")
"""Scripts that may be asked for: all of nmap's category *safe*, and none that speaks to anybody but the target."""

TIMINGS: Final = {"polite": "-T2", "normal": "-T3", "fast": "-T4"}

_PROGRESS = re.compile(rb'<taskprogress task="([^"]{1,80})"[^>]*? percent="([\d.]{1,8})"')


class Port(OutputModel):
    """One port, and what listens there."""

    port: int
    protocol: str = "tcp"
    state: Annotated[str, Field(description="open, closed, filtered, open|filtered or unfiltered.")]
    service: str = ""
    product: str = ""
    version: str = ""
    detail: Annotated[str, Field(description="What the service says beside, such as its system.")] = ""
    tunnel: Annotated[str, Field(description="ssl where the service speaks TLS.")] = ""
    cpes: list[str] = Field(default_factory=list)
    scripts: dict[str, str] = Field(default_factory=dict, description="What each script found, by its name.")


class Host(OutputModel):
    """One address that was scanned."""

    address: str
    names: list[str] = Field(default_factory=list, description="Names by which it was asked for, or which nmap found.")
    state: str = "up"
    ports: list[Port] = Field(default_factory=list)
    others: dict[str, int] = Field(default_factory=dict, description="How many further ports are in each state.")
    timed_out: Annotated[bool, Field(description="nmap gave up on it: its ports are not all told.")] = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of nmap said; ``finished`` is False for one that was broken off."""

    hosts: list[Host]
    version: str
    seconds: float | None
    finished: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of nmap: addresses of one family, ports as ``(first, last)``, times in seconds."""

    addresses: Sequence[str]
    ports: Sequence[tuple[int, int]]
    timing: str
    detect: bool
    scripts: Sequence[str]
    host_seconds: int
    max_rate: int | None


def command(plan: Plan) -> list[str]:
    """The command line.  Everything in it is a number, a checked address or a word of this module.

    A TCP connect scan, which needs no privileges; no DNS (``-n``) and no ping (``-Pn``), so that nothing but the
    judged addresses is spoken to.  Not ``--noninteractive``, with which it tells no progress.
    """
    words = ["nmap", "-n", "-Pn", "-sT", "--unprivileged", "--stats-every", "1s", "-oX", "-"]
    words += [TIMINGS[plan.timing], "--max-retries", "2", "--host-timeout", f"{plan.host_seconds}s"]
    words += ["-p", ",".join(str(a) if a == b else f"{a}-{b}" for a, b in plan.ports)]
    if plan.detect:
        words += ["-sV", "--version-light"]
    if plan.scripts:
        words += ["--script", ",".join(plan.scripts)]
    if plan.max_rate is not None:
        words += ["--max-rate", str(plan.max_rate)]
    if ":" in plan.addresses[0]:
        words.append("-6")
    return [*words, *plan.addresses]


def progress(output: bytes) -> tuple[str, float] | None:
    """The latest task in a piece of nmap's XML and its per cent, None where it tells none."""
    found = _PROGRESS.findall(output)
    if not found:
        return None
    task, percent = found[-1]
    return task.decode("utf-8", "replace"), float(number(percent.decode()) or 0.0)


def read_report(data: bytes) -> Report:
    """Read nmap's XML.  Raises ``ActionError`` with code ``invalid_report``."""
    root = read_xml(data)
    if local(root) != "nmaprun":
        raise fault("line 1", f"nmap's XML begins with nmaprun, not with {local(root)}")
    finished = root.find("runstats/finished")
    return Report(
        hosts=[_host(element, index) for index, element in enumerate(named(root, "host"), 1)],
        version=root.get("version", ""),
        seconds=None if finished is None else number(finished.get("elapsed")),
        finished=finished is not None and finished.get("exit", "success") == "success",
        problem="" if finished is None else finished.get("errormsg", ""),
    )


def open_port_finding(host: Host, port: Port, severity: Severity, expected: bool | None) -> Finding:
    """The finding of an open port; ``expected`` is None where nobody has said which ports should be open."""
    where = f"{port.port}/{port.protocol}"
    what = " ".join(part for part in (port.service, port.product, port.version) if part)
    named_by = host.names[0] if host.names else host.address
    extra = "" if expected is None else ", which is not expected there"
    return finding(
        "nmap",
        "open-port",
        f"Port {where} is open on {named_by}{extra}",
        severity,
        asset=host.address,
        port=port.port,
        protocol=port.protocol,
        version=port.version,
        evidence="\n".join([what, *(f"{name}: {said}" for name, said in port.scripts.items())]),
        references=port.cpes,
        remediation="" if expected is None else f"Stop the service, close {where} in the firewall, or expect it.",
    )


def _host(element: Element, index: int) -> Host:
    addresses = [one for one in named(element, "address") if one.get("addrtype") != "mac"]
    if not addresses or not addresses[0].get("addr"):
        raise fault(f"host {index}", "it has no address")
    ports = element.find("ports")
    status = element.find("status")
    extra = [] if ports is None else [(one.get("state", ""), one.get("count")) for one in named(ports, "extraports")]
    names = [one.get("name", "") for block in named(element, "hostnames") for one in named(block, "hostname")]
    return Host(
        address=addresses[0].get("addr", ""),
        names=list(dict.fromkeys(name for name in names if name)),
        state="up" if status is None else status.get("state", "unknown"),
        ports=[] if ports is None else [_port(one, f"host {index}") for one in named(ports, "port")],
        others={state: int(count) for state, count in extra if count is not None and count.isdecimal()},
        timed_out=element.get("timedout") == "true",
    )


def _port(element: Element, place: str) -> Port:
    told, state, service = element.get("portid", ""), element.find("state"), element.find("service")
    if not (told.isdecimal() and len(told) < 6 and int(told) < 65536) or state is None:
        raise fault(f"{place}, port {told[:20]!r}", "a port has a number and a state")
    said = {} if service is None else service.attrib
    return Port(
        port=int(told),
        protocol=element.get("protocol", "tcp"),
        state=state.get("state", "unknown"),
        service=said.get("name", ""),
        product=said.get("product", ""),
        version=said.get("version", ""),
        detail=said.get("extrainfo", ""),
        tunnel=said.get("tunnel", ""),
        cpes=[] if service is None else [one.text for one in named(service, "cpe") if one.text],
        scripts={one.get("id", ""): one.get("output", "").strip()[:2000] for one in named(element, "script")},
    )
