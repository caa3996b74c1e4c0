"""How each action of the catalogue is driven with secrets: what it is given, and how the step must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hosts import Machine
from tests.integration.secrets.leaky_service import CUTS
from tests.integration.secrets.markers import Marker

NOBODY = "http://127.0.0.1:1"
"""Where nothing listens."""


@dataclass(frozen=True)
class Site:
    """What is there to be driven against."""

    service: str
    machine: Machine
    tool: str
    """What says every notation of its environment and input on both streams, on the machine."""
    trackers: dict[str, dict[str, Any]]
    """By the service of tickets, the parameters that lead to one which takes each ``plain`` for a token."""
    mail: dict[str, Any]
    """The parameters of a mail server that takes each ``plain`` for a password, and refuses ``leak-…`` with it."""
    syslog: int
    """The port of a syslog server."""

    def login(self, **changes: Any) -> dict[str, Any]:
        """The parameters that log in to the machine, without a key or a password."""
        return {"host": "127.0.0.1", "port": self.machine.port, "host_key": [self.machine.host_key], **changes}


@dataclass(frozen=True)
class Drive:
    """One step: its parameters, and ``completed`` or the code with which it must fail."""

    parameters: dict[str, Any]
    ends: str = "completed"
    timeout: str = "120s"


Drives = Callable[[Site, Marker], list[Drive]]


def _ansible_playbook(site: Site, of: Marker) -> list[Drive]:
    key = {"private_key": of.of("key"), "python": "/usr/bin/python3", "values_in": "brackets"}
    variables = {"secret": of.of("hard"), "plain": of.of("plain")}
    tell = "- hosts: all\n  gather_facts: false\n  tasks:\n"
    says = "    - command: python3 /host/tool.py\n      args: {stdin: '[[ plain ]]'}\n"
    says += "      environment: {SECRET: '[[ secret ]]', CODE: '[[ code ]]', AFTER: '470'}\n"
    writes = (
        "    - copy: {content: '[[ secret ]] [[ secret|b64encode ]] [[ secret|quote ]]', dest: '/tmp/[[ plain ]]'}\n"
    )
    playbook = tell + writes + says
    return [
        Drive({**site.login(**key), "playbook": playbook, "variables": {**variables, "code": 0}}, timeout="60s"),
        Drive(
            {**site.login(**key), "playbook": tell + says, "variables": {**variables, "code": 3}},
            "task_failed",
            timeout="60s",
        ),
        Drive({**site.login(**key), "playbook": f"{tell}    - {of.of('plain')}: x"}, "invalid_playbook", timeout="60s"),
        Drive({**site.login(**key), "playbook": of.of("hard")}, "invalid_playbook", timeout="60s"),
        Drive({**site.login(password=of.of("hard")), "playbook": tell}, "login_refused"),
        Drive({**site.login(**key), "playbook": tell, "files": {f"../{of.of('plain')}": "x"}}, "invalid_input"),
        Drive({**site.login(**key), "playbook": tell, "tags": [of.of("hard")]}, "invalid_input"),
    ]


def _core_echo(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"a": of.of("hard"), "b": [{"c": f"x {of.of('plain')} y"}], "key": of.of("key")})]


def _core_set(site: Site, of: Marker) -> list[Drive]:
    return [Drive({f"kept_{of.source}": f"{of.of('hard')} {of.of('plain')}"})]


def _core_fail(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"message": f"{of.of('hard')}{of.of('plain')}"}, "failed")]


def _core_sleep(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"seconds": of.of("hard")}, "invalid_input")]


def _http_request(site: Site, of: Marker) -> list[Drive]:
    url = f"{site.service}/{of.source}"
    sent: dict[str, Any] = {
        "method": "POST",
        "headers": {"Authorization": f"Bearer {of.of('plain')}"},
        "query": {"q": of.of("hard")},
        "json": {"password": of.of("hard")},
    }
    return [
        Drive({"url": f"{url}/200/json", **sent}),
        Drive({"url": f"{url}/200/text", **sent}),
        Drive({"url": f"{url}/302/redirect", **sent}),
        Drive({"url": f"{url}/500/text", **sent}, "unexpected_status"),
        *(Drive({"url": f"{url}/403/cut{at}", **sent}, "unexpected_status") for at in CUTS),
        Drive({"url": f"{url}/200/hang", **sent, "timeout": 1}, "timed_out"),
        Drive({"url": f"{NOBODY}/{of.of('plain')}", **sent}, "connect_failed"),
        Drive({"url": f"http://{of.of('plain')}.invalid/"}, "resolve_failed"),
        Drive({"url": f"http://x:{of.of('plain')}@127.0.0.1/"}, "invalid_url"),
        Drive({"url": of.of("hard")}, "invalid_url"),
        Drive({"url": f"{url}/200/text", "headers": {"X-Hard": of.of("key")}}, "invalid_input"),
        Drive({"url": url, "method": of.of("hard")}, "invalid_input"),
    ]


def _notify_slack(site: Site, of: Marker) -> list[Drive]:
    url = f"{site.service}/{of.source}"
    return [
        Drive({"webhook_url": f"{url}/200/text?{of.of('plain')}", "text": of.of("hard")}, "slack_refused"),
        *(
            Drive({"webhook_url": f"{url}/403/cut{at}?{of.of('plain')}", "text": of.of("hard")}, "slack_refused")
            for at in CUTS
        ),
        Drive({"webhook_url": f"{url}/200/ok?{of.of('plain')}", "text": f"{'x' * 190}{of.of('hard')}"}),
        Drive({"webhook_url": f"{NOBODY}/{of.of('plain')}", "text": f"{'x' * 190}{of.of('hard')}"}, "connect_failed"),
        Drive({"webhook_url": of.of("hard"), "text": "x"}, "invalid_url"),
    ]


def _notify_send(site: Site, of: Marker) -> list[Drive]:
    url = f"{site.service}/{of.source}"
    text = {"text": f"{'x' * 190}{of.of('hard')}", "fields": {"a": of.of("hard")}}
    chats = [
        Drive({"service": service, "url": f"{url}/{status}/text?{of.of('plain')}", **text}, ends)
        for service in ("slack", "teams", "discord", "webhook")
        for status, ends in ((500, "service_failed"), (401, "unauthorized"), (404, "not_found"))
    ]
    pagers = [
        Drive({"service": service, "url": f"{url}/403/text", "token": of.of("plain"), **text}, "forbidden")
        for service in ("pagerduty", "opsgenie")
    ]
    taken = [
        Drive({"service": service, "url": f"{url}/200/{shape}?{of.of('plain')}", "title": of.of("hard"), **text})
        for service, shape in (("slack", "ok"), ("teams", "text"), ("discord", "discord"), ("webhook", "text"))
    ]
    alerts = [
        Drive({"service": service, "url": f"{url}/200/{service}", "token": of.of("plain"), **more, **text})
        for service in ("pagerduty", "opsgenie")
        for more in ({}, {"event": "resolve", "key": of.of("plain")})
    ]
    return [
        *chats,
        *pagers,
        *taken,
        *alerts,
        Drive({"service": "webhook", "url": f"{url}/200/json?{of.of('plain')}", **text}),
        *(
            Drive({"service": "webhook", "url": f"{url}/403/cut{at}", "text": of.of("hard")}, "forbidden")
            for at in CUTS
        ),
        Drive({"service": "webhook", "url": f"{NOBODY}/{of.of('plain')}", **text}, "connect_failed"),
        Drive({"service": "webhook", "url": url, "text": "x", "signing_secret": of.of("hard")}, "invalid_input"),
        Drive({"service": "pagerduty", "token": of.of("hard"), "url": of.of("hard"), "text": "x"}, "invalid_url"),
        Drive({"service": "apprise", "url": f"json://127.0.0.1:1/{of.of('plain')}", "text": "x"}, "apprise_failed"),
        Drive({"service": "apprise", "url": f"no-such://{of.of('plain')}", "text": of.of("hard")}, "apprise_refused"),
    ]


def _report_render(site: Site, of: Marker) -> list[Drive]:
    data = {"summary": of.of("hard"), "facts": {"a": of.of("plain")}, "recommendations": [of.of("hard")]}
    shapes = [
        {"report": report, "format": form, "data": data, "name": f"{report}-{of.source}.{form}"}
        for report in ("incident", "patch", "compliance")
        for form in ("html", "markdown")
    ]
    every = "[[ data.a ]] [[ data.a|urlencode ]] [[ data.a|e ]] [[ data.a|tojson ]]"
    return [
        *(Drive(shape) for shape in shapes),
        Drive({"report": "incident", "format": "pdf", "data": data, "name": f"pdf-{of.source}.pdf"}),
        Drive(
            {
                "template": every,
                "values_in": "brackets",
                "data": {"a": of.of("hard")},
                "layout": False,
                "name": f"own-{of.source}.html",
            }
        ),
        Drive({"template": f"{{% nothing {of.of('hard')} %}}"}, "template_failed"),
        Drive({"template": "x", "format": of.of("hard")}, "invalid_input"),
        Drive({"template": "x", "name": of.of("hard")}, "invalid_input"),
    ]


def _scan_ports(site: Site, of: Marker) -> list[Drive]:
    return [
        Drive({"targets": ["127.0.0.1"], "ports": of.of("hard")}, "invalid_input"),
        Drive({"targets": ["127.0.0.1"], "expected": [of.of("hard")]}, "invalid_input"),
        Drive({"targets": [f"{of.of('plain')}/24"]}, "invalid_input"),
        Drive({"targets": [f"{of.of('plain')}.invalid"], "ports": "1"}, "resolve_failed"),
    ]


def _scan_import(site: Site, of: Marker) -> list[Drive]:
    line = '{"template-id": "x", "info": {"name": "%s", "severity": "high"}, "host": "%s", "matched-at": "http://h/%s"}'
    line = line % (of.of("plain"), of.of("plain"), of.of("plain"))
    return [
        Drive({"scanner": "nuclei", "content": line, "skip_broken": True}),
        Drive({"scanner": "nuclei", "content": of.of("hard")}, "invalid_report"),
        Drive({"scanner": "trivy", "content": of.of("hard")}, "invalid_report"),
        Drive({"scanner": "openscap", "content": f"<a><{of.of('plain')} b='"}, "invalid_report"),
        Drive({"scanner": of.of("hard"), "content": "x"}, "invalid_input"),
        Drive({"scanner": "trivy", "artifact": f"{of.of('plain')}.json"}, "unknown_artifact"),
    ]


def _scan_host(site: Site, of: Marker) -> list[Drive]:
    key = {"private_key": of.of("key")}
    return [
        Drive({**site.login(**key), "asset": of.of("plain"), "timeout_seconds": 5}, "timed_out"),
        Drive(site.login(username="ops", password=of.of("hard")), "login_refused"),
        Drive(site.login(private_key=of.of("hard")), "invalid_key"),
        Drive({**site.login(**key), "port": 1, "asset": of.of("hard")}, "connect_failed"),
        Drive({**site.login(**key), "username": of.of("hard")}, "invalid_input"),
        Drive({**site.login(**key), "groups": [of.of("hard")]}, "invalid_input"),
    ]


def _policy_compare(site: Site, of: Marker) -> list[Drive]:
    rules = [
        {"name": "shown", "expression": "facts.a == 'x'", "title": of.of("hard"), "remediation": of.of("plain")},
        {"name": "cut", "expression": "facts.long == 'x'"},
        {"name": "told", "expression": "timestamp(facts.a) == timestamp(facts.a)"},
        {"name": "waived", "expression": "false"},
    ]
    waiver = {"rule": "waived", "reason": of.of("hard"), "by": of.of("plain"), "until": "2999-12-31"}
    facts = {"a": of.of("hard"), "long": f"{'x' * 190}{of.of('hard')}"}
    baseline = {"name": f"own-{of.source}", "rules": rules}
    faulty = {"name": "own", "rules": [{"name": "bad", "expression": f"'{of.of('plain')}' == {of.of('plain')}.b"}]}
    return [
        Drive({"baseline": baseline, "facts": facts, "waivers": [waiver], "subject": of.of("plain")}),
        Drive({"baseline": faulty, "facts": {}}, "invalid_baseline"),
        Drive({"baseline": of.of("hard"), "facts": {}}, "invalid_input"),
        Drive({"baseline": baseline, "facts": of.of("hard")}, "invalid_input"),
        Drive({"baseline": baseline, "facts": {}, "waivers": [{**waiver, "until": of.of("hard")}]}, "invalid_input"),
    ]


SCRIPT = """
import base64, json, os, sys, urllib.parse, html, pathlib
for value in (os.environ["SECRET"], sys.stdin.read()):
    raw = value.encode()
    for out in (sys.stdout, sys.stderr):
        for shift in range(3):
            print(base64.b64encode(b"x" * shift + raw).decode(), base64.urlsafe_b64encode(b"x" * shift + raw).decode(), file=out)
        print(value, raw.hex(), json.dumps(value), urllib.parse.quote(value), html.escape(value), repr(value), file=out)
