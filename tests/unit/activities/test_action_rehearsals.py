"""Every action of the catalogue is rehearsed where it could touch nothing: no network, and a disk that is read-only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from activities.catalogue import BUILT_IN

ROOT = Path(__file__).parents[3]

EXAMPLES: dict[str, dict[str, object]] = {
    "ansible.playbook": {"host": "web-01.example.com", "playbook": "- hosts: all\n  tasks: []\n"},
    "core.echo": {"a": 1},
    "policy.compare": {"baseline": "ssh-hardening", "facts": {"ssh": {"permitrootlogin": "no"}}},
    "report.render": {"report": "incident", "data": {"summary": "It rained in."}},
    "core.set": {"a": 1},
    "core.sleep": {"seconds": 3600},
    "core.fail": {"times": 0},
    "email.send": {
        "host": "mail.example.com",
        "from": "stanchion@example.com",
        "to": "security@example.com",
        "subject": "hello",
        "text": "hello",
        "attachments": [{"artifact": "incident.html"}, {"name": "a.json", "content": {"a": 1}}],
    },
    "asset.lookup": {"hostname": "web-01.example.com"},
    "dns.resolve": {"name": "example.com", "nameserver": "192.0.2.53"},
    "rdap.lookup": {"query": "example.com"},
    "finding.enrich": {"cves": "CVE-2021-44228"},
    "finding.severity": {"score": 9.8, "exposure": "internet"},
    "http.request": {"method": "POST", "url": "https://example.com/x", "json": {"a": 1}},
    "notify.send": {
        "service": "pagerduty",
        "token": "R0UTING",
        "text": "hello",
        "severity": "high",
    },
    "notify.slack": {"webhook_url": "https://hooks.slack.com/services/T/B/X", "text": "hello"},
    "ssh.command": {"host": "web-01.example.com", "command": "systemctl restart nginx"},
    "package.patch": {"host": "web-01.example.com", "package": "openssl", "version": "3.0.17"},
    "service.restart": {"host": "web-01.example.com", "service": "nginx"},
    "firewall.block_ip": {"host": "web-01.example.com", "address": "192.0.2.1"},
    "ssh.upload": {"host": "web-01.example.com", "path": "/etc/motd", "content": "hello"},
    "scan.ports": {"targets": ["example.com", "192.0.2.0/30"], "ports": "22,80-90"},
    "scan.host": {"host": "web-01.example.com"},
    "scan.import": {"scanner": "nuclei", "content": []},
    "ticket.close": {"service": "jira", "url": "https://x.example", "project": "SEC", "token": "t", "ticket": "SEC-1"},
    "ticket.comment": {"service": "github", "project": "o/r", "token": "t", "ticket": "1", "text": "hello"},
    "ticket.create": {"service": "gitlab", "project": "g/p", "token": "t", "title": "hello", "text": "hello"},
    "script.run": {"script": "touch /tmp/touched"},
}

PROGRAM = """
import asyncio, json, os, sys
from activities.action import ActionContext
from activities.catalogue import load_catalogue

async def main() -> None:
    asyncio.get_running_loop().slow_callback_duration = 5
    context = ActionContext("exec-1", "pb-1", "asset-1", "act-001", dry_run=True)
    catalogue = load_catalogue()
    sys.addaudithook(forbid)
    for name, parameters in json.loads(os.environ["EXAMPLES"]).items():
        action = catalogue[name]
        rehearsal = await asyncio.wait_for(action.rehearse(action.Input.model_validate(parameters), context), 2)
        print(json.dumps([name, rehearsal.would]))

RENDERER = ["-B", "-m", "activities.reports.child"]  # bound to its limits, and in this sandbox like all else

def forbid(event: str, arguments: tuple) -> None:
    # A sandbox makes a connection fail; this also catches an attempt whose failure is swallowed.
    if event == "subprocess.Popen" and arguments[1][1:] == RENDERER:
        return
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.exec"):
        raise SystemExit(f"touched the world: {event} {arguments}")
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes and not isinstance(arguments[0], int):  # a pipe that is open already is no file
        raise SystemExit(f"wrote a file: {arguments}")

asyncio.run(main())
"""


def sandboxed(program: str) -> subprocess.CompletedProcess[str]:
    """Run ``program`` with the project in reach, the whole disk read-only, and no network."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    return subprocess.run(
        [*command, "--chdir", str(ROOT), sys.executable, "-B", "-c", program],
        env={"PATH": os.environ["PATH"], "EXAMPLES": json.dumps(EXAMPLES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_action_has_an_example() -> None:
    """A new action is rehearsed here too, or this test says so."""
    assert {action.name for action in BUILT_IN} == set(EXAMPLES)


def test_every_action_rehearses_without_touching_anything() -> None:
    """Each answers with a sentence; none connects, starts a process or writes."""
    finished = sandboxed(PROGRAM)
    assert finished.returncode == 0, finished.stderr
    answers = dict(json.loads(line) for line in finished.stdout.splitlines())
    assert set(answers) == set(EXAMPLES)
    assert all(answers.values())


@pytest.mark.parametrize(
    "attempt",
    [
        'open("touched", "w")',
        '__import__("socket").create_connection(("1.1.1.1", 80), 1)',
    ],
)
def test_the_sandbox_of_this_test_holds(attempt: str) -> None:
    """The sandbox itself stops a write and a connection, so the test above can fail."""
    finished = sandboxed(attempt)
    assert finished.returncode != 0
    assert "OSError" in finished.stderr


def test_the_watch_of_this_test_holds() -> None:
    """An attempt whose failure would be swallowed is seen all the same."""
    swallowing = 'asyncio.run(main())\ntry: open("touched", "w")\nexcept OSError: pass\n'
    finished = sandboxed(PROGRAM.replace("asyncio.run(main())", swallowing))
    assert "wrote a file" in finished.stderr
