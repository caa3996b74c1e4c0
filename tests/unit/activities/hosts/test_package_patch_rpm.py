"""``package.patch`` on a host of RPM packages, with a real dnf and packages built by rpmbuild."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from activities.action import ActionContext, ActionError
from activities.hosts.dnf import changes_of
from activities.hosts.patch import PackagePatch
from activities.hosts.patch_models import PatchInput, PatchOutput
from tests.hosts import Machine, running_machine
from tests.packages import RPM_HOST, Package, rpm_repository
from tests.unit.activities.action_support import make_context, make_stage

pytestmark = pytest.mark.xdist_group("rpm-host")

STEPS = itertools.count(100)
FOLLOWER = "a-follower-with-a-very-long-name-indeed"
PACKAGES = [
    Package("tiny", "1.9-1", {"/usr/share/tiny/version": "1.9\n"}),
    Package("tiny", "1.10-1", {"/usr/share/tiny/version": "1.10\n"}),
    Package("tiny", "1.10-2", {"/usr/share/tiny/version": "1.10 again\n"}),
    Package("configured", "1.0-1", {"/etc/configured.conf": "one\n"}, ["/etc/configured.conf"]),
    Package("configured", "2.0-1", {"/etc/configured.conf": "two\n"}, ["/etc/configured.conf"]),
    Package("leader", "1.0-1", {"/usr/share/leader": "1\n"}),
    Package("leader", "2.0-1", {"/usr/share/leader": "2\n"}, fields={"Requires": FOLLOWER}),
    Package(FOLLOWER, "1.0-1", {"/usr/share/follower": "1\n"}),
    Package("needy", "1.0-1", {"/usr/share/needy": "1\n"}),
    Package("needy", "2.0-1", {"/usr/share/needy": "2\n"}, fields={"Requires": "not-to-be-had"}),
]


@pytest.fixture(scope="module")
def rpm_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host of RPM packages with a repository of its own."""
    folder = tmp_path_factory.mktemp("rpm")
    with running_machine(folder / "host", RPM_HOST, files=rpm_repository(folder / "packages", PACKAGES)) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(rpm_host: Machine) -> None:
    """None of the packages is installed or locked, and no earlier work is remembered."""
    rpm_host.inside(
        "rm -rf /run/stanchion /etc/dnf/plugins/versionlock.list /etc/configured*; rpm -e --nodeps $(rpm -qa); "
        "sed -i '/^exclude/d' /etc/dnf/dnf.conf",
        check=False,
    )


def installed(machine: Machine, name: str = "tiny") -> str:
    return machine.inside(f"rpm -q --qf '%{{VERSION}}-%{{RELEASE}}' {name}", check=False).strip()


def install(machine: Machine, package: str) -> None:
    machine.inside(f"dnf -q -y install {package}")


def another_step() -> ActionContext:
    """The context of a step that has never run before."""
    return dataclasses.replace(make_context(), step_id=f"act-{next(STEPS)}")


async def patch(machine: Machine, context: ActionContext | None = None, **changes: Any) -> PatchOutput:
    """The outcome of bringing ``tiny`` to the newest version; the index of the host is taken as it is."""
    inputs = PatchInput.model_validate({**machine.login(), "package": "tiny", "refresh": False, **changes})
    return await PackagePatch().run(inputs, context or make_context())


