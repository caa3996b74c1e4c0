"""``ansible.playbook`` with a real Ansible on a real host."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from activities.action import ActionContext, ActionError
from activities.ansible.action import AnsibleInput, AnsibleOutput, AnsiblePlaybook
from activities.egress import EgressPolicy
from tests.hosts import OPS_PASSWORD, Machine
from tests.unit.activities.action_support import make_context

BANNER = """
- name: Banners
  hosts: all
  gather_facts: false
  tasks:
    - name: Write
      ansible.builtin.copy: {content: "[[ text ]]\\n", dest: "[[ path ]]"}
    - name: Look
      ansible.builtin.command: cat [[ path ]]
      register: seen
      changed_when: false
      check_mode: CHECK
    - name: Kept back
      ansible.builtin.debug: {msg: "[[ text ]]"}
      no_log: true
    - name: Never mind
      ansible.builtin.fail: {msg: no}
      ignore_errors: true
    - name: Left out
      ansible.builtin.debug: {msg: x}
      when: false
"""


def inputs(machine: Machine, playbook: str = BANNER.replace("CHECK", "true"), **changes: Any) -> AnsibleInput:
    """The input for a playbook on the machine."""
    given = {"python": "/usr/bin/python3", "values_in": "brackets", "timeout_seconds": 120, **changes}
    return AnsibleInput.model_validate({**machine.login(), "playbook": playbook, **given})


async def run(machine: Machine, context: ActionContext, *arguments: str, **changes: Any) -> AnsibleOutput:
    """What a playbook did."""
    return await AnsiblePlaybook().run(inputs(machine, *arguments, **changes), context)


async def failure(machine: Machine, context: ActionContext, *arguments: str, **changes: Any) -> ActionError:
    """The error that a playbook ends with."""
    with pytest.raises(ActionError) as raised:
        await run(machine, context, *arguments, **changes)
    return raised.value


def tasks(body: str) -> str:
    """A playbook with these tasks."""
    return "- hosts: all\n  gather_facts: false\n  tasks:\n" + "".join(f"    {line}\n" for line in body.splitlines())


async def test_a_rehearsal_shows_the_change_and_the_run_makes_it(machine: Machine, context: ActionContext) -> None:
    """--check touches nothing and tells the difference; the live run after it changes, and a second one does not."""
    path = "/tmp/ansible-banner"
    machine.inside(f"rm -f {path}")
    variables = {"text": "stay out", "path": path}
    reading = make_context(dry_run=True, dry_run_reads=True)
    rehearsal = await AnsiblePlaybook().rehearse(inputs(machine, variables=variables), reading)
    assert "1 tasks would change" in rehearsal.would
    assert [(effect["task"], "+stay out" in str(effect["diff"])) for effect in rehearsal.effects] == [("Write", True)]
    assert machine.inside(f"ls {path}", check=False).strip() != path
    playbook = BANNER.replace("CHECK", "false")
    done = await run(machine, context, playbook, variables=variables)
    assert machine.inside(f"cat {path}") == "stay out\n"
    statuses = {result.task: result.status for result in done.results}
    expected = {"Write": "changed", "Look": "ok", "Kept back": "ok", "Never mind": "ignored", "Left out": "skipped"}
    assert statuses == expected
    assert (done.changed, done.failed, done.unreachable, done.skipped, done.ignored) == (1, 0, 0, 1, 1)
    told = {result.task: result for result in done.results}
    assert told["Look"].message == "stay out"
    assert told["Kept back"].message == "no_log"
    assert "+stay out" in told["Write"].diff
    assert (await run(machine, context, playbook, variables=variables)).changed == 0


async def test_a_rehearsal_that_may_not_read_connects_to_nothing() -> None:
    """Without reads, and with a task that --check would run for real, it only says what would run."""
    given = {"host": "web.invalid", "password": "x", "playbook": tasks("- command: reboot\n  check_mode: no")}
    for reads, told in ((False, "Would run a play on all on web.invalid as root."), (True, "check_mode: false")):
        context = make_context(dry_run=True, dry_run_reads=reads)
        rehearsal = await AnsiblePlaybook().rehearse(AnsibleInput.model_validate(given), context)
        assert told in rehearsal.would
        assert [effect["kind"] for effect in rehearsal.effects] == ["ansible"]


async def test_a_rehearsal_answers_when_it_cannot_look() -> None:
    """A host that is away is told in the sentence; the rehearsal goes on."""
    given = {"host": "127.0.0.1", "port": 1, "password": "x", "playbook": tasks("- command: reboot")}
    context = make_context(dry_run=True, dry_run_reads=True)
    rehearsal = await AnsiblePlaybook().rehearse(AnsibleInput.model_validate(given), context)
    assert "trying it out failed: Cannot connect" in rehearsal.would


async def test_a_password_become_and_roles(machine: Machine, context: ActionContext) -> None:
    """A login by password, sudo, a group, a role with a template: the usual things work."""
    done = await AnsiblePlaybook().run(
        inputs(
            machine,
            "- hosts: web\n  gather_facts: false\n  roles: [motd]\n",
            username="ops",
            private_key=None,
            password=OPS_PASSWORD,
            become=True,
            groups=["web"],
            variables={"who": "ops"},
            files={
                "roles/motd/tasks/main.yml": "- template: {src: motd.j2, dest: /etc/ansible-motd, owner: root}\n",
                "roles/motd/templates/motd.j2": "hello [[ who ]]\n",
            },
        ),
        context,
    )
    assert done.changed == 1
    assert machine.inside("stat -c %U /etc/ansible-motd; cat /etc/ansible-motd") == "root\nhello ops\n"


async def test_a_failed_task_is_told_by_name(machine: Machine, context: ActionContext) -> None:
    """The code, the task and its words."""
    error = await failure(machine, context, tasks("- name: Break\n  command: ls /no/such/place"))
    assert error.code == "task_failed"
    assert "Break failed" in error.message


async def test_a_playbook_that_is_none(machine: Machine, context: ActionContext) -> None:
    """Ansible's own words for what it cannot read."""
    error = await failure(machine, context, tasks("- no.such.module: {}"))
    assert error.code == "invalid_playbook"
    assert "no.such.module" in error.message