code = int(os.environ.get("CODE") or 0)
if code:
    sys.stdout.flush()
    sys.stderr.write(value + "x" * int(os.environ["AFTER"]))
sys.exit(code)
"""  # noqa: E501


def _script_run(site: Site, of: Marker) -> list[Drive]:
    given: dict[str, Any] = {"interpreter": "python3", "script": SCRIPT, "stdin": of.of("hard")}
    environment = {"SECRET": of.of("hard")}
    return [
        Drive({**given, "arguments": environment}),
        *(
            Drive({**given, "arguments": {**environment, "CODE": 3, "AFTER": after}}, "unexpected_exit_code")
            for after in (0, 470, 485)
        ),
        Drive({"script": f"echo {of.of('plain')}; exit 4"}, "unexpected_exit_code"),
        Drive({"script": f"sleep 30 # {of.of('plain')}", "timeout_seconds": 1}, "timed_out"),
        Drive({"script": "x", "interpreter": of.of("hard")}, "invalid_input"),
        Drive({"script": "while :; do echo $S; done", "arguments": {"S": of.of("hard")}}, "output_limit"),
    ]


def _ssh_command(site: Site, of: Marker) -> list[Drive]:
    key = {"private_key": of.of("key")}
    tool = {"command": site.tool, "environment": {"SECRET": of.of("hard")}, "stdin": of.of("hard")}
    failing = [
        Drive(
            {**site.login(**key), **tool, "environment": {"SECRET": of.of("hard"), "CODE": "3", "AFTER": after}},
            "unexpected_exit_code",
        )
        for after in ("0", "470", "485")
    ]
    return [
        Drive({**site.login(**key), **tool}),
        *failing,
        Drive({**site.login(username=f"u-{of.source}", password=of.of("plain")), "command": f"echo {of.of('plain')}"}),
        Drive({**site.login(username="ops", password=of.of("hard")), "command": "true"}, "login_refused"),
        Drive({**site.login(private_key=of.of("hard")), "command": "true"}, "invalid_key"),
        Drive({**site.login(passphrase=of.of("hard"), **key), "command": of.of("plain")}, "unexpected_exit_code"),
        Drive({**site.login(**key), "command": "true", "username": of.of("hard")}, "invalid_input"),
        Drive({**site.login(**key), "port": 1, "command": of.of("hard")}, "connect_failed"),
        Drive({**site.login(**key), "command": f"sleep 30 # {of.of('plain')}"}, "timed_out", "2s"),
        Drive({**site.login(host_key=[of.of("hard")], **key), "command": "true"}, "invalid_input"),
    ]


def _ssh_upload(site: Site, of: Marker) -> list[Drive]:
    key = {"private_key": of.of("key")}
    return [
        Drive({**site.login(**key), "path": f"/tmp/up-{of.source}", "content": of.of("hard"), "sensitive": True}),
        Drive({**site.login(**key), "path": f"/tmp/{of.of('plain')}/x", "content": of.of("hard")}, "parent_missing"),
        Drive({**site.login(password=of.of("hard")), "path": "/tmp/x", "content": "x"}, "login_refused"),
        Drive({**site.login(**key), "path": "/tmp/x", "content": "x", "mode": of.of("hard")}, "invalid_input"),
    ]


def _package_patch(site: Site, of: Marker) -> list[Drive]:
    key = {"private_key": of.of("key")}
    return [
        Drive({**site.login(**key), "package": f"p{of.of('plain')}", "refresh": False}, "unknown_package"),
        Drive({**site.login(**key), "package": "dpkg", "version": f"9{of.of('plain')}", "mode": "inspect"}),
        Drive({**site.login(password=of.of("hard")), "package": "dpkg"}, "login_refused"),
        Drive({**site.login(private_key=of.of("hard")), "package": "dpkg"}, "invalid_key"),
        Drive({**site.login(**key), "package": of.of("hard")}, "invalid_input"),
        Drive({**site.login(**key), "package": "dpkg", "version": of.of("hard")}, "invalid_input"),
    ]


def _service_restart(site: Site, of: Marker) -> list[Drive]:
    key = {"private_key": of.of("key")}
    return [
        Drive({**site.login(**key), "service": f"s{of.of('plain')}"}, "unknown_service"),
        Drive({**site.login(password=of.of("hard")), "service": "ssh"}, "login_refused"),
        Drive({**site.login(private_key=of.of("hard")), "service": "ssh"}, "invalid_key"),
        Drive({**site.login(**key), "service": of.of("hard")}, "invalid_input"),
    ]


def _firewall_block_ip(site: Site, of: Marker) -> list[Drive]:
    key = {"private_key": of.of("key")}
    return [
        Drive({**site.login(**key), "address": "127.0.0.1", "never_block": ["192.0.2.1"]}, "protected_address"),
        Drive({**site.login(password=of.of("hard")), "address": "192.0.2.1"}, "login_refused"),
        Drive({**site.login(private_key=of.of("hard")), "address": "192.0.2.1"}, "invalid_key"),
        Drive({**site.login(**key), "address": of.of("hard")}, "invalid_input"),
        Drive({**site.login(**key), "address": "192.0.2.1", "never_block": [of.of("plain")]}, "invalid_input"),
    ]


def _email_send(site: Site, of: Marker) -> list[Drive]:
    given = {"host": "127.0.0.1", "port": 1, "from": "a@example.com", "to": ["b@example.com"], "subject": of.of("hard")}
    login = {"username": "x", "password": of.of("plain")}
    taken = {**given, **site.mail, "text": of.of("hard"), "headers": {"X-Token": of.of("plain")}}
    file = {"name": "key.txt", "content": of.of("key")}
    return [
        Drive({**given, **login, "text": of.of("hard")}, "connect_failed"),
        Drive({**given, **login, "text": "x", "to": [of.of("hard")]}, "invalid_input"),
        Drive({**taken, "password": of.of("plain"), "html": f"<p>{of.of('hard')}</p>", "attachments": [file]}),
        Drive({**taken, "password": of.of("hard")}, "login_refused"),
        Drive({**taken, "password": of.of("plain"), "to": [f"leak-{of.source}@example.com"]}, "recipients_refused"),
        Drive({**taken, "password": of.of("plain"), "ca": None}, "tls_failed"),
    ]


def _ticket(site: Site, of: Marker, **more: Any) -> list[Drive]:
    given = {"project": "a/b", "token": of.of("plain"), **more}
    ends = ((401, "unauthorized"), (403, "forbidden"), (500, "service_failed"))
    return [
        *(
            Drive({**given, "service": service, "url": f"{site.service}/{of.source}/{status}/plain"}, code)
            for service in ("github", "gitlab")
            for status, code in ends
        ),
        Drive({**given, "service": "github", "url": f"{NOBODY}/{of.of('plain')}"}, "connect_failed"),
        Drive({**given, "service": of.of("hard")}, "invalid_input"),
        *(_taken_by(tracker, service, given) for service, tracker in site.trackers.items()),
    ]


def _taken_by(tracker: dict[str, Any], service: str, given: dict[str, Any]) -> Drive:
    """A service does it; where a ticket must be there, it is the first."""
    ticket = {"ticket": "SEC-1" if service.startswith("jira") else "1"} if "ticket" in given else {}
    return Drive({**given, **tracker, **ticket})


def _ticket_create(site: Site, of: Marker) -> list[Drive]:
    return _ticket(site, of, title=of.of("plain"), text=of.of("hard"))


def _ticket_comment(site: Site, of: Marker) -> list[Drive]:
    return _ticket(site, of, ticket="12", text=of.of("hard"))


def _ticket_close(site: Site, of: Marker) -> list[Drive]:
    return _ticket(site, of, ticket="12")


def _asset_lookup(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"hostname": of.of("plain")}), Drive({"limit": of.of("hard")}, "invalid_input")]


def _dns_resolve(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"name": "example.com", "type": of.of("hard")}, "invalid_input")]


def _rdap_lookup(site: Site, of: Marker) -> list[Drive]:
    return [
        Drive({"query": "example.com", "base_url": f"{NOBODY}/{of.of('plain')}"}, "connect_failed"),
        Drive(
            {"query": "example.com", "base_url": f"{site.service}/{of.source}/403/plain/{of.of('plain')}"}, "forbidden"
        ),
        Drive({"query": of.of("hard"), "base_url": site.service}, "invalid_input"),
        Drive({"query": "example.com", "kind": of.of("hard")}, "invalid_input"),
    ]


def _finding_enrich(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"text": of.of("hard")}), Drive({"vector": of.of("hard")}, "invalid_input")]


def _finding_severity(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"owner": of.of("plain")}), Drive({"exposure": of.of("hard")}, "invalid_input")]


def _syslog_send(site: Site, of: Marker) -> list[Drive]:
    """The plug-in of docs/examples."""
    given = {"host": "127.0.0.1", "port": site.syslog, "message": f"{'x' * 190}{of.of('hard')}"}
    return [
        Drive({**given, "fields": {"token": of.of("hard"), "other": of.of("plain")}}),
        Drive({**given, "port": 1}, "connect_failed"),
        Drive({**given, "host": f"{of.of('plain')}.invalid"}, "resolve_failed"),
        Drive({**given, "tls": True, "timeout": 2}, "timed_out"),
        Drive({**given, "severity": of.of("hard")}, "invalid_input"),
    ]


def _test_blurt(site: Site, of: Marker) -> list[Drive]:
    return [Drive({"text": of.of("hard")}, "internal"), Drive({"text": of.of("key")}, "internal")]


DRIVES: dict[str, Drives] = {
    "ansible.playbook": _ansible_playbook,
    "core.echo": _core_echo,
    "core.fail": _core_fail,
    "core.set": _core_set,
    "core.sleep": _core_sleep,
    "firewall.block_ip": _firewall_block_ip,
    "http.request": _http_request,
    "notify.send": _notify_send,
    "notify.slack": _notify_slack,
    "package.patch": _package_patch,
    "policy.compare": _policy_compare,
    "report.render": _report_render,
    "scan.host": _scan_host,
    "scan.import": _scan_import,
    "scan.ports": _scan_ports,
    "script.run": _script_run,
    "ssh.command": _ssh_command,
    "asset.lookup": _asset_lookup,
    "dns.resolve": _dns_resolve,
    "email.send": _email_send,
    "finding.enrich": _finding_enrich,
    "finding.severity": _finding_severity,
    "rdap.lookup": _rdap_lookup,
    "service.restart": _service_restart,
    "ssh.upload": _ssh_upload,
    "syslog.send": _syslog_send,
    "ticket.close": _ticket_close,
    "ticket.comment": _ticket_comment,
    "ticket.create": _ticket_create,
    "test.blurt": _test_blurt,
}
"""By the action's name.  A new action gets its own here: each way in for a secret, and each way to fail with one."""
