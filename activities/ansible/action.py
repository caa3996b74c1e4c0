"""``ansible.playbook``: a playbook of Ansible on one host."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, field_validator

from activities.action import Action, ActionContext, ActionError, OutputModel, Rehearsal
from activities.ansible.process import Order, Report, check_installed, run_ansible
from activities.ansible.program import HOST
from activities.error_advice import SSH_ERRORS
from activities.hosts.target import HostInput, effect_on
from activities.scrub import end_of, excerpt_of
from playbooks.actions import Traits
from playbooks.record import Json

_PATH = re.compile(r"(?!.*(^|/)\.)[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_GROUP = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
_ALWAYS_REAL = re.compile(r"""\bcheck_mode["']?\s*:(?!\s*["']?(?:true|yes|on)\b)""", re.IGNORECASE)
"""A task that Ansible runs for real in ``--check`` too, or one of which nobody can tell."""

Text = Annotated[str, Field(max_length=256 * 1024)]


class AnsibleInput(HostInput):
    """The playbook, and the host."""

    playbook: Annotated[
        str,
        Field(
            min_length=1,
            max_length=256 * 1024,
            description="The text of the playbook, in YAML. Its `hosts` may say `all`, `target` or one of `groups`.",
        ),
    ]
    values_in: Annotated[
        Literal["braces", "brackets"],
        Field(
            description="`brackets`: in `playbook` and `files`, Ansible's values stand in `[[ … ]]`, since `{{ … }}` "
            "is an expression of Stanchion where the text stands in a playbook. `braces`: the text is Ansible's own."
        ),
    ] = "braces"
    variables: dict[str, Json] = Field(
        default_factory=dict,
        max_length=500,
        description="Extra variables; may be secrets. They reach Ansible in a file that nobody else can read.",
    )
    files: dict[str, Text] = Field(
        default_factory=dict,
        max_length=200,
        description="Files beside the playbook, by path: `roles/web/tasks/main.yml`, `templates/motd.j2`. No Python.",
    )
    groups: Annotated[
        list[Annotated[str, Field(pattern=_GROUP)]], Field(max_length=50, description="Groups that the host is in.")
    ] = Field(default_factory=list)
    tags: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]],
        Field(max_length=50, description="Run only tasks with these tags."),
    ] = Field(default_factory=list)
    become: Annotated[bool, Field(description="Become another user on the host, by sudo.")] = False
    become_user: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$", description="Whom to become.")
    ] = "root"
    become_password: Annotated[str | None, Field(max_length=1024, description="Password for sudo; a secret.")] = None
    python: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_./-]{1,200}$", description="Python on the host; `auto_silent` looks for it.")
    ] = "auto_silent"
    timeout_seconds: Annotated[float, Field(gt=0, le=6 * 3600, description="Everything is killed after that.")] = 900.0
    idempotent: Annotated[
        bool, Field(description="true: running it twice does no harm, so a crash of the worker repeats it.")
    ] = False

    @field_validator("files")
    @classmethod
    def _files(cls, files: dict[str, str]) -> dict[str, str]:
        for path in files:
            if not _PATH.fullmatch(path) or path.endswith((".py", ".pyc", ".cfg")) or path == "playbook.yml":
                raise ValueError("a path is relative, without '..', and of no Python file and no configuration")
        return files

    def texts(self) -> Iterator[tuple[str, str]]:
        """The playbook and its files, as Ansible reads them."""
        for path, text in {**self.files, "playbook.yml": self.playbook}.items():
            yield path, text.replace("[[", "{{").replace("]]", "}}") if self.values_in == "brackets" else text


class TaskResult(OutputModel):
    """What one task did."""

    task: Annotated[str, Field(description="Its name.")]
    module: Annotated[str, Field(description="Ansible's module.")]
    status: Annotated[str, Field(description="`ok`, `changed`, `failed`, `ignored`, `skipped` or `unreachable`.")]
    message: Annotated[str, Field(description="What it said; `no_log` where the playbook keeps that back.")] = ""
    diff: Annotated[str, Field(description="What it changed, or would change, as a unified diff.")] = ""


