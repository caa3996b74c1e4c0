"""``ssh.upload``: a file on a host."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from activities.action import Action, ActionContext, ActionError, OutputModel, Rehearsal
from activities.artifacts import MAX_BYTES, NAME_PATTERN, read_artifact
from activities.error_advice import SSH_ERRORS
from activities.hosts.target import HostInput, effect_on
from activities.marker import marker
from playbooks.record import Json

if TYPE_CHECKING:
    from activities.hosts.session import Host
    from activities.hosts.sftp import Attributes, Files, RemoteFile

NEW_FILE_MODE = 0o644
DIFF_OF = 256 * 1024
"""Bytes of a file beyond which a rehearsal shows no difference line by line."""

DIFF_LINES = 200
DIFF_LENGTH = 16 * 1024
_ACCOUNT = r"^[A-Za-z0-9_][A-Za-z0-9_.@$-]{0,63}$"

Change = Literal["none", "created", "replaced", "attributes"]


class UploadInput(HostInput):
    """The file, and what is to be in it."""

    path: Annotated[str, Field(min_length=2, max_length=4000, description="Absolute path of the file on the host.")]
    content: Annotated[
        str | None, Field(max_length=1024 * 1024, description="The file's content as text, written as UTF-8.")
    ] = None
    artifact: Annotated[
        str | None, Field(pattern=NAME_PATTERN, description="Or the artifact of this run that is its content.")
    ] = None
    mode: Annotated[
        str | None,
        Field(
            pattern=r"^[0-7]{3,4}$",
            description="Permissions in octal digits, as a string: '0640'. null: those of the file that is there, or "
            "0644.",
        ),
    ] = None
    owner: Annotated[
        str | None, Field(pattern=_ACCOUNT, description="Owner by name or number; null: as it is, or who logs in.")
    ] = None
    group: Annotated[str | None, Field(pattern=_ACCOUNT, description="Group by name or number; null: as above.")] = None
    create_parents: Annotated[bool, Field(description="Make missing directories above it.")] = False
    symlink: Annotated[
        Literal["refuse", "follow", "replace"],
        Field(
            description="When the path is a symbolic link: fail, write the file that it leads to, or put a file in the "
            "link's place. Links among the directories above are always followed."
        ),
    ] = "refuse"
    sensitive: Annotated[
        bool,
        Field(
            description="Show no differences and no hash. So too when a secret was filled into the content, since the "
            "file on the host may still hold the one before."
        ),
    ] = False
    sudo: Annotated[bool, Field(description="Write as root by sudo, which must ask for no password.")] = False

    @field_validator("path")
    @classmethod
    def _path(cls, path: str) -> str:
        if not path.startswith("/") or path.endswith("/") or "\0" in path:
            raise ValueError("an absolute path of a file begins with / and does not end with it")
        if {".", ".."} & set(path.split("/")):
            raise ValueError("no part of the path may be . or ..")
        return re.sub("/+", "/", path)

    @model_validator(mode="after")
    def _one_source(self) -> UploadInput:
        if (self.content is None) == (self.artifact is None):
            raise ValueError("either content or artifact must be given")
        return self


class UploadOutput(OutputModel):
    """The file as it is now."""

    path: Annotated[str, Field(description="Where it was written: the end of a symbolic link that was followed.")]
    changed: Annotated[bool, Field(description="False when the file was like this already.")]
    change: Annotated[Change, Field(description="What was done; attributes: only permissions or owner.")]
    bytes: Annotated[int | None, Field(description="Its size; null in a rehearsal that cannot know.")] = None
    sha256: Annotated[str | None, Field(description="Hash of its content in hex; null where it is sensitive.")] = None
    mode: Annotated[str | None, Field(description="Its permissions, such as 0644.")] = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What has to be done: the file that is there, what it shall be, and what that changes."""

    path: str
    there: RemoteFile | None
    attributes: Attributes
    change: Change

    def output(self, content: bytes, sensitive: bool) -> UploadOutput:
        mode = NEW_FILE_MODE if self.attributes.mode is None else self.attributes.mode
        digest = None if sensitive else hashlib.sha256(content).hexdigest()
        return UploadOutput(
            path=self.path,
            changed=self.change != "none",
            change=self.change,
            bytes=len(content),
            sha256=digest,
            mode=f"{mode:04o}",
        )


