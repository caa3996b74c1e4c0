"""``ssh.upload`` on a real host: what is written there, what is left alone, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from activities.action import ActionContext, ActionError, Rehearsal
from activities.artifacts import Artifact
from activities.hosts.upload import SshUpload, UploadInput, UploadOutput
from activities.marker import marker
from activities.stores import Stores
from tests.hosts import Machine
from tests.unit.activities.action_support import make_context, make_stage

FOLDER = "/srv/upload"


class OneArtifact:
    """A run that has kept one artifact."""

    async def put(self, context: ActionContext, name: str, media_type: str, data: bytes) -> Artifact:
        raise NotImplementedError

    async def read(self, context: ActionContext, name: str) -> Artifact | None:
        return Artifact(name, "application/octet-stream", bytes(range(256)), "") if name == "blob.bin" else None


@pytest.fixture(autouse=True)
def folder(machine: Machine) -> Iterator[None]:
    """An empty folder on the host."""
    machine.inside(f"rm -rf {FOLDER}; mkdir -p {FOLDER}; chmod 755 {FOLDER}")
    yield
    machine.inside(f"umount {FOLDER}/small 2>/dev/null; rm -rf {FOLDER}")


def inputs(machine: Machine, **changes: Any) -> UploadInput:
    given = {**machine.login(), "path": f"{FOLDER}/file", "content": "new\n", **changes}
    return UploadInput.model_validate(given)


async def upload(machine: Machine, context: ActionContext | None = None, **changes: Any) -> UploadOutput:
    """The outcome of writing ``new`` to a file in the folder."""
    return await SshUpload().run(inputs(machine, **changes), context or make_context())


async def refused(machine: Machine, **changes: Any) -> ActionError:
    """The error of a file that cannot be written."""
    with pytest.raises(ActionError) as caught:
        await upload(machine, **changes)
    return caught.value


async def rehearsal(machine: Machine, **changes: Any) -> Rehearsal:
    """What a rehearsal that may read says."""
    context = make_context(dry_run=True, dry_run_reads=True)
    return await SshUpload().rehearse(inputs(machine, **changes), context)


def listing(machine: Machine, path: str = f"{FOLDER}/file") -> str:
    return machine.inside(f"stat -c '%a %U:%G %s %F' {path}").strip()


async def test_a_new_file(machine: Machine) -> None:
    """It has the content and the usual permissions, and nothing else is left in the folder."""
    done = await upload(machine)
    assert done == UploadOutput(
        path=f"{FOLDER}/file",
        changed=True,
        change="created",
        bytes=4,
        sha256=hashlib.sha256(b"new\n").hexdigest(),
        mode="0644",
    )
    assert machine.inside(f"ls -A {FOLDER}; cat {FOLDER}/file") == "file\nnew\n"
    assert listing(machine) == "644 root:root 4 regular file"


async def test_twice_is_once(machine: Machine) -> None:
    """The second time nothing is written: the file's inode and times stay."""
    await upload(machine)
    before = machine.inside(f"stat -c '%i %y' {FOLDER}/file")
    done = await upload(machine)
    assert (done.changed, done.change) == (False, "none")
    assert machine.inside(f"stat -c '%i %y' {FOLDER}/file") == before


async def test_a_file_keeps_its_permissions_and_owner(machine: Machine) -> None:
    """Unless others are asked for, a replaced file is as open as it was."""
    machine.inside(f"echo old > {FOLDER}/file; chown ops:ops {FOLDER}/file; chmod 4750 {FOLDER}/file")
    assert (await upload(machine)).change == "replaced"
    assert listing(machine) == "4750 ops:ops 4 regular file"


async def test_permissions_and_owner_alone(machine: Machine) -> None:
    """They are set without writing the content again."""
    await upload(machine)
    inode = machine.inside(f"stat -c %i {FOLDER}/file")
    done = await upload(machine, mode="0600", owner="ops", group="ops")
    assert (done.change, listing(machine)) == ("attributes", "600 ops:ops 4 regular file")
    assert machine.inside(f"stat -c %i {FOLDER}/file") == inode
    assert not (await upload(machine, mode="0600", owner="ops", group="ops")).changed


async def test_an_unknown_owner(machine: Machine) -> None:
    """Nothing is written for an owner whom the host does not know."""
    assert (await refused(machine, owner="nobody-of-this-name")).code == "unknown_account"
    assert machine.inside(f"ls -A {FOLDER}") == ""


async def test_an_artifact(machine: Machine) -> None:
    """Any bytes arrive as they are."""
    context = make_context(stores=Stores(artifacts=OneArtifact()))
    await upload(machine, context, content=None, artifact="blob.bin")
    digest = machine.inside(f"sha256sum {FOLDER}/file").split()[0]
    assert digest == hashlib.sha256(bytes(range(256))).hexdigest()
    with pytest.raises(ActionError, match="unknown_artifact"):
        await upload(machine, context, content=None, artifact="other.bin")


