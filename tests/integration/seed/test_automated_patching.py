"""The guide's *Automated patching*, whole: a real package of a real host goes up, or back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio

from tests.hosts import Machine, running_machine
from tests.packages import APT_HOST, Package, deb_repository
from tests.stack import Stack, running_stack, stack_settings

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("patched-host")]

SERVES = """import socket, time
with socket.create_server(("127.0.0.1", {port})) as server:
    while True:
        server.accept()[0].close()
"""
UNIT = """
cat > /etc/systemd/system/web.service <<END
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/python3 /usr/lib/web/serve.py
END
"""
FOUND = ["Verify the vulnerability", "Is it vulnerable?"]
PATCHED = [
    *FOUND,
    "Apply the patch in dry-run mode",
    "Validate the rehearsal",
    "Apply the patch",
    "Restart the service",
    "Scan the service's port",
    "Verify the fix",
    "Is it fixed?",
]


def packages(port: int) -> list[Package]:
    """A service that listens on ``port`` in two versions; the third one cannot start."""
    path = "/usr/lib/web/serve.py"
    return [
        Package("web", "1.0-1", {path: f"# 1.0\n{SERVES.format(port=port)}"}),
        Package("web", "2.0-1", {path: f"# 2.0\n{SERVES.format(port=port)}"}),
        Package("web", "3.0-1", {path: "raise SystemExit('no configuration')\n"}),
    ]


@dataclass(frozen=True)
class Site:
    """A host with the package in version 1.0, and a Stanchion that may reach it."""

    machine: Machine
    stack: Stack
    port: int

    async def run(self, version: str, *, asset: str, dry_run: bool = False, **changes: Any) -> dict[str, Any]:
        """How a run of the shipped playbook ended."""
        login = {"host": "127.0.0.1", "ssh_port": self.machine.port, "host_key": [self.machine.host_key]}
        parameters = {**login, "package": "web", "service": "web", "check_port": self.port, "patch_version": version}
        started = await self.stack.post_run(
            "automated-patching", asset, parameters={**parameters, **changes}, dry_run=dry_run
        )
        assert started.status_code == 202, started.text
        return await self.stack.finish(started.json()["execution_id"])

    async def asset(self) -> str:
        return str((await self.stack.asset())["id"])

    async def inside(self, command: str) -> str:
        return (await asyncio.to_thread(self.machine.inside, command)).strip()

    async def version(self) -> str:
        """The package on the host, as dpkg has it."""
        return await self.inside("dpkg-query -W -f '${Version} ${db:Status-Abbrev}' web")

    async def traces(self) -> str:
        """What a change would leave: of dpkg, of the package's files, of the service's process."""
        return await self.inside(
            "cat /var/lib/dpkg/status /usr/lib/web/serve.py | md5sum; ls -laR --time-style=full-iso /var/lib/apt/lists "
            "/var/lib/dpkg/info /run/stanchion 2>&1 | md5sum; systemctl show -p MainPID,ActiveEnterTimestamp web"
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Both, up."""
    folder = tmp_path_factory.mktemp("patching")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    built = deb_repository(folder / "packages", packages(port))
    prepare = f"{APT_HOST}apt-get update -q\napt-get install -y -q web=1.0-1\n{UNIT}"
    with (
        pytest.MonkeyPatch.context() as patch,
        running_machine(folder / "host", prepare, files=built, systemd=True) as machine,
    ):
        patch.setenv("STANCHION_SECRET_SSH_KEY", machine.private_key)
        machine.inside("systemctl start web")
        async with running_stack(stack_settings(folder)) as stack:
            definition = files("playbooks.library").joinpath("automated-patching.yaml").read_bytes()
            headers = {"content-type": "application/yaml"}
            stored = await stack.http.post("/api/playbooks", content=definition, headers=headers)
            assert stored.status_code in (201, 409), stored.text
            yield Site(machine, stack, port)


@pytest.fixture(autouse=True)
def first_version(site: Site) -> None:
    """Every test begins with a service that runs in version 1.0."""
    site.machine.inside(
        "apt-mark unhold web; apt-get install -y -q --allow-downgrades web=1.0-1; systemctl restart web"
    )


def statuses(status: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["status"] for step in status["steps"]}


def named(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in status["steps"] if step["name"] == name)


def done(status: dict[str, Any]) -> list[str]:
    """The names of the steps that were completed."""
    return [name for name, state in statuses(status).items() if state == "completed"]