class SshUpload(Action[UploadInput, UploadOutput]):
    """Puts a text or an artifact of the run into a file on a host, over SFTP.

    The file is replaced in one moment: whoever reads it sees the old content or the new.  A file that is like this
    already is left alone.
    """

    name = "ssh.upload"
    title = "Write a file on a host"
    rehearsal = (
        "Reads the file on the host and shows the difference; with dry_run_reads: false it connects to nothing and "
        "says what it would write."
    )
    Input = UploadInput
    Output = UploadOutput
    idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        **SSH_ERRORS,
        "parent_missing": "The directory is not there, and create_parents is false.",
        "permission_denied": "The user may not read, write or own the file; nothing was changed.",
        "disk_full": "There is no room on the file system; nothing was changed.",
        "target_is_symlink": "The path is a symbolic link, which symlink: refuse forbids, or one to nothing.",
        "target_not_a_file": "The path is a directory, a device, a pipe or a socket.",
        "rename_unsupported": "The server cannot replace a file in one moment; nothing was changed.",
        "unknown_account": "The host knows no such owner or group.",
        "sftp_missing": "The server offers no SFTP.",
        "sudo_refused": "The user may not use sudo without a password.",
        "write_failed": "The server could not write, and the message has what it said; nothing was changed.",
        "unknown_artifact": "No step of this run has kept an artifact of this name.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "{{ asset.hostname }}",
        "private_key": "{{ secrets.ssh_key }}",
        "path": "/etc/nginx/conf.d/block.conf",
        "content": "deny 192.0.2.7;\n",
        "mode": "0644",
    }

    async def run(self, inputs: UploadInput, context: ActionContext) -> UploadOutput:
        """Write it, unless it is like this already.

        Raises ``ActionError``: the class's ``errors``, and what ``connected`` raises.
        """
        from activities.hosts.connection import connected
        from activities.hosts.sftp import opened

        content = await _content(inputs, context)
        async with connected(inputs, context) as host, opened(host, sudo=inputs.sudo) as files:
            plan = await _plan(inputs, content, host, files, create_parents=inputs.create_parents)
            if plan.change in ("created", "replaced"):
                await files.replace(plan.path, content, plan.attributes, marker(context))
            elif plan.change == "attributes":
                await files.change(plan.path, plan.attributes)
        return plan.output(content, _is_sensitive(inputs, context))

    async def rehearse(self, inputs: UploadInput, context: ActionContext) -> Rehearsal:
        """Say what would be written, with the difference from what is there where the host may be read."""
        if not context.dry_run_reads:
            return _unseen(inputs, None if inputs.content is None else inputs.content.encode("utf-8", "replace"))
        content: bytes | None = None
        try:
            content = await _content(inputs, context)
            return await _compared(inputs, context, content)
        except ActionError as error:
            # An earlier step, which was only rehearsed, may be what is missing: so this is told, not raised.
            return _unseen(inputs, content, error)


async def _content(inputs: UploadInput, context: ActionContext) -> bytes:
    if inputs.content is not None:
        return inputs.content.encode("utf-8", "replace")
    assert inputs.artifact is not None
    return (await read_artifact(context, inputs.artifact)).data


async def _plan(inputs: UploadInput, content: bytes, host: Host, files: Files, *, create_parents: bool) -> _Plan:
    from activities.hosts.sftp import missing_parent

    path = await _resolved(inputs, files)
    replaces_link = inputs.symlink == "replace" and await _is_link(files, path)
    there = None if replaces_link else await files.look(path)
    wanted = await _attributes(inputs, there, host)
    if there is None:
        if not replaces_link and await files.kind(posixpath.dirname(path)) is None:
            if not inputs.create_parents:
                raise missing_parent(path, inputs.place)
            if create_parents:
                await files.make_parents(path)
        return _Plan(path, None, wanted, "replaced" if replaces_link else "created")
    same = there.size == len(content) and await files.read(there, MAX_BYTES + 1) == content
    if not same:
        return _Plan(path, there, wanted, "replaced")
    return _Plan(path, there, wanted, "none" if wanted == there.attributes else "attributes")


async def _resolved(inputs: UploadInput, files: Files) -> str:
    if inputs.symlink == "replace" or not await _is_link(files, inputs.path):
        return inputs.path
    if inputs.symlink == "follow":
        return await files.resolve(inputs.path)
    raise ActionError(
        "target_is_symlink",
        f"{inputs.path} on {inputs.place} is a symbolic link. Say symlink: follow to write what it leads to, or "
        "symlink: replace to put a file in its place.",
        retryable=False,
    )