async def refused(machine: Machine, **changes: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await patch(machine, **changes)
    return caught.value


async def test_the_version_goes_up_and_back(rpm_host: Machine) -> None:
    """1.10 is newer than 1.9; a host that has it is left alone, and goes back only where that is asked for."""
    install(rpm_host, "tiny-1.9-1")
    done = await patch(rpm_host, refresh=None)
    assert (done.manager, done.changed, done.satisfied) == ("dnf", True, True)
    assert (done.previous_version, done.installed_version, installed(rpm_host)) == ("1.9-1", "1.10-2", "1.10-2")
    assert [(change.package, change.change, change.to_version) for change in done.changes] == [
        ("tiny", "upgrade", "1.10-2")
    ]
    assert rpm_host.inside("cat /usr/share/tiny/version") == "1.10 again\n"
    again = await patch(rpm_host, another_step(), version="1.9.5")
    assert (again.changed, again.satisfied) == (False, True)
    back = await patch(rpm_host, another_step(), version="1.9", allow_downgrade=True)
    assert (installed(rpm_host), back.changes[0].change) == ("1.9-1", "downgrade")


async def test_a_simulation_changes_nothing(rpm_host: Machine) -> None:
    """It says what apply would do to every package, however long its name."""
    install(rpm_host, "leader-1.0-1")
    said = await patch(rpm_host, mode="simulate", package="leader")
    assert {(change.package, change.change) for change in said.changes} == {
        ("leader", "upgrade"),
        (FOLLOWER, "install"),
    }
    assert installed(rpm_host, "leader") == "1.0-1"


async def test_inspection(rpm_host: Machine) -> None:
    """The newest version first, by the rules of rpm."""
    install(rpm_host, "tiny-1.9-1")
    said = await patch(rpm_host, mode="inspect", version="1.10")
    assert said.available_versions == ["1.10-2", "1.10-1", "1.9-1"]
    assert said.wanted_version == "1.10-2", "without the release it is the newest build"
    assert (said.satisfied, said.held, said.changed) == (False, False, False)
    assert said.index_age_seconds is not None


async def test_a_package_on_hold(rpm_host: Machine) -> None:
    """By an exclude or by the plug-in versionlock."""
    install(rpm_host, "tiny-1.9-1")
    rpm_host.inside("echo 'exclude=ti*' >> /etc/dnf/dnf.conf")
    assert (await patch(rpm_host, mode="inspect")).held
    rpm_host.inside("sed -i '/^exclude/d' /etc/dnf/dnf.conf")
    rpm_host.inside("mkdir -p /etc/dnf/plugins; echo 'tiny-0:1.9-1.*' > /etc/dnf/plugins/versionlock.list")
    assert (await refused(rpm_host, version="1.10-1")).code == "held"
    assert installed(rpm_host) == "1.9-1"
    assert (await patch(rpm_host, version="1.10-1", ignore_hold=True)).installed_version == "1.10-1"


async def test_what_is_missing(rpm_host: Machine) -> None:
    """A package, a version, and what a version needs."""
    assert (await refused(rpm_host)).code == "not_installed"
    assert (await refused(rpm_host, package="no-such-package", install=True)).code == "unknown_package"
    install(rpm_host, "tiny-1.9-1")
    assert (await refused(rpm_host, version="7")).code == "version_unavailable"
    install(rpm_host, "needy-1.0-1")
    assert (await refused(rpm_host, package="needy")).code == "dependencies_unmet"


async def test_configuration_that_was_changed(rpm_host: Machine) -> None:
    """It is kept, and told."""
    install(rpm_host, "configured-1.0-1")
    rpm_host.inside("echo mine > /etc/configured.conf")
    done = await patch(rpm_host, package="configured")
    assert (done.configuration_kept, rpm_host.inside("cat /etc/configured.conf")) == (
        ["/etc/configured.conf"],
        "mine\n",
    )


async def test_sudo(rpm_host: Machine) -> None:
    """A user with sudo works as root."""
    install(rpm_host, "tiny-1.9-1")
    assert (await refused(rpm_host, username="ops")).code in ("not_root", "index_failed")
    assert (await patch(rpm_host, username="ops", sudo=True)).changed


async def test_a_rehearsal_simulates(rpm_host: Machine) -> None:
    """It predicts the output of the run, and changes nothing."""
    install(rpm_host, "tiny-1.9-1")
    call = {**rpm_host.login(), "package": "tiny", "refresh": False}
    said = await make_stage().perform("package.patch", call, dry_run=True, dry_run_reads=True)
    assert installed(rpm_host) == "1.9-1"
    done = await make_stage().perform("package.patch", call)
    knows = {"changed", "changes", "previous_version", "installed_version", "wanted_version", "satisfied"}
    assert {key: said.output[key] for key in knows} == {key: done.output[key] for key in knows}


def test_a_table_without_rows() -> None:
    """Nothing is made of what is no transaction."""
    assert changes_of("Last metadata expiration check: 0:00:01 ago.\nNothing to do.\n") == []
