"""``package.patch`` on a real Debian host: real packages, whose versions really change."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.action import ActionContext, ActionError
from activities.hosts.patch import PackagePatch
from activities.hosts.patch_models import PatchInput, PatchOutput
from tests.hosts import Machine, running_machine
from tests.packages import APT_HOST, Package, deb_repository
from tests.unit.activities.action_support import make_context, make_stage

pytestmark = pytest.mark.xdist_group("debian-host")

STEPS = itertools.count(100)
SLOW = {"postinst": "touch /srv/unpacked; sleep 3; touch /srv/configured"}
PACKAGES = [
    Package("tiny", "1.0-1", {"/usr/share/tiny/version": "1.0\n"}),
    Package("tiny", "2.0-1", {"/usr/share/tiny/version": "2.0\n"}),
    Package("tiny", "2.0-2", {"/usr/share/tiny/version": "2.0 again\n"}),
    Package("epochal", "1:1.0-1"),
    Package("epochal", "1:1.5-1"),
    Package("slow", "1.0"),
    Package("slow", "2.0", scripts=SLOW),
    Package("configured", "1.0", {"/etc/configured.conf": "one\n"}, ["/etc/configured.conf"]),
    Package("configured", "2.0", {"/etc/configured.conf": "two\n"}, ["/etc/configured.conf"]),
    Package("broken", "1.0"),
    Package("broken", "2.0", scripts={"postinst": "echo this does not work >&2; exit 1"}),
    Package("pushy", "1.0"),
    Package("pushy", "2.0", fields={"Conflicts": "bystander"}),
    Package("bystander", "1.0"),
    Package("needy", "1.0"),
    Package("needy", "2.0", fields={"Depends": "not-to-be-had (>= 1)"}),
    Package("leader", "1.0"),
    Package("leader", "2.0", fields={"Depends": "follower"}),
    Package("follower", "1.0"),
    Package("daemon", "1.0", copies={"/usr/lib/daemon/daemon": "/bin/sleep"}),
    Package("daemon", "2.0", copies={"/usr/lib/daemon/daemon": "/bin/sleep"}),
]


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian host with a repository of its own."""
    folder = tmp_path_factory.mktemp("debian")
    files = deb_repository(folder / "packages", PACKAGES)
    prepare = APT_HOST + "apt-get update -q\nuseradd --create-home --password '*' plain\n"
    with running_machine(folder / "host", prepare, files=files) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(patched: Machine) -> None:
    """None of the packages is installed, or on hold, and no earlier work is remembered."""
    names = " ".join({package.name for package in PACKAGES})
    release_lock(patched)
    patched.inside(
        f"""
        for group in $(cat /run/stanchion/*/group); do kill -s KILL -- -$group; done
        rm -rf /run/stanchion /srv/* /run/reboot-required
        : >/var/log/dpkg.log
        apt-mark unhold {names} >/dev/null 2>&1
        dpkg --purge --force-all {names} >/dev/null 2>&1
        """,
        check=False,
    )


def installed(machine: Machine, name: str = "tiny") -> str:
    """``version state`` as dpkg has it."""
    return machine.inside(f"dpkg-query -W -f '${{Version}} ${{db:Status-Abbrev}}' {name}", check=False).strip()


def install(machine: Machine, *packages: str) -> None:
    machine.inside(f"apt-get install -y -q {' '.join(packages)}")


def another_step() -> ActionContext:
    """The context of a step that has never run before."""
    return dataclasses.replace(make_context(), step_id=f"act-{next(STEPS)}")


async def patch(machine: Machine, context: ActionContext | None = None, **changes: Any) -> PatchOutput:
    """The outcome of bringing ``tiny`` to the newest version, in a step of its own unless ``context`` says which.

    The index of the host is taken as it is, unless that is changed.
    """
    inputs = PatchInput.model_validate({**machine.login(), "package": "tiny", "refresh": False, **changes})
    return await PackagePatch().run(inputs, context or another_step())