async def test_large_content(machine: Machine) -> None:
    """A mebibyte is written whole, and compared whole."""
    content = "0123456789abcde\n" * 65536
    assert (await upload(machine, content=content)).bytes == 1024 * 1024
    assert machine.inside(f"sha256sum {FOLDER}/file").split()[0] == hashlib.sha256(content.encode()).hexdigest()
    assert not (await upload(machine, content=content)).changed
    assert (await upload(machine, content=content[:-2] + "x\n")).changed


async def test_parents(machine: Machine) -> None:
    """A missing directory is an error, or made when that is asked for."""
    assert (await refused(machine, path=f"{FOLDER}/a/b/file")).code == "parent_missing"
    await upload(machine, path=f"{FOLDER}/a/b/file", create_parents=True)
    assert machine.inside(f"cat {FOLDER}/a/b/file") == "new\n"


async def test_a_file_where_the_directory_should_be(machine: Machine) -> None:
    """It is told as an error, whatever the server calls it."""
    machine.inside(f"touch {FOLDER}/a")
    assert (await refused(machine, path=f"{FOLDER}/a/file")).code in ("parent_missing", "write_failed")


@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
async def test_a_target_that_is_no_file(machine: Machine, make: str) -> None:
    """A directory is not replaced, and a pipe is not waited for."""
    machine.inside(f"{make} {FOLDER}/file")
    assert (await refused(machine)).code == "target_not_a_file"


async def test_permission_denied(machine: Machine) -> None:
    """A user who may not write changes nothing; with sudo the same user may."""
    error = await refused(machine, username="ops")
    assert (error.code, error.retryable) == ("permission_denied", False)
    assert machine.inside(f"ls -A {FOLDER}") == ""
    await upload(machine, username="ops", sudo=True)
    assert listing(machine) == "644 root:root 4 regular file"


async def test_an_owner_that_cannot_be_kept(machine: Machine) -> None:
    """A user who may write in the folder does not take over the file of another one."""
    machine.inside(f"echo old > {FOLDER}/file; chmod 644 {FOLDER}/file; chmod 777 {FOLDER}")
    assert (await refused(machine, username="ops")).code == "permission_denied"
    assert machine.inside(f"ls -A {FOLDER}; cat {FOLDER}/file") == "file\nold\n"


async def test_sudo_refused(machine: Machine) -> None:
    """A user without sudo is told so."""
    assert (await refused(machine, username="plain", sudo=True)).code == "sudo_refused"


async def test_a_full_disk(machine: Machine) -> None:
    """The old content stays, and the half of the new one is gone."""
    machine.inside(
        f"mkdir {FOLDER}/small; mount -t tmpfs -o size=64k tmpfs {FOLDER}/small; echo old > {FOLDER}/small/f"
    )
    error = await refused(machine, path=f"{FOLDER}/small/f", content="x" * 200_000)
    assert error.code == "disk_full"
    assert machine.inside(f"ls -A {FOLDER}/small; cat {FOLDER}/small/f") == "f\nold\n"


async def test_a_symbolic_link_is_refused(machine: Machine) -> None:
    """By default the file that it leads to, and the link, stay as they are."""
    machine.inside(f"echo old > {FOLDER}/real; ln -s real {FOLDER}/file")
    assert (await refused(machine)).code == "target_is_symlink"
    assert machine.inside(f"cat {FOLDER}/real") == "old\n"


async def test_a_symbolic_link_is_followed(machine: Machine) -> None:
    """The file at its end is written, the link stays; what it names is made where its directory is there."""
    machine.inside(f"echo old > {FOLDER}/real; ln -s real {FOLDER}/file; ln -s nothing {FOLDER}/dead")
    assert (await upload(machine, symlink="follow")).path == f"{FOLDER}/real"
    assert machine.inside(f"readlink {FOLDER}/file; cat {FOLDER}/real") == "real\nnew\n"
    assert (await upload(machine, symlink="follow", path=f"{FOLDER}/dead")).change == "created"
    assert machine.inside(f"cat {FOLDER}/nothing") == "new\n"
    machine.inside(f"ln -sf no/such/folder {FOLDER}/dead")
    assert (await refused(machine, symlink="follow", path=f"{FOLDER}/dead")).code == "target_is_symlink"


async def test_a_symbolic_link_is_replaced(machine: Machine) -> None:
    """A file stands in its place, and what it led to is as it was."""
    machine.inside(f"echo old > {FOLDER}/real; ln -s real {FOLDER}/file")
    assert (await upload(machine, symlink="replace")).change == "replaced"
    assert listing(machine) == "644 root:root 4 regular file"
    assert machine.inside(f"cat {FOLDER}/real") == "old\n"


