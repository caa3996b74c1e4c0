"""The shipped playbooks as the demo runs them: what each is given, what must come of it, what a machine lacks."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from cli.local_host import LOOPBACK, USER, LocalHost
from cli.mail_sink import MAIL, MailSink, is_installed
from cli.received import Received
from cli.receiver import TICKET_TOKEN, Receiver
from cli.samples import GUIDE_ASSET

TICKETS = "/api/v4/projects/security%2Fincidents/issues"
STAKEHOLDER = "security@example.com"
OWN_BASELINE = {
    "name": "demo",
    "rules": [
        {"name": "known-system", "title": "The system is known", "expression": "facts.os.startsWith('debian')"},
        {
            "name": "no-openssl",
            "title": "OpenSSL is not the package that is watched",
            "expression": "facts.package != 'openssl'",
            "severity": "low",
            "remediation": "Take the finding of the demo for what it is.",
        },
    ],
}
"""Rules for what an asset's attributes can tell."""


@dataclass(frozen=True, slots=True)
class Showcase:
    """One playbook: its parameters, and the places that the live run, and only that, must have reached.

    ``notes`` say which part of it this machine cannot run, and what that would take; with ``skipped`` none of it runs.
    """

    playbook: str
    parameters: dict[str, Any] = field(default_factory=dict)
    expected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: bool = False
    asset: str = GUIDE_ASSET


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the playbooks talk to, all of it on this machine; what it lacks is None."""

    receiver: Receiver
    mail: MailSink | None = None
    host: LocalHost | None = None

    def received(self) -> list[Received]:
        """Requests and mails since the last ``clear``."""
        return [*self.receiver.received(), *(self.mail.received() if self.mail else ())]

    def clear(self) -> None:
        """Forgets what came."""
        self.receiver.clear()
        if self.mail:
            self.mail.clear()

    def environment(self) -> dict[str, str]:
        """The settings of the demo's worker: it may reach these places and no other of this machine."""
        places = [self.receiver.address]
        places += [f"{LOOPBACK}:{side.port}" for side in (self.mail, self.host) if side is not None]
        secrets = {"STANCHION_SECRET_TICKET_TOKEN": TICKET_TOKEN}
        if self.host is not None:
            secrets["STANCHION_SECRET_SSH_KEY"] = self.host.private_key
        return {"STANCHION_EGRESS_ALLOW": ",".join(places), **secrets}


@contextlib.contextmanager
def surroundings(every: bool) -> Iterator[Surroundings]:
    """What there is to talk to: the receiver, and for ``every`` playbook a mail server and a host too."""
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        mail = stack.enter_context(MailSink()) if every and is_installed() else None
        host = stack.enter_context(LocalHost()) if every else None
        yield Surroundings(receiver, mail, host)


def showcases(around: Surroundings, every: bool) -> list[Showcase]:
    """Incident triage, and for ``every`` playbook the other two."""
    triage = incident_triage(around)
    return [triage, automated_patching(around), compliance_check(around)] if every else [triage]


def incident_triage(around: Surroundings) -> Showcase:
    """Looks a vulnerability up, rates it, tells the chat and opens a ticket: the receiver plays chat and GitLab."""
    parameters = {
        "notify_channel": "#incident-response",
        "auto_assign": True,
        "cve": "CVE-2021-44228",
        "webhook_url": f"{around.receiver.url}/slack",
        "ticket_service": "gitlab",
        "ticket_project": "security/incidents",
        "ticket_url": around.receiver.url,
    }
    return Showcase("incident-triage", parameters, ("POST /slack", f"POST {TICKETS}"))


def automated_patching(around: Surroundings) -> Showcase:
    """Looks this machine's package manager up over SSH; a demo changes no package of the machine that it runs on."""
    package = "dpkg" if shutil.which("apt-get") else "rpm" if shutil.which("dnf") else None
    if around.host is None or package is None:
        note = "It wants a host with apt or dnf, and there is neither in the PATH of this machine."
        return Showcase("automated-patching", notes=(note,), skipped=True)
    login = {"host": LOOPBACK, "ssh_port": around.host.port, "ssh_user": USER, "host_key": [around.host.host_key]}
    parameters = {**login, "package": package, "patch_version": "0.1", "webhook_url": f"{around.receiver.url}/slack"}
    note = (
        f"It patches nothing here: it asks for a version of {package} that this machine has long passed, and says so. "
        "Give it a host of yours, and it patches that."
    )
    return Showcase("automated-patching", parameters, ("POST /slack",), (note,))


def compliance_check(around: Surroundings) -> Showcase:
    """Scans this machine over SSH where it has Lynis, compares, reports and mails."""
    parameters: dict[str, Any] = {}
    expected: tuple[str, ...] = ()
    notes = []
    if around.host is not None and shutil.which("lynis"):
        login = {"host": LOOPBACK, "ssh_port": around.host.port, "ssh_user": USER, "host_key": [around.host.host_key]}
        # Two groups of tests: a whole scan takes minutes.
        parameters |= {**login, "scan_groups": ["logging", "accounting"], "baseline": "linux-host"}
    else:
        parameters["baseline"] = OWN_BASELINE
        notes.append(
            "Without the scan, for which there is no lynis in the PATH (apt-get install lynis): the asset's "
            "attributes are the facts that are compared."
        )
    if around.mail is not None:
        server = {"mail_host": LOOPBACK, "mail_port": around.mail.port, "mail_security": "none"}
        parameters |= {**server, "stakeholders": [STAKEHOLDER]}
        expected = (f"{MAIL} {STAKEHOLDER}",)
    else:
        notes.append("Without the mail, for which aiosmtpd is not installed (pip install 'stanchion[demo]').")
    return Showcase("compliance-check", parameters, expected, tuple(notes))
