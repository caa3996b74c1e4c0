"""How each action that connects is driven against each fault, and the codes with which it may end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.mail_server import PASSWORD
from tests.unit.activities.faults.sides import Sides

FAULTS = ("unreachable", "wrong_key", "login_refused", "server_error", "flood", "hang", "bad_certificate")

TOKEN = "t0ken-of-the-step"


@dataclass(frozen=True)
class Drive:
    """One step: its parameters, and the code with which it must fail, or ``completed``; ``timeout`` in seconds."""

    label: str
    parameters: dict[str, Any]
    ends: str
    timeout: float = 200.0


Drives = Callable[[Sides, str], list[Drive]]

HANGS_FOR = 2.0
"""Seconds that a step has which is not answered."""

OF_HTTP = {
    "unreachable": "connect_failed",
    "wrong_key": "unauthorized",
    "login_refused": "forbidden",
    "server_error": "service_failed",
    "flood": "response_too_large",
    "head_flood": "connection_lost",
    "hang": "timed_out",
    "bad_certificate": "tls_failed",
}
OF_SSH = {
    "unreachable": "connect_failed",
    "wrong_key": "login_refused",
    "login_refused": "login_refused",
    "server_error": "shell_missing",
    "flood": "output_limit",
    "babble": "shell_missing",
    "banner_flood": "ssh_failed",
    "line_flood": "ssh_failed",
    "hang": "timed_out",
    "deaf": "timed_out",
    "bad_certificate": "host_key_changed",
}
ALSO = {"flood": ("head_flood",)}
ALSO_OF_SSH = {"flood": ("babble", "banner_flood", "line_flood"), "hang": ("deaf",)}


def _kinds(fault: str, also: dict[str, tuple[str, ...]]) -> list[str]:
    return [fault, *also.get(fault, ())]


def _timeout(kind: str) -> float:
    return HANGS_FOR if kind in ("hang", "deaf") else 200.0


def _http(make: Callable[[str], dict[str, Any]], **other: str) -> Drives:
    """Of an action that speaks HTTP; ``make`` makes the parameters of a base URL, ``other`` has its own codes."""

    def drives(sides: Sides, fault: str) -> list[Drive]:
        return [
            Drive(kind, make(sides.url(kind)), {**OF_HTTP, **other}[kind], _timeout(kind))
            for kind in _kinds(fault, ALSO)
        ]

    return drives


def _each(**makers: Drives) -> Drives:
    """Of an action that speaks to several services."""

    def drives(sides: Sides, fault: str) -> list[Drive]:
        return [
            Drive(f"{service}, {one.label}", one.parameters, one.ends, one.timeout)
            for service, make in makers.items()
            for one in make(sides, fault)
        ]

    return drives


def _ssh(parameters: dict[str, Any], **other: str) -> Drives:
    """Of an action over SSH."""

    def drives(sides: Sides, fault: str) -> list[Drive]:
        return [
            Drive(
                kind,
                {**parameters, **sides.login(kind), "connect_timeout": 100},
                {**OF_SSH, **other}[kind],
                _timeout(kind),
            )
            for kind in _kinds(fault, ALSO_OF_SSH)
        ]

    return drives


def _notify(service: str, **more: Any) -> Drives:
    return _http(lambda url: {"service": service, "url": url, "text": "hello", **more})


def _apprise(sides: Sides, fault: str) -> list[Drive]:
    url = sides.url(fault).replace("https:", "jsons:").replace("http:", "json:")
    ends = "timed_out" if fault == "hang" else "apprise_failed"
    return [Drive("apprise", {"service": "apprise", "url": url, "text": "hello"}, ends, _timeout(fault))]


def _ticket(**more: Any) -> Drives:
    def of(service: str, project: str, **user: str) -> Drives:
        given = {"service": service, "project": project, "token": TOKEN, **user, **more}
        if "ticket" in more and project == "SEC":
            given["ticket"] = "SEC-12"
        return _http(lambda url: {**given, "url": url})

    return _each(
        github=of("github", "acme/web"),
        gitlab=of("gitlab", "acme/web"),
        jira=of("jira", "SEC", user="bot@example.com"),
        data_center=of("jira_data_center", "SEC"),
    )


def _mail(sides: Sides, fault: str) -> list[Drive]:
    ends = {
        "unreachable": "connect_failed",
        "login_refused": "login_refused",
        "server_error": "sender_refused",
        "flood": "bad_answer",
        "line_flood": "bad_answer",
        "hang": "timed_out",
        "bad_certificate": "tls_failed",
    }
    message = {"from": "a@example.com", "to": ["b@example.com"], "subject": "Hello", "text": "hello"}
    kinds = _kinds(fault, {"flood": ("line_flood",)})
    return [Drive(kind, {**message, **sides.mailbox(kind)}, ends[kind], _timeout(kind)) for kind in kinds]


def _names(sides: Sides, fault: str) -> list[Drive]:
    ends = {
        "unreachable": "timed_out",  # a packet to nobody is not answered
        "login_refused": "dns_refused",
        "server_error": "dns_failed",
        "flood": "bad_answer",
        "hang": "timed_out",
    }
    seconds = 4 if fault == "unreachable" else 60
    parameters = {"name": "example.test", "nameserver": f"127.0.0.1:{sides.names[fault]}", "timeout": seconds}
    return [Drive(fault, parameters, ends[fault], _timeout(fault))]


def _ansible(sides: Sides, fault: str) -> list[Drive]:
    """Ansible takes in whatever a host says, ever more slowly, until its time is over."""
    endless = ("flood", "babble")
    codes = {"server_error": "task_failed", **dict.fromkeys(endless, "timed_out")}
    drives = _ssh({"playbook": PLAY}, **codes)(sides, fault)
    for one in drives:
        one.parameters["timeout_seconds"] = 6 if one.label in endless else 200
    return drives


def _ports(sides: Sides, fault: str) -> list[Drive]:
    """A port that is closed or has a fault is what the scan is there to tell; only one that hangs can fail it."""
    port = {
        "unreachable": 1,
        "server_error": sides.mail_refusing,
        "flood": sides.floods["line"],
        "hang": sides.hanging,
        "bad_certificate": sides.https,
    }[fault]
    given: dict[str, Any] = {"targets": ["127.0.0.1"], "ports": str(port), "timing": "fast", "timeout_seconds": 200}
    given["detect_services"] = fault in ("flood", "hang")
    return [Drive(fault, given, "timed_out" if fault == "hang" else "completed", _timeout(fault))]


NO_FILES = dict.fromkeys(("server_error", "flood", "babble"), "sftp_missing")
PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n    - raw: 'true'\n"

ROWS: dict[str, Drives] = {
    "ansible.playbook": _ansible,
    "dns.resolve": _names,
    "email.send": _mail,
    "http.request": _http(
        lambda url: {"url": url, "headers": {"Authorization": f"Bearer {TOKEN}"}},
        wrong_key="unexpected_status",
        login_refused="unexpected_status",
        server_error="unexpected_status",
    ),
    "notify.send": _each(
        slack=_notify("slack"),
        teams=_notify("teams"),
        discord=_notify("discord"),
        webhook=_notify("webhook"),
        pagerduty=_notify("pagerduty", token=TOKEN),
        opsgenie=_notify("opsgenie", token=TOKEN),
        apprise=_apprise,
    ),
    "notify.slack": _http(
        lambda url: {"webhook_url": url, "text": "hello"},
        wrong_key="slack_refused",
        login_refused="slack_refused",
        server_error="slack_refused",
    ),
    "firewall.block_ip": _ssh({"address": "192.0.2.1"}),
    "package.patch": _ssh({"package": "dpkg", "refresh": False}),
    "rdap.lookup": _http(lambda url: {"query": "example.com", "base_url": url}),
    "scan.host": _ssh({"timeout_seconds": 200}),
    "scan.ports": _ports,
    "service.restart": _ssh({"service": "nginx"}),
    "ssh.command": _ssh({"command": "true"}),
    "ssh.upload": _ssh({"path": "/tmp/file", "content": "x"}, **NO_FILES),
    "ticket.close": _ticket(ticket="12"),
    "ticket.comment": _ticket(ticket="12", text="hello"),
    "ticket.create": _ticket(title="Finding", text="hello"),
}
"""Every action that connects.  A new one gets its row here."""

STAYS_HERE = frozenset(
    {
        *("asset.lookup", "core.echo", "core.fail", "core.set", "core.sleep", "finding.enrich", "finding.severity"),
        *("policy.compare", "report.render", "scan.import", "script.run"),
    }
)
"""Actions that connect to nothing but the worker's own database."""

NOT_THERE = {
    ("dns.resolve", "wrong_key"): "the DNS knows no key of the one who asks",
    ("dns.resolve", "bad_certificate"): "the DNS is asked without TLS",
    ("email.send", "wrong_key"): "a mail server asks for a password, which is refused as login_refused",
    ("scan.ports", "wrong_key"): "nothing logs in to a port",
    ("scan.ports", "login_refused"): "nothing logs in to a port",
}
"""Faults that an action cannot meet, and why."""

SECRETS = (TOKEN, PASSWORD, "not-the-password")
"""What must not stand in any error."""