class AnsibleOutput(OutputModel):
    """What the playbook did."""

    changed: Annotated[int, Field(description="Tasks that changed something.")] = 0
    ok: Annotated[int, Field(description="Tasks that succeeded, those that changed something included.")] = 0
    failed: Annotated[int, Field(description="Tasks that failed.")] = 0
    unreachable: Annotated[int, Field(description="1 when the host could not be reached.")] = 0
    skipped: Annotated[int, Field(description="Tasks that were skipped.")] = 0
    ignored: Annotated[int, Field(description="Tasks that failed, and were told to be ignored.")] = 0
    rescued: Annotated[int, Field(description="Tasks that failed, and were rescued.")] = 0
    results: Annotated[list[TaskResult], Field(description="A result of each task, at most 2,000.")] = Field(
        default_factory=list
    )


class AnsiblePlaybook(Action[AnsibleInput, AnsibleOutput]):
    """Runs a playbook of Ansible on one host.

    Ansible runs on the worker in a sandbox, without network but for the SSH connection to the host, without the
    worker's environment and files; tasks for `localhost` run in there too. The folder of a run is in memory and new
    each time. The host's key must be trusted beforehand (`stanchion host trust`) or stand in `host_key`.

    Needs the extra `ansible`, bubblewrap and OpenSSH's client on the worker, and Python on the host.
    """

    name = "ansible.playbook"
    title = "Run an Ansible playbook"
    rehearsal = (
        "Runs Ansible with --check --diff on the host and shows the differences, when the dry run may read and no task "
        "says check_mode: false; otherwise says what it would run, and connects to nothing."
    )
    Input = AnsibleInput
    Output = AnsibleOutput
    errors: ClassVar[Mapping[str, str]] = {
        **SSH_ERRORS,
        "task_failed": "A task failed; the message has its name and its own words. Earlier tasks have done their work.",
        "host_unreachable": "Ansible lost the host, or finds no Python there: see `python`.",
        "invalid_playbook": "Ansible cannot read the playbook or a role; the message has its words.",
        "ansible_missing": "The worker lacks the extra `ansible`: `pip install 'stanchion[ansible]'`.",
        "sandbox_missing": "The worker has no bubblewrap or no ssh: install bubblewrap and openssh-client.",
        "sandbox_failed": "The kernel does not let the worker make a sandbox, or Ansible broke in it; see the message.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "{{ asset.hostname }}",
        "username": "ops",
        "private_key": "{{ secrets.ssh_key }}",
        "become": True,
        "values_in": "brackets",
        "variables": {"banner": "Authorised use only."},
        "playbook": "- hosts: all\n"
        "  tasks:\n"
        "    - name: Banner\n"
        "      ansible.builtin.copy:\n"
        '        content: "[[ banner ]]"\n'
        "        dest: /etc/issue.net\n",
    }

    @classmethod
    def traits(cls, parameters: Json) -> Traits:
        """By ``idempotent``, when it is a constant."""
        return Traits(idempotent=isinstance(parameters, dict) and parameters.get("idempotent") is True)

    async def run(self, inputs: AnsibleInput, context: ActionContext) -> AnsibleOutput:
        """Run it.  Raises ``ActionError`` with the codes in ``errors``."""
        report = await _perform(inputs, context, check=False)
        _judge(inputs, report)
        return _output(report)

    async def rehearse(self, inputs: AnsibleInput, context: ActionContext) -> Rehearsal:
        """Run it with ``--check --diff``, or say what would run."""
        names = _plays(inputs)
        told = f"Would run {', '.join(names)} on {inputs.place} as {inputs.username}"
        effect = effect_on(inputs, "ansible", plays=list[Json](names), become=inputs.become)
        if not context.dry_run_reads:
            return Rehearsal(f"{told}.", [effect])
        if any(_ALWAYS_REAL.search(text) for _, text in inputs.texts()):
            return Rehearsal(f"{told}; a task says check_mode: false, so nothing was tried out.", [effect])
        try:
            report = await _perform(inputs, context, check=True)
            _judge(inputs, report)
        except ActionError as error:
            return Rehearsal(f"{told}; trying it out failed: {error.message}", [effect])
        changes: list[dict[str, Json]] = [
            effect_on(inputs, "ansible", task=one["task"], module=one["module"], diff=one["diff"])
            for one in report.results
            if one["status"] == "changed"
        ]
        return Rehearsal(f"{told}: {len(changes)} tasks would change something.", changes, _output(report))


async def _perform(inputs: AnsibleInput, context: ActionContext, check: bool) -> Report:
    check_installed()
    # Heavy, and the API loads the catalogue too.
    from activities.ansible.relay import relaying, verified

    with tempfile.TemporaryDirectory(prefix="stanchion-ansible-") as name:
        async with verified(inputs, context) as way, relaying(way, Path(name)):
            order = await asyncio.to_thread(_order, inputs, way.host_key, check)
            return await run_ansible(order, Path(name), inputs.timeout_seconds, context.heartbeat)