async def test_a_package_is_rehearsed_patched_and_found_patched(site: Site) -> None:
    """The rehearsal changes nothing and foretells the run; the run brings the version; the next has nothing to do."""
    asset = await site.asset()
    before = await site.traces()
    rehearsed = await site.run("2.0", asset=asset, dry_run=True)
    assert await site.traces() == before
    pid = await site.inside("systemctl show -p MainPID --value web")
    live = await site.run("2.0", asset=asset)
    assert await site.version() == "2.0-1 ii"
    assert await site.inside("systemctl show -p MainPID --value web") != pid
    assert await site.inside("head -n 1 /usr/lib/web/serve.py") == "# 2.0"
    again = await site.run("2.0", asset=asset)

    assert (rehearsed["status"], live["status"], again["status"]) == ("completed",) * 3, (rehearsed, live, again)
    assert (done(rehearsed), done(live), done(again)) == (PATCHED, PATCHED, FOUND)
    foreseen, happened = named(rehearsed, "Apply the patch"), named(live, "Apply the patch")
    knows = ("changed", "changes", "previous_version", "installed_version", "wanted_version")
    assert {key: foreseen["output"][key] for key in knows} == {key: happened["output"][key] for key in knows}
    told = {"patched": True, "previous_version": "1.0-1", "version": "2.0-1", "restart_needed": []}
    assert live["outputs"] == told
    assert (rehearsed["outputs"]["patched"], again["outputs"]["patched"]) == (False, False)
    ids = rehearsed["execution_id"], live["execution_id"]
    compared = (await site.stack.http.get(f"/api/playbooks/executions/{ids[0]}/compare/{ids[1]}")).json()
    assert all(step["left"]["status"] == step["right"]["status"] for step in compared["steps"])


async def test_a_patch_that_does_not_hold_is_rolled_back(site: Site) -> None:
    """The service does not come up in the new version: the old one is back and runs, and the run has failed."""
    status = await site.run("3.0", asset=await site.asset())
    told = statuses(status)
    assert (status["status"], told["Apply the patch"], told["Restart the service"]) == ("failed", "completed", "failed")
    assert named(status, "Restart the service")["error"]["code"] == "service_failed"
    assert (told["Roll back"], told["Restart the service on the old version"]) == ("completed", "completed")
    assert await site.version() == "1.0-1 ii"
    assert await site.inside("systemctl is-active web") == "active"


async def test_without_rollback_it_stays(site: Site) -> None:
    """Who does not want it undone finds the host as the patch has left it."""
    status = await site.run("3.0", asset=await site.asset(), rollback_enabled=False)
    assert (status["status"], statuses(status)["Roll back"]) == ("failed", "skipped")
    assert await site.version() == "3.0-1 ii"


async def test_what_cannot_be_patched_is_told_by_the_rehearsal_too(site: Site) -> None:
    """On hold: neither the rehearsal nor the run gets further than the simulation, and nothing is changed."""
    await site.inside("apt-mark hold web")
    asset = await site.asset()
    before = await site.traces()
    for dry_run in (True, False):
        status = await site.run("2.0", asset=asset, dry_run=dry_run)
        simulated = named(status, "Apply the patch in dry-run mode")
        assert (status["status"], simulated["error"]["code"]) == ("failed", "held"), status
        assert statuses(status)["Apply the patch"] == "skipped"
        unchanged = await site.version()
        assert unchanged == "1.0-1 hi"
        if dry_run:
            assert await site.traces() == before


async def test_a_rehearsal_that_may_not_look(site: Site) -> None:
    """It connects to nothing, goes the way of the patch, and says what each step would do."""
    asset = await site.asset()
    started = await site.stack.post_run(
        "automated-patching",
        asset,
        parameters={"host": "127.0.0.1", "ssh_port": 1, "patch_version": "2.0", "package": "web", "service": "web"},
        dry_run=True,
        dry_run_reads=False,
    )
    status = await site.stack.finish(started.json()["execution_id"])
    assert status["status"] == "completed", status
    assert named(status, "Apply the patch")["would"] == "Would bring web on 127.0.0.1:1 to 2.0 by apt-get or dnf."


async def test_a_host_that_cannot_be_reached(site: Site) -> None:
    """The run ends with what is wrong."""
    status = await site.run("2.0", asset=await site.asset(), ssh_port=1)
    assert (status["status"], statuses(status)["Verify the vulnerability"]) == ("failed", "failed")
