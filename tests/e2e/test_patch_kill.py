"""kill -9 of the worker while a host unpacks a package: the package manager is done once, and the run hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import Machine, running_machine
from tests.house import house
from tests.packages import APT_HOST, Package, deb_repository

HELD = "echo begun >>/srv/log; while [ ! -e /srv/go ]; do sleep 0.1; done; echo done >>/srv/log"
"""A script of the package that waits for the test, and notes how often it was run."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian host whose repository has a 2.0 that takes as long as the test wants."""
    folder = tmp_path_factory.mktemp("held")
    packages = [Package("held", "1.0"), Package("held", "2.0", scripts={"postinst": HELD})]
    files = deb_repository(folder / "packages", packages)
    with running_machine(folder / "host", f"{APT_HOST}apt-get update -q\n", files=files) as running:
        yield running


@pytest.fixture
def machine(host: Machine) -> Machine:
    """The host with version 1.0, and no trace of another."""
    host.inside("apt-get install -y -q --allow-downgrades held=1.0; rm -rf /srv/* /run/stanchion; : >/var/log/dpkg.log")
    return host


async def until(machine: Machine, text: str) -> None:
    """Waits until the package's script has noted ``text``."""
    async with asyncio.timeout(120):
        while text not in await asyncio.to_thread(machine.inside, "cat /srv/log", check=False):
            await asyncio.sleep(0.2)


@pytest.mark.xdist_group("debian-host")
@pytest.mark.parametrize("dead", [True, False], ids=["while-nobody-works", "under-the-next-worker"])
async def test_a_killed_worker_patches_once(tmp_path: Path, machine: Machine, *, dead: bool) -> None:
    """The package is configured once, whether it is ready before the next worker comes or after."""
    step: dict[str, Any] = {"name": "Patch", "action_ref": "package.patch"}
    login = {"host": machine.address, "port": machine.port, "host_key": [machine.host_key]}
    step["parameters"] = {**login, "private_key": "{{ secrets.ssh_key }}", "package": "held", "version": "2.0"}
    (tmp_path / "house").mkdir()
    async with house(tmp_path / "house", extra={"STANCHION_SECRET_SSH_KEY": machine.private_key}) as running:
        execution_id = await running.run([step])
        await until(machine, "begun")
        running.kill("worker")
        if dead:
            machine.inside("touch /srv/go")
            await until(machine, "done")
        running.start("worker")
        if not dead:
            # The next worker has taken the step over, and finds the work under way.
            await running.ready()
            machine.inside("touch /srv/go")
        status = await running.finish(execution_id, 120)
    assert status["status"] == "completed", status
    assert machine.inside("cat /srv/log").split() == ["begun", "done"]
    assert machine.inside("dpkg-query -W -f '${Version} ${db:Status-Status}' held") == "2.0 installed"
    assert machine.inside("grep -c ' configure held:all 2.0' /var/log/dpkg.log").strip() == "1"