async def refused(machine: Machine, **changes: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await patch(machine, **changes)
    return caught.value


async def test_the_version_goes_up(patched: Machine) -> None:
    """The new version is on the host, and the output says from where to where."""
    install(patched, "tiny=1.0-1")
    done = await patch(patched, version="2.0-1", refresh=None)
    assert installed(patched) == "2.0-1 ii"
    assert patched.inside("cat /usr/share/tiny/version") == "2.0\n"
    assert (done.manager, done.changed, done.satisfied, done.held) == ("apt", True, True, False)
    assert (done.previous_version, done.installed_version) == ("1.0-1", "2.0-1")
    assert [change.model_dump() for change in done.changes] == [
        {"package": "tiny", "change": "upgrade", "from_version": "1.0-1", "to_version": "2.0-1"}
    ]


@pytest.mark.parametrize(("wanted", "reached"), [("latest", "2.0-2"), ("2.0", "2.0-2"), ("2.0-1", "2.0-1")])
async def test_which_version_is_meant(patched: Machine, wanted: str, reached: str) -> None:
    """Without the distribution's revision it is the newest build."""
    install(patched, "tiny=1.0-1")
    assert (await patch(patched, version=wanted, mode="inspect")).wanted_version == reached


async def test_an_epoch_may_be_left_out(patched: Machine) -> None:
    """It counts in no comparison then either: 1:1.5 is not newer than 2.0."""
    install(patched, "epochal=1:1.0-1")
    assert (await refused(patched, package="epochal", version="2.0")).code == "version_unavailable"
    assert (await patch(patched, package="epochal", version="1.5")).installed_version == "1:1.5-1"


async def test_twice_is_once(patched: Machine) -> None:
    """A host that has the version, or a newer one, is left alone."""
    install(patched, "tiny=2.0-2")
    before = patched.inside("stat -c %Y%i /var/lib/dpkg/status")
    for version in ("2.0", "latest", "1.5"):
        done = await patch(patched, version=version)
        assert (done.changed, done.satisfied, done.changes) == (False, True, [])
    assert patched.inside("stat -c %Y%i /var/lib/dpkg/status") == before


async def test_a_rollback(patched: Machine) -> None:
    """An older version only where that is asked for."""
    install(patched, "tiny=2.0-2")
    done = await patch(patched, version="1.0", allow_downgrade=True)
    assert (installed(patched), done.changes[0].change) == ("1.0-1 ii", "downgrade")


async def test_inspection_reads_only(patched: Machine) -> None:
    """It needs no root, and knows what there is."""
    install(patched, "tiny=1.0-1")
    patched.inside("apt-mark hold tiny")
    said = await patch(patched, username="plain", mode="inspect", version="2.0")
    assert (said.installed_version, said.wanted_version, said.candidate_version) == ("1.0-1", "2.0-2", "2.0-2")
    assert said.available_versions == ["2.0-2", "2.0-1", "1.0-1"]
    assert (said.satisfied, said.held, said.changed) == (False, True, False)
    assert said.index_age_seconds is not None
    missing = await patch(patched, username="plain", mode="inspect", package="no-such-package")
    assert (missing.installed_version, missing.satisfied) == (None, False)


async def test_a_simulation_changes_nothing(patched: Machine) -> None:
    """It says what apply would do to every package."""
    install(patched, "leader=1.0")
    said = await patch(patched, mode="simulate", package="leader")
    assert {(change.package, change.change) for change in said.changes} == {
        ("leader", "upgrade"),
        ("follower", "install"),
    }
    assert (installed(patched, "leader"), said.changed) == ("1.0 ii", False)
    done = await patch(patched, package="leader")
    assert {change.package for change in done.changes} == {change.package for change in said.changes}


@pytest.mark.parametrize("mode", ["apply", "simulate"])
async def test_a_package_on_hold(patched: Machine, mode: str) -> None:
    """It is left alone unless that is overridden; the hold itself stays."""
    install(patched, "tiny=1.0-1")
    patched.inside("apt-mark hold tiny")
    error = await refused(patched, version="2.0", mode=mode)
    assert (error.code, error.retryable, installed(patched)) == ("held", False, "1.0-1 hi")
    done = await patch(patched, version="2.0", ignore_hold=True)
    assert (done.installed_version, installed(patched)) == ("2.0-2", "2.0-2 hi")


async def test_a_package_that_is_missing(patched: Machine) -> None:
    """It is installed only where that is asked for."""
    assert (await refused(patched)).code == "not_installed"
    done = await patch(patched, install=True)
    assert (done.changed, done.previous_version, done.installed_version) == (True, None, "2.0-2")
    assert (await refused(patched, package="no-such-package", install=True)).code == "unknown_package"


async def test_a_version_that_is_missing(patched: Machine) -> None:
    """The error names those that there are."""
    install(patched, "tiny=1.0-1")
    error = await refused(patched, version="3.0")
    assert (error.code, "2.0-2, 2.0-1, 1.0-1" in error.message) == ("version_unavailable", True)


async def test_sudo_and_no_root(patched: Machine) -> None:
    """Without root nothing is changed; sudo does."""
    install(patched, "tiny=1.0-1")
    assert (await refused(patched, username="plain")).code == "not_root"
    assert (await refused(patched, username="plain", sudo=True)).code == "sudo_refused"
    assert installed(patched) == "1.0-1 ii"
    assert (await patch(patched, username="ops", sudo=True)).changed


async def test_configuration_that_was_changed(patched: Machine) -> None:
    """It is kept, and told; or replaced."""
    install(patched, "configured=1.0")
    patched.inside("echo mine > /etc/configured.conf")
    done = await patch(patched, package="configured")
    assert done.configuration_kept == ["/etc/configured.conf"]
    assert patched.inside("cat /etc/configured.conf") == "mine\n"
    patched.inside(
        "dpkg --purge configured && apt-get install -y -q configured=1.0 && echo mine > /etc/configured.conf"
    )
    other = make_context(attempt=2)
    patched.inside("rm -rf /run/stanchion")
    done = await patch(patched, other, package="configured", configuration="replace")
    assert (done.configuration_kept, patched.inside("cat /etc/configured.conf")) == ([], "two\n")


async def test_a_package_whose_script_fails(patched: Machine) -> None:
    """What it said is in the error; the next try repairs what was left half-way."""
    install(patched, "broken=1.0")
    context = another_step()
    error = await refused(patched, context=context, package="broken")
    assert (error.code, "this does not work" in error.message) == ("package_failed", True)
    assert installed(patched, "broken") == "2.0 iF"
    again = await refused(patched, context=context, package="broken")
    assert again.code == "package_failed"
    patched.inside("sed -i 's/exit 1/exit 0/' /var/lib/dpkg/info/broken.postinst")
    done = await patch(patched, dataclasses.replace(context, attempt=2), package="broken")
    assert (done.installed_version, installed(patched, "broken")) == ("2.0", "2.0 ii")


async def test_others_are_not_removed(patched: Machine) -> None:
    """Unless that is asked for."""
    install(patched, "pushy=1.0", "bystander")
    assert (await refused(patched, package="pushy")).code == "would_remove"
    assert installed(patched, "bystander") == "1.0 ii"
    done = await patch(patched, package="pushy", allow_removals=True)
    assert {(change.package, change.change) for change in done.changes} >= {("bystander", "remove")}


async def test_what_it_needs_is_missing(patched: Machine) -> None:
    """The host stays as it is."""
    install(patched, "needy=1.0")
    assert (await refused(patched, package="needy")).code == "dependencies_unmet"
    assert installed(patched, "needy") == "1.0 ii"


async def test_a_package_that_was_automatic_stays_so(patched: Machine) -> None:
    """A patch does not keep a package from being removed with what needed it."""
    install(patched, "tiny=1.0-1")
    patched.inside("apt-mark auto tiny")
    await patch(patched)
    assert patched.inside("apt-mark showauto tiny").strip() == "tiny"


async def test_what_must_be_restarted(patched: Machine) -> None:
    """A process that runs the old code, and a reboot that the host asks for."""
    install(patched, "daemon=1.0")
    patched.inside("setsid /usr/lib/daemon/daemon 600 >/dev/null 2>&1 </dev/null & touch /run/reboot-required")
    done = await patch(patched, package="daemon")
    seen = await patch(patched, package="daemon", mode="inspect")
    assert seen.restart_needed == done.restart_needed
    assert "daemon" in [process.name for process in done.restart_needed]
    assert done.reboot_required is True
    patched.inside("pkill -x daemon")


def hold_lock(machine: Machine, seconds: int) -> None:
    """Be another package manager that is at work."""
    code = f"f=open('/var/lib/dpkg/lock-frontend','w'); fcntl.lockf(f, fcntl.LOCK_EX); print(); time.sleep({seconds})"
    machine.inside(
        f"""
        mkfifo /srv/held
        python3 -u -c "import fcntl,time; {code}" >/srv/held 2>&1 &
        echo $! >/run/holder
        read -r line </srv/held; rm /srv/held
        """
    )


def release_lock(machine: Machine) -> None:
    machine.inside("kill $(cat /run/holder); rm /run/holder", check=False)


async def test_a_lock_is_waited_for(patched: Machine) -> None:
    """And given up after the time that is set; nothing is changed then."""
    install(patched, "tiny=1.0-1")
    hold_lock(patched, 600)
    error = await refused(patched, lock_timeout=1)
    assert (error.code, error.retryable, installed(patched)) == ("locked", True, "1.0-1 ii")
    release_lock(patched)
    hold_lock(patched, 2)
    assert (await patch(patched, lock_timeout=60)).changed


async def wait_until(machine: Machine, condition: str) -> None:
    """Wait for a shell condition on the host."""
    async with asyncio.timeout(60):
        while "yes" not in await asyncio.to_thread(machine.inside, f"{condition} && echo yes", False):
            await asyncio.sleep(0.1)


async def cancelled(running: asyncio.Task[PatchOutput]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_cancel_before_anything_is_changed(patched: Machine) -> None:
    """Nothing is changed then, also not later; and the step can be run again."""
    install(patched, "tiny=1.0-1")
    hold_lock(patched, 600)
    context = another_step()
    running = asyncio.create_task(patch(patched, context))
    await wait_until(patched, "pgrep -f '[a]pt-get.* install'")
    await cancelled(running)
    release_lock(patched)
    await wait_until(patched, "! pgrep -f '[a]pt-get.* install'")
    assert installed(patched) == "1.0-1 ii"
    assert (await patch(patched, context)).changed


async def test_a_cancel_in_the_middle(patched: Machine) -> None:
    """What has begun is finished by the host itself: never half a package."""
    install(patched, "slow=1.0")
    running = asyncio.create_task(patch(patched, package="slow"))
    await wait_until(patched, "test -e /srv/unpacked")
    await cancelled(running)
    assert installed(patched, "slow") != "2.0 ii"
    await wait_until(patched, "test -e /srv/configured && ! pgrep -x apt-get")
    assert installed(patched, "slow") == "2.0 ii"


WORKER = """
import asyncio, json, sys
from activities.hosts.patch import PackagePatch
from activities.hosts.patch_models import PatchInput
from tests.unit.activities.action_support import make_context
asyncio.run(PackagePatch().run(PatchInput.model_validate(json.load(sys.stdin)), make_context()))
"""


async def test_a_worker_that_dies_in_the_middle(patched: Machine) -> None:
    """The repeat of the step waits for the work that the dead one began, and tells it as its own."""
    install(patched, "slow=1.0")
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, stdin=subprocess.PIPE, cwd=Path(__file__).parents[4]
    )
    assert worker.stdin is not None
    worker.stdin.write(json.dumps({**patched.login(), "package": "slow"}).encode())
    worker.stdin.close()
    await wait_until(patched, "test -e /srv/unpacked")
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    done = await patch(patched, make_context(), package="slow")
    assert (done.changed, done.previous_version, done.installed_version) == (True, "1.0", "2.0")
    assert patched.inside("grep -c 'upgrade slow' /var/log/dpkg.log").strip() == "1"


async def test_a_result_that_was_lost_is_told_again(patched: Machine) -> None:
    """The same step asked again says what it did, not that nothing had to be done; another step does say that."""
    install(patched, "tiny=1.0-1")
    context = another_step()
    first = await patch(patched, context)
    again = await patch(patched, context)
    assert again.model_copy(update={"index_age_seconds": first.index_age_seconds}) == first
    assert not (await patch(patched)).changed


async def test_work_that_the_host_killed(patched: Machine) -> None:
    """A reboot or the lack of memory in the middle: the repeat repairs what is half-way and gets there."""
    install(patched, "slow=1.0")
    running = asyncio.create_task(patch(patched, package="slow"))
    await wait_until(patched, "test -e /srv/unpacked")
    patched.inside("kill -s KILL -- -$(cat /run/stanchion/*/group)")
    done = await asyncio.wait_for(running, 60)
    assert (done.installed_version, installed(patched, "slow")) == ("2.0", "2.0 ii")


async def test_a_rehearsal_simulates(patched: Machine) -> None:
    """It predicts the output of the run, and changes nothing."""
    install(patched, "tiny=1.0-1")
    stage = make_stage()
    call = {**patched.login(), "package": "tiny", "version": "2.0"}
    said = await stage.perform("package.patch", call, dry_run=True, dry_run_reads=True)
    assert installed(patched) == "1.0-1 ii"
    assert said.would == f"Would bring tiny on 127.0.0.1:{patched.port} from 1.0-1 to 2.0-2."
    done = await stage.perform("package.patch", call)
    knows = {"changed", "changes", "previous_version", "installed_version", "wanted_version", "satisfied"}
    assert {key: said.output[key] for key in knows} == {key: done.output[key] for key in knows}
    again = await stage.perform("package.patch", call, dry_run=True, dry_run_reads=True)
    assert (again.effects, "Would change nothing" in str(again.would)) == ([], True)


async def test_a_rehearsal_of_a_look(patched: Machine) -> None:
    """It looks for real and fetches no index; what fails in it fails the rehearsal, as it would the run."""
    install(patched, "tiny=1.0-1")
    call = {**patched.login(), "package": "tiny", "mode": "simulate", "refresh": True}
    lists = patched.inside("ls -la --time-style=full-iso /var/lib/apt/lists")
    said = await make_stage().perform("package.patch", call, dry_run=True, dry_run_reads=True)
    assert (said.output["changed"], said.output["changes"][0]["to_version"]) == (False, "2.0-2")
    assert [effect["kind"] for effect in said.effects or []] == ["package_index"]
    assert patched.inside("ls -la --time-style=full-iso /var/lib/apt/lists") == lists
    patched.inside("apt-mark hold tiny")
    with pytest.raises(ApplicationError, match="on hold"):
        await make_stage().perform("package.patch", call, dry_run=True, dry_run_reads=True)


async def test_a_rehearsal_tells_what_would_fail(patched: Machine) -> None:
    """Without failing, since an earlier step may have seen to it by then."""
    said = await make_stage().perform(
        "package.patch", {**patched.login(), "package": "tiny"}, dry_run=True, dry_run_reads=True
    )
    assert said.effects is not None
    assert said.effects[0]["problem"] == "not_installed"


async def test_a_repository_that_is_gone(patched: Machine) -> None:
    """It is told before anything is installed."""
    install(patched, "tiny=1.0-1")
    patched.inside("mv /host/repository /host/away")
    try:
        assert (await refused(patched, refresh=None)).code == "index_failed"
    finally:
        patched.inside("mv /host/away /host/repository")
    assert installed(patched) == "1.0-1 ii"


async def test_a_repository_that_nobody_has_signed(patched: Machine) -> None:
    """Its packages are not taken."""
    install(patched, "tiny=1.0-1")
    patched.inside("sed -i 's/trusted=yes/allow-insecure=yes/' /etc/apt/sources.list")
    try:
        assert (await refused(patched, refresh=True)).code == "unauthenticated"
    finally:
        patched.inside("sed -i 's/allow-insecure=yes/trusted=yes/' /etc/apt/sources.list; apt-get update -q")
    assert installed(patched) == "1.0-1 ii"


@pytest.mark.parametrize(
    ("parameters", "safe"),
    [
        ({}, False),
        ({"mode": "inspect"}, True),
        ({"mode": "simulate", "refresh": False}, True),
        ({"mode": "inspect", "refresh": True}, False),
        ({"mode": "{{ parameters.mode }}"}, False),
    ],
)
def test_traits(parameters: dict[str, Any], safe: bool) -> None:
    """Only constants promise anything."""
    assert PackagePatch.traits(parameters).safe is safe


@pytest.mark.parametrize(
    "changes",
    [{"package": "a b"}, {"package": "-y"}, {"version": "1; id"}, {"version": "$(id)"}, {"lock_timeout": -1}],
)
def test_bad_input(changes: dict[str, Any]) -> None:
    """It is refused before anything is connected."""
    with pytest.raises(ValueError, match="validation error"):
        PatchInput.model_validate({"host": "web-01", "package": "tiny", **changes})