def _order(inputs: AnsibleInput, host_key: str, check: bool) -> Order:
    host: dict[str, Any] = {
        "ansible_host": HOST,
        "ansible_port": inputs.port,
        "ansible_user": inputs.username,
        "ansible_connection": "ssh",
        "ansible_python_interpreter": inputs.python,
    }
    files = {f"project/{path}": text for path, text in inputs.texts()}
    if inputs.private_key is not None:
        from activities.hosts.connection import private_key

        host["ansible_ssh_private_key_file"] = "/tmp/run/key"
        files["key"] = private_key(inputs).export_private_key().decode()
    if inputs.password is not None:
        host["ansible_password"] = inputs.password
    if inputs.become_password is not None:
        host["ansible_become_password"] = inputs.become_password
    groups: dict[str, Json] = {name: {"hosts": {HOST: {}}} for name in inputs.groups}
    files["inventory/hosts.json"] = json.dumps({"all": {"hosts": {HOST: host}, "children": groups}})
    files["known_hosts"] = f"{HOST} {host_key}\n"
    files["env/extravars"] = json.dumps(inputs.variables)
    options = ["--check", "--diff"] if check else ["--diff"]
    if inputs.become:
        options += ["--become", f"--become-user={inputs.become_user}"]
    if inputs.tags:
        options += [f"--tags={','.join(inputs.tags)}"]
    return Order(files, options, _environment(inputs, host_key))


def _environment(inputs: AnsibleInput, host_key: str) -> dict[str, str]:
    kind = host_key.partition(" ")[0]
    algorithms = "rsa-sha2-512,rsa-sha2-256" if kind == "ssh-rsa" else kind
    ssh = [
        *("-F", "/dev/null", "-o", "ControlMaster=auto", "-o", "ControlPersist=60s"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=/tmp/run/known_hosts"),
        *("-o", "GlobalKnownHostsFile=/dev/null", "-o", f"HostKeyAlias={HOST}"),
        *("-o", f"HostKeyAlgorithms={algorithms}", "-o", "IdentitiesOnly=yes"),
        *("-o", "ProxyCommand='python3 -I -S /program.py --relay'"),
    ]
    return {
        "ANSIBLE_SSH_ARGS": " ".join(ssh),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": "/tmp/control",
        "ANSIBLE_SSH_TIMEOUT": str(int(inputs.connect_timeout) or 1),
        "ANSIBLE_LOCAL_TEMP": "/tmp/ansible",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_NOCOLOR": "1",
    }


def _plays(inputs: AnsibleInput) -> list[str]:
    """The names of the plays, for a sentence.  Raises ``ActionError`` with code ``invalid_playbook``."""
    text = dict(inputs.texts())["playbook.yml"]
    try:
        plays = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        # Tags of Ansible's own, such as !vault, are no fault.
        return ["a playbook"]
    if not isinstance(plays, list) or not all(isinstance(play, dict) for play in plays):
        raise ActionError("invalid_playbook", "A playbook of Ansible is a list of plays.", retryable=False)
    return [excerpt_of(str(play.get("name") or f"a play on {play.get('hosts', '?')}"), 100) for play in plays[:20]]


def _judge(inputs: AnsibleInput, report: Report) -> None:
    """Raise ``ActionError`` unless every task has succeeded."""
    bad = next((one for one in report.results if one["status"] in ("failed", "unreachable")), None)
    if report.stats.get("dark"):
        text = bad["message"] if bad else report.said
        raise ActionError("host_unreachable", f"{inputs.place}: {end_of(text, 500) or 'Ansible lost the host'}")
    if report.stats.get("failures"):
        name, text = (bad["task"], bad["message"]) if bad else ("a task", "")
        raise ActionError("task_failed", f"{inputs.place}: {name} failed: {end_of(text, 500) or 'it does not say why'}")
    if report.status != "successful":
        text = end_of(report.said.strip(), 800) or f"Ansible ended as {report.status}"
        raise ActionError("invalid_playbook", f"Ansible did not run the playbook: {text}", retryable=False)


def _output(report: Report) -> AnsibleOutput:
    names = {"failed": "failures", "unreachable": "dark"}
    counts = ("changed", "ok", "failed", "unreachable", "skipped", "ignored", "rescued")
    return AnsibleOutput(
        results=[TaskResult(**one) for one in report.results],
        **{name: report.stats.get(names.get(name, name), 0) for name in counts},
    )
