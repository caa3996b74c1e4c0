"""``service.restart`` on real hosts: one whose services systemd runs, and one with scripts in ``/etc/init.d``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from activities.action import ActionError
from activities.hosts.service import ServiceInput, ServiceOutput, ServiceRestart
from tests.hosts import Machine, running_machine
from tests.unit.activities.action_support import make_context, make_stage

pytestmark = pytest.mark.xdist_group("service-hosts")

UNITS = {
    "well": "ExecStart=/bin/sleep 100000\nExecReload=/bin/touch /srv/reloaded",
    "dies": "ExecStart=/bin/sh -c 'echo the disk is on fire >&2; sleep 0.3; exit 3'",
    "again": "ExecStart=/bin/sh -c 'sleep 0.4'\nRestart=always\nRestartSec=0",
    "never": "ExecStart=/no/such/program",
    "bare": "ExecStart=/bin/sleep 100000",
    "slow": "ExecStartPre=/bin/sh -c 'touch /srv/starting; sleep 3'\nExecStart=/bin/sleep 100000",
    "once": "Type=oneshot\nExecStart=/bin/true",
}
SCRIPT = r"""#!/bin/sh
case "$1" in
    start) [ ! -e /srv/broken ] || { echo no configuration >&2; exit 1; }
        setsid sleep 100000 & echo $! > /run/sysv.pid ;;
    stop) kill "$(cat /run/sysv.pid)" 2>/dev/null
        sleep "$(cat /srv/slow 2>/dev/null || echo 0)"; rm -f /run/sysv.pid ;;
    restart) "$0" stop; "$0" start ;;
    reload) touch /srv/reloaded ;;
    status) kill -0 "$(cat /run/sysv.pid 2>/dev/null)" 2>/dev/null || exit 3 ;;
esac
"""


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host with systemd."""
    units = "".join(
        f"printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\n%s\\n' \"{lines}\" "
        f"> /etc/systemd/system/{name}.service\n"
        for name, lines in UNITS.items()
    )
    prepare = (
        f"useradd --create-home --password '*' plain\nln -sf /dev/null /etc/systemd/system/masked.service\n{units}"
    )
    folder = tmp_path_factory.mktemp("systemd")
    with running_machine(folder / "host", prepare, systemd=True) as running:
        yield running