async def _is_link(files: Files, path: str) -> bool:
    found = await files.kind(path)
    return found is not None and stat.S_ISLNK(found[1])


async def _attributes(inputs: UploadInput, there: RemoteFile | None, host: Host) -> Attributes:
    """What the file shall have: what is asked for, or else what is there."""
    from activities.hosts.sftp import Attributes

    now = Attributes() if there is None else there.attributes
    mode = int(inputs.mode, 8) if inputs.mode is not None else now.mode
    uid, gid = now.uid, now.gid
    if inputs.owner is not None or inputs.group is not None:
        # SFTP sets both or none: the one that is not asked for is that of whoever writes.
        itself = await _ids(host, inputs.sudo)
        uid = await _number(inputs, host, "passwd", inputs.owner) if inputs.owner else _either(uid, itself[0])
        gid = await _number(inputs, host, "group", inputs.group) if inputs.group else _either(gid, itself[1])
    return Attributes(NEW_FILE_MODE if mode is None else mode, uid, gid)


def _either(number: int | None, other: int) -> int:
    return other if number is None else number


async def _ids(host: Host, sudo: bool) -> tuple[int, int]:
    user, group = (await host.run("id -u; id -g", sudo=sudo)).text.split()[:2]
    return int(user), int(group)


async def _number(inputs: UploadInput, host: Host, table: str, name: str) -> int:
    if name.isdigit():
        return int(name)
    found = await host.run(f"getent {table} {shlex.quote(name)}")
    fields = found.text.split(":")
    if found.exit_code or len(fields) < 3:
        what = "user" if table == "passwd" else "group"
        raise ActionError("unknown_account", f"{inputs.place} knows no {what} {name}.", retryable=False)
    return int(fields[2])


def _is_sensitive(inputs: UploadInput, context: ActionContext) -> bool:
    return inputs.sensitive or (inputs.content is not None and context.scrub(inputs.content) != inputs.content)


def _unseen(inputs: UploadInput, content: bytes | None, problem: ActionError | None = None) -> Rehearsal:
    """What can be said without the host: what would be written there."""
    what = f"the artifact {inputs.artifact}" if inputs.artifact else f"{len(content or b'')} bytes"
    would = f"Would write {what} to {inputs.path} on {inputs.place}."
    details: dict[str, Json] = {"path": inputs.path, "bytes": None if content is None else len(content)}
    if problem is not None:
        would += f" As things are now it would fail: {problem.message}"
        details["problem"] = problem.code
    return Rehearsal(would, [effect_on(inputs, "file", **details)])


async def _compared(inputs: UploadInput, context: ActionContext, content: bytes) -> Rehearsal:
    from activities.hosts.connection import connected
    from activities.hosts.sftp import opened

    async with connected(inputs, context) as host, opened(host, sudo=inputs.sudo) as files:
        plan = await _plan(inputs, content, host, files, create_parents=False)
        before = b"" if plan.there is None else await files.read(plan.there, DIFF_OF + 1)
    sensitive = _is_sensitive(inputs, context)
    output = plan.output(content, sensitive)
    if plan.change == "none":
        return Rehearsal(f"Would change nothing: {plan.path} on {inputs.place} is like this already.", [], output)
    details: dict[str, Json] = {"path": plan.path, "change": plan.change, "bytes": len(content), "mode": output.mode}
    summary = ""
    if plan.change != "attributes" and not sensitive:
        difference = _difference(plan.path, before, content)
        details.update(difference)
        if "added" in difference:
            summary = f", {difference['added']} lines added and {difference['removed']} removed"
    verb = {"created": "create", "replaced": "replace", "attributes": "set permissions or owner of"}[plan.change]
    return Rehearsal(
        f"Would {verb} {plan.path} on {inputs.place}{summary}.", [effect_on(inputs, "file", **details)], output
    )


def _difference(path: str, before: bytes, after: bytes) -> dict[str, Json]:
    """The unified difference, cut to what a person reads; nothing where one side is no text, or long."""
    if max(len(before), len(after)) > DIFF_OF:
        return {}
    try:
        old, new = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        return {}
    lines = list(difflib.unified_diff(old, new, path, path, lineterm=""))[2:]
    added = sum(line.startswith("+") for line in lines)
    removed = sum(line.startswith("-") for line in lines)
    shown = "\n".join(lines[:DIFF_LINES])[:DIFF_LENGTH]
    return {"added": added, "removed": removed, "diff": shown + ("\n…" if len(shown) < len("\n".join(lines)) else "")}