async def test_what_a_dead_worker_left_is_cleared(machine: Machine) -> None:
    """The repeat of the step uses the same name beside the file, and does not follow a link of that name."""
    beside = f"{FOLDER}/.{marker(make_context())}.tmp"
    machine.inside(f"echo precious > {FOLDER}/precious; ln -s {FOLDER}/precious {beside}")
    await upload(machine)
    assert machine.inside(f"ls -A {FOLDER}; cat {FOLDER}/file {FOLDER}/precious") == "file\nprecious\nnew\nprecious\n"


async def test_a_cancel_leaves_the_old_or_the_new(machine: Machine) -> None:
    """At any moment: never half a file, and nothing beside it."""
    machine.inside(f"echo old > {FOLDER}/file")
    content = "z" * 1_000_000
    for wait in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        running = asyncio.create_task(upload(machine, content=content))
        await asyncio.sleep(wait)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        size = int(machine.inside(f"stat -c %s {FOLDER}/file"))
        assert size in (4, len(content))
        assert machine.inside(f"ls -A {FOLDER}") == "file\n"


async def test_a_server_without_sftp(machine: Machine) -> None:
    """An account that may start nothing is told so."""
    assert (await refused(machine, username="shut")).code == "sftp_missing"


async def test_a_rehearsal_shows_the_difference(machine: Machine) -> None:
    """Line by line, and the host stays as it is."""
    machine.inside(f"printf 'a\\nb\\nc\\n' > {FOLDER}/file")
    said = await rehearsal(machine, content="a\nB\nc\nd\n")
    assert said.would.startswith(f"Would replace {FOLDER}/file on ")
    assert said.would.endswith(", 2 lines added and 1 removed.")
    assert said.effects[0]["diff"] == "@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n+d"
    assert machine.inside(f"cat {FOLDER}/file") == "a\nb\nc\n"


async def test_a_rehearsal_predicts_the_output(machine: Machine) -> None:
    """The run that follows has exactly that output, and the next rehearsal changes nothing."""
    said = await rehearsal(machine, mode="0640")
    assert said.output == await upload(machine, mode="0640")
    again = await rehearsal(machine, mode="0640")
    assert (again.effects, again.would.startswith("Would change nothing")) == ([], True)


async def test_a_rehearsal_tells_what_would_fail(machine: Machine) -> None:
    """Without failing, since an earlier step may have made the directory by then."""
    said = await rehearsal(machine, path=f"{FOLDER}/a/file")
    assert said.effects[0]["problem"] == "parent_missing"
    assert "no directory" in said.would
    assert machine.inside(f"ls -A {FOLDER}") == ""


async def test_a_rehearsal_makes_no_directories(machine: Machine) -> None:
    """Though the run would."""
    said = await rehearsal(machine, path=f"{FOLDER}/a/file", create_parents=True)
    assert said.effects[0]["change"] == "created"
    assert machine.inside(f"ls -A {FOLDER}") == ""


async def test_a_secret_shows_in_no_difference(machine: Machine) -> None:
    """Neither the new one nor the one that the file still holds, nor a hash to try them against."""
    machine.inside(f"echo password=the-old-secret > {FOLDER}/file")
    stage = make_stage()
    call = {**machine.login(), "path": f"{FOLDER}/file", "content": "password=the-new-secret\n"}
    said = await stage.perform("ssh.upload", {**call, "sensitive": True}, dry_run=True, dry_run_reads=True)
    assert "secret" not in str(said.effects)
    done = await stage.perform("ssh.upload", {**call, "sensitive": True})
    assert (done.output["changed"], done.output["sha256"]) == (True, None)


async def test_content_with_a_secret_is_sensitive(machine: Machine) -> None:
    """Also where nobody says so."""
    machine.inside(f"echo password=the-old-secret > {FOLDER}/file")
    context = make_context(
        dry_run=True, dry_run_reads=True, scrub=lambda value: str(value).replace("the-new-secret", "***")
    )
    said = await SshUpload().rehearse(inputs(machine, content="password=the-new-secret\n"), context)
    assert "secret" not in str(said.effects) + str(said.output)


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "relative"},
        {"path": "/a/"},
        {"path": "/a/../b"},
        {"path": "/a\0b"},
        {"content": None},
        {"artifact": "a.txt"},
        {"mode": "999"},
        {"mode": "u+x"},
        {"owner": "a b"},
    ],
)
def test_bad_input(changes: dict[str, Any]) -> None:
    """It is refused before anything is connected."""
    with pytest.raises(ValueError, match="validation error"):
        UploadInput.model_validate({"host": "web-01", "path": "/etc/motd", "content": "x", **changes})