@pytest.fixture(scope="module")
def sysv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host without."""
    prepare = "cp /host/sysv /etc/init.d/sysv; chmod 755 /etc/init.d/sysv"
    folder = tmp_path_factory.mktemp("sysv")
    with running_machine(folder / "host", prepare, files={"sysv": SCRIPT.encode()}) as running:
        yield running


def given(machine: Machine, service: str, **changes: Any) -> ServiceInput:
    return ServiceInput.model_validate({**machine.login(), "service": service, "settle_seconds": 1, **changes})


async def restart(machine: Machine, service: str, **changes: Any) -> ServiceOutput:
    """The outcome of restarting ``service``."""
    return await ServiceRestart().run(given(machine, service, **changes), make_context())


async def refused(machine: Machine, service: str, **changes: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await restart(machine, service, **changes)
    return caught.value


async def test_a_restart(systemd: Machine) -> None:
    """Another process runs afterwards; a service that did not run does."""
    systemd.inside("systemctl stop well")
    first = await restart(systemd, "well")
    assert (first.manager, first.state_before, first.state_after, first.pid_before) == (
        "systemd",
        "inactive",
        "active",
        None,
    )
    second = await restart(systemd, "well.service")
    assert (second.state_before, second.pid_before) == ("active", first.pid_after)
    assert second.pid_after not in (None, first.pid_after)


async def test_a_reload(systemd: Machine) -> None:
    """The same process reads its configuration; one that cannot, or does not run, is told."""
    systemd.inside("systemctl restart well; rm -f /srv/reloaded")
    done = await restart(systemd, "well", operation="reload")
    assert done.pid_before == done.pid_after
    assert systemd.inside("ls /srv/reloaded")
    systemd.inside("systemctl stop well")
    assert (await refused(systemd, "well", operation="reload")).code == "not_running"
    systemd.inside("systemctl start bare")
    assert (await refused(systemd, "bare", operation="reload")).code == "reload_unsupported"


async def test_a_service_that_dies(systemd: Machine) -> None:
    """It came up, but did not stay: the error has what its log says."""
    error = await refused(systemd, "dies")
    assert (error.code, "the disk is on fire" in error.message) == ("service_failed", True)


async def test_a_service_that_is_started_again_and_again(systemd: Machine) -> None:
    """It is not well, though it runs whenever one looks."""
    assert (await refused(systemd, "again", settle_seconds=2)).code == "service_failed"
    systemd.inside("systemctl stop again")


async def test_a_service_that_cannot_start(systemd: Machine) -> None:
    """By either way it is told as a failure."""
    assert (await refused(systemd, "never")).code in ("operation_failed", "service_failed")


async def test_a_service_that_has_done_its_work(systemd: Machine) -> None:
    """It need not run."""
    assert (await restart(systemd, "once")).state_after == "inactive"


async def test_services_that_cannot_be_restarted(systemd: Machine) -> None:
    """One that is not there, one that is masked."""
    assert (await refused(systemd, "no-such-service")).code == "unknown_service"
    assert (await refused(systemd, "masked")).code == "service_masked"


async def test_who_may(systemd: Machine) -> None:
    """A user without rights is told so, and with sudo it works."""
    systemd.inside("systemctl restart well")
    assert (await refused(systemd, "well", username="plain")).code == "permission_denied"
    assert (await refused(systemd, "well", username="plain", sudo=True)).code == "sudo_refused"
    assert (await restart(systemd, "well", username="ops", sudo=True)).state_after == "active"


async def test_a_rehearsal(systemd: Machine) -> None:
    """It tells the state, or what would fail, and restarts nothing."""
    systemd.inside("systemctl restart well")
    pid = systemd.inside("systemctl show -p MainPID --value well")
    call = {**systemd.login(), "service": "well"}
    said = await make_stage().perform("service.restart", call, dry_run=True, dry_run_reads=True)
    assert said.would == f"Would restart well on 127.0.0.1:{systemd.port}, which is active."
    assert systemd.inside("systemctl show -p MainPID --value well") == pid
    missing = await make_stage().perform(
        "service.restart", {**call, "service": "no-such-service"}, dry_run=True, dry_run_reads=True
    )
    assert missing.effects is not None
    assert missing.effects[0]["problem"] == "unknown_service"


async def test_a_rehearsal_that_may_not_look(systemd: Machine) -> None:
    """It connects to nothing, and says what it would do."""
    call = {**systemd.login(), "port": 1, "service": "well"}
    said = await make_stage().perform("service.restart", call, dry_run=True, dry_run_reads=False)
    assert said.would == "Would restart well on 127.0.0.1:1."
    assert said.effects == [
        {"kind": "service", "host": "127.0.0.1", "username": "root", "service": "well", "operation": "restart"}
    ]


async def cancelled(running: asyncio.Task[ServiceOutput]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def wait_until(machine: Machine, condition: str) -> None:
    """Wait for a shell condition on the host."""
    async with asyncio.timeout(60):
        while "yes" not in await asyncio.to_thread(machine.inside, f"{condition} && echo yes", False):
            await asyncio.sleep(0.1)


async def test_a_cancel_leaves_the_restart_to_systemd(systemd: Machine) -> None:
    """Cancelled while the service starts, it comes up all the same."""
    running = asyncio.create_task(restart(systemd, "slow"))
    await wait_until(systemd, "test -e /srv/starting")
    await cancelled(running)
    await wait_until(systemd, "systemctl is-active slow")


async def test_a_cancel_while_it_is_watched(systemd: Machine) -> None:
    """The step ends; the service was restarted."""
    systemd.inside("systemctl restart well")
    before = systemd.inside("systemctl show -p MainPID --value well").strip()
    running = asyncio.create_task(restart(systemd, "well", settle_seconds=300))
    await wait_until(
        systemd, f'systemctl is-active well && [ "$(systemctl show -p MainPID --value well)" != {before} ]'
    )
    await cancelled(running)
    assert systemd.inside("systemctl is-active well") == "active\n"


async def test_a_script(sysv: Machine) -> None:
    """The fallback: restarted and reloaded by its script."""
    sysv.inside("/etc/init.d/sysv stop; rm -f /srv/*")
    first = await restart(sysv, "sysv")
    second = await restart(sysv, "sysv")
    assert (first.manager, first.state_before, second.state_before) == ("sysv", "inactive", "active")
    assert second.pid_after not in (None, first.pid_after)
    await restart(sysv, "sysv", operation="reload")
    assert sysv.inside("ls /srv") == "reloaded\n"
    assert (await refused(sysv, "no-such-service")).code == "unknown_service"


async def test_a_script_that_fails(sysv: Machine) -> None:
    """What it said is in the error."""
    sysv.inside("touch /srv/broken")
    error = await refused(sysv, "sysv")
    sysv.inside("rm /srv/broken")
    assert (error.code, "no configuration" in error.message) == ("operation_failed", True)


async def test_a_cancel_breaks_no_restart_off(sysv: Machine) -> None:
    """Cancelled between stop and start, the service comes up all the same."""
    sysv.inside("/etc/init.d/sysv restart >/dev/null 2>&1; echo 2 > /srv/slow")
    before = sysv.inside("cat /run/sysv.pid")
    running = asyncio.create_task(restart(sysv, "sysv"))
    await wait_until(sysv, f"! kill -0 {before.strip()}")
    await cancelled(running)
    await wait_until(sysv, f'/etc/init.d/sysv status && [ "$(cat /run/sysv.pid)" != {before.strip()} ]')
    sysv.inside("rm /srv/slow")


async def test_an_operation_that_takes_too_long(sysv: Machine) -> None:
    """The step ends in time, and the host goes on."""
    sysv.inside("/etc/init.d/sysv restart >/dev/null 2>&1; echo 3 > /srv/slow")
    assert (await refused(sysv, "sysv", timeout_seconds=1)).code == "operation_timed_out"
    sysv.inside("rm /srv/slow")


@pytest.mark.parametrize("changes", [{"service": "-x"}, {"service": "a b"}, {"operation": "kill"}])
def test_bad_input(changes: dict[str, Any]) -> None:
    """It is refused before anything is connected."""
    with pytest.raises(ValueError, match="validation error"):
        ServiceInput.model_validate({"host": "web-01", "service": "nginx", **changes})