async def test_no_python_there(machine: Machine, context: ActionContext) -> None:
    """The host has no such Python."""
    error = await failure(machine, context, tasks("- ping:"), python="/no/python3")
    assert error.code in ("task_failed", "host_unreachable")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"host_key": ["SHA256:" + "A" * 43]}, "host_key_changed"),
        ({"host_key": None}, "host_key_unknown"),
        ({"port": 1}, "connect_failed"),
        ({"username": "ops", "private_key": None, "password": "wrong"}, "login_refused"),
        ({"private_key": "no key"}, "invalid_key"),
    ],
)
async def test_what_the_host_refuses(
    machine: Machine, context: ActionContext, changes: dict[str, Any], code: str
) -> None:
    """Each refusal of SSH has its own code, before Ansible is started."""
    assert (await failure(machine, context, **changes)).code == code


async def test_the_egress_guard_stands_before_it(machine: Machine) -> None:
    """A private address that nobody opened is not connected to."""
    assert (await failure(machine, make_context(egress=EgressPolicy()))).code == "egress_refused"


async def test_what_runs_on_the_worker_is_shut_in(
    machine: Machine, context: ActionContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task for localhost sees no file and no variable of the worker, and has no network."""
    (tmp_path / "secret").write_text("x")
    monkeypatch.setenv("STANCHION_SECRET_X", "s3cret")
    looks = {
        f"ls {tmp_path}/secret": "No such file",
        "printenv STANCHION_SECRET_X": "non-zero return code",
        f"python3 -c \"import socket; socket.create_connection(('127.0.0.1', {machine.port}))\"": "refused",
    }
    for command, told in looks.items():
        error = await failure(machine, context, tasks(f"- shell: |-\n    {command}\n  delegate_to: localhost"))
        assert error.code == "task_failed"
        assert told in error.message


async def test_a_cancel_kills_everything(machine: Machine, context: ActionContext) -> None:
    """Neither Ansible on the worker nor its connection is left."""
    playbook = tasks("- command: sh -c 'touch /tmp/ansible-sleeps; exec sleep 77'")
    machine.inside("rm -f /tmp/ansible-sleeps")
    running = asyncio.create_task(run(machine, context, playbook))
    async with asyncio.timeout(60):
        while "No such" in machine.inside("ls /tmp/ansible-sleeps", check=False):
            await asyncio.sleep(0.1)
    before = sandboxes()
    assert len(before) > 4
    running.cancel()
    await asyncio.wait({running}, timeout=30)
    assert running.cancelled()
    async with asyncio.timeout(30):
        while any(line_of(pid) for pid in before):
            await asyncio.sleep(0.05)


async def test_too_long_is_timed_out(machine: Machine, context: ActionContext) -> None:
    """After its own time limit nothing of it is left."""
    error = await failure(machine, context, tasks("- command: sleep 60"), timeout_seconds=8)
    assert error.code == "timed_out"
    assert sandboxes() == set()


def sandboxes() -> set[str]:
    """Numbers of the processes below this one that are of a sandbox: other tests run beside it."""
    parents: dict[str, str] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[entry.parent.name] = entry.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
    found = {pid for pid, parent in parents.items() if parent == str(os.getpid()) and b"/program.py" in line_of(pid)}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def line_of(pid: str) -> bytes:
    """The command line of a process; nothing when it is gone."""
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


async def test_no_secret_stands_on_a_command_line(machine: Machine, context: ActionContext) -> None:
    """While it runs, no process of this machine shows the variables or the key."""
    playbook = tasks("- command: sleep 3\n- command: test [[ hidden ]] = h1dd3n-v4lue\n  no_log: true")
    running = asyncio.create_task(run(machine, context, playbook, variables={"hidden": "h1dd3n-v4lue"}))
    seen = 0
    while not running.done():
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                content = line.read_bytes()
            except OSError:
                continue
            seen += b"ansible-playbook" in content
            if b"ansible-playbook" in content or b"/program.py" in content:
                assert b"h1dd3n-v4lue" not in content
        await asyncio.sleep(0.1)
    assert (await running).failed == 0
    assert seen > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../x.yml": "x"}},
        {"files": {"library/x.py": "x"}},
        {"files": {"ansible.cfg": "x"}},
        {"files": {"/etc/x": "x"}},
        {"become_user": "a b"},
        {"python": "python3; reboot"},
        {"tags": ["--syntax-check x"]},
    ],
)
def test_senseless_input_is_refused(changes: dict[str, Any]) -> None:
    """What would leave the folder, add an option, or bring code for the worker."""
    with pytest.raises(ValueError, match="validation error"):
        AnsibleInput.model_validate({"host": "h", "password": "x", "playbook": "- hosts: all", **changes})
