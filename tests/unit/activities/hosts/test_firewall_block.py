"""``firewall.block_ip`` on a real host in a network of its own: packets really arrive, or do not."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from activities.action import ActionContext, ActionError
from activities.egress import EgressPolicy
from activities.hosts.firewall import BlockInput, BlockOutput, FirewallBlock, change_of
from activities.hosts.nftables import Blocked, remaining_seconds
from tests.failures.namespaces import Network, run
from tests.hosts import Machine, running_machine
from tests.unit.activities.action_support import make_context, make_stage

pytestmark = pytest.mark.xdist_group("firewall-host")

ALLOWED = "127.0.0.0/8, 198.18.0.0/15, fd00::/8"


@dataclass(frozen=True)
class Site:
    """A host with IPv4 and IPv6, and two addresses of this machine from which it is reached."""

    machine: Machine
    network: Network

    @property
    def ours(self) -> str:
        """The address that connections come from unless they say another one."""
        return self.network.address("ours")

    @property
    def attacker(self) -> str:
        return self.network.address("attacker")

    def six(self, number: int) -> str:
        """The IPv6 address of a number: 1 ours, 2 the attacker's, 101 the host's."""
        return f"fd00:{self.network.number:x}::{number}"

    def six_source(self) -> str:
        """The IPv6 address that the kernel takes for connections to the host."""
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((self.six(101), 9))
            return str(probe.getsockname()[0])

    def reaches(self, source: str, patience: float = 60.0) -> bool:
        """True when a connection from ``source`` to the host's sshd is accepted within ``patience`` seconds."""
        target = self.six(101) if ":" in source else self.machine.address
        try:
            with socket.create_connection((target, self.machine.port), patience, source_address=(source, 0)):
                return True
        except TimeoutError:
            return False

    def rules(self) -> str:
        """All rules and sets of the host."""
        return self.machine.inside("nft -s list ruleset")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The host, up."""
    network = Network(hosts=("web",), links=("ours", "attacker"))
    prepare = "echo 'ListenAddress ::' >> /host/sshd_config"
    with network:
        for number in (1, 2):
            address = f"fd00:{network.number:x}::{number}/64"
            run("ip", "-6", "address", "add", address, "dev", f"stn{network.number:04x}", "nodad")
        inside = f"fd00:{network.number:x}::101/64"
        run(*network.inside("web"), "ip", "-6", "address", "add", inside, "dev", "eth0", "nodad")
        folder = tmp_path_factory.mktemp("firewall")
        with running_machine(folder / "host", prepare, network=network) as machine:
            yield Site(machine, network)


@pytest.fixture(autouse=True)
def clean(site: Site) -> None:
    """Nobody is blocked."""
    site.machine.inside("nft delete table inet stanchion", check=False)


def context() -> ActionContext:
    return make_context(egress=EgressPolicy.parse(ALLOWED))


async def block(site: Site, address: str, **changes: Any) -> BlockOutput:
    """The outcome of blocking ``address`` on the host."""
    inputs = BlockInput.model_validate({**site.machine.login(), "address": address, **changes})
    return await FirewallBlock().run(inputs, context())


async def refused(site: Site, address: str, **changes: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await block(site, address, **changes)
    return caught.value


@pytest.mark.parametrize("family", [4, 6])
async def test_a_block(site: Site, family: int) -> None:
    """Nothing from the address arrives any more; everybody else is served as before."""
    attacker = site.attacker if family == 4 else site.six(2)
    ours = site.ours if family == 4 else site.six(1)
    assert await asyncio.to_thread(site.reaches, attacker)
    done = await block(site, attacker)
    assert (done.address, done.change, done.changed) == (attacker, "blocked", True)
    assert done.expires_in_seconds is not None
    assert 86000 < done.expires_in_seconds <= 86400
    assert not await asyncio.to_thread(site.reaches, attacker, 1.0)
    assert await asyncio.to_thread(site.reaches, ours)


async def test_nothing_goes_out_to_it(site: Site) -> None:
    """A program on the host cannot call home either."""
    await block(site, site.attacker)
    assert "daddr @blocked4" in site.machine.inside("nft list chain inet stanchion output")
    said = site.machine.inside(
        f"python3 -c \"import socket; socket.create_connection(('{site.attacker}', 9), 1)\"", check=False
    )
    assert "Operation not permitted" in said or "timed out" in said


async def test_a_block_ends_by_itself(site: Site) -> None:
    """After its time the address is served again, and the set is empty."""
    await block(site, site.attacker, duration_seconds=2)
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(site.reaches, site.attacker, 1.0):
            await asyncio.sleep(0.1)
    assert site.attacker not in site.rules()


async def test_twice_is_once(site: Site) -> None:
    """A block is never made shorter, a longer one extends it, and no rule is there twice."""
    first = await block(site, site.attacker, duration_seconds=1000)
    shorter = await block(site, site.attacker, duration_seconds=100)
    rules = site.rules()
    longer = await block(site, site.attacker, duration_seconds=5000)
    for_ever = await block(site, site.attacker, duration_seconds=None)
    after = await block(site, site.attacker, duration_seconds=5000)
    told = [(done.change, done.changed) for done in (first, shorter, longer, for_ever, after)]
    assert told == [("blocked", True), ("none", False), ("extended", True), ("extended", True), ("none", False)]
    assert (longer.expires_in_seconds or 0) > 4000
    assert (for_ever.expires_in_seconds, after.expires_in_seconds) == (None, None)
    assert rules.count("ip saddr @blocked4 drop") == 2, "input and forward"
    assert site.rules().count("@blocked4") == rules.count("@blocked4") == 4


async def test_other_rules_are_left_alone(site: Site) -> None:
    """What others have blocked and allowed stays; a missing rule of ours comes back."""
    others = site.machine.inside("nft list table inet cut")
    await block(site, "192.0.2.1")
    site.machine.inside("nft flush chain inet stanchion input")
    await block(site, "192.0.2.2")
    assert site.machine.inside("nft list table inet cut") == others
    assert "192.0.2.1" in site.rules()
    assert "@blocked4" in site.machine.inside("nft list chain inet stanchion input")


async def test_many_at_once(site: Site) -> None:
    """Steps that run at the same time lose nothing of each other's."""
    addresses = [f"192.0.2.{number}" for number in range(1, 7)]
    await asyncio.gather(*(block(site, address) for address in addresses))
    listed = site.machine.inside("nft list set inet stanchion blocked4")
    assert all(f"{address} " in listed for address in addresses)


async def test_who_is_never_blocked(site: Site) -> None:
    """Where we come from, in either notation and family; the host itself; the loopback; whom the playbook names."""
    before = site.rules()
    own = [site.ours, f"::ffff:{site.ours}", site.machine.address]
    for address in [*own, "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1"]:
        error = await refused(site, address)
        assert (error.code, error.retryable) == ("protected_address", False), address
    for address in (site.six_source(), site.six(101)):
        assert (await refused(site, address, host=site.six(101))).code == "protected_address"
    error = await refused(site, "192.0.2.77", never_block=["192.0.2.0/24"])
    assert (error.code, "192.0.2.0/24" in error.message) == ("protected_address", True)
    assert site.rules() == before


async def test_who_may(site: Site) -> None:
    """A user without rights is told so and changes nothing; sudo does, and does not hide where we come from."""
    assert (await refused(site, site.attacker, username="ops")).code == "not_root"
    assert (await refused(site, site.ours, username="ops", sudo=True)).code == "protected_address"
    assert (await block(site, site.attacker, username="ops", sudo=True)).changed


@contextmanager
def other_nft(site: Site, script: str | None) -> Iterator[None]:
    """The host has another nft, or none."""
    site.machine.inside("mv /usr/sbin/nft /usr/sbin/nft.away")
    try:
        if script is not None:
            site.machine.inside(f"printf '#!/bin/sh\\n{script}\\n' > /usr/sbin/nft; chmod 755 /usr/sbin/nft")
        yield
    finally:
        site.machine.inside("mv /usr/sbin/nft.away /usr/sbin/nft")


async def test_a_host_without_nftables(site: Site) -> None:
    """It is told what is missing."""
    with other_nft(site, None):
        assert (await refused(site, site.attacker)).code == "nft_missing"


async def test_a_success_that_is_none(site: Site) -> None:
    """What is not in the set afterwards counts as not blocked."""
    with other_nft(site, '[ "$1" = -f ] || { echo No such file or directory >&2; exit 1; }'):
        assert (await refused(site, site.attacker)).code == "not_verified"


async def test_a_table_of_somebody_else(site: Site) -> None:
    """A set of the same name and another kind is not touched, and nothing is half done."""
    site.machine.inside("nft add table inet stanchion; nft 'add set inet stanchion blocked4 { type inet_service; }'")
    before = site.rules()
    error = await refused(site, site.attacker)
    assert (error.code, error.retryable) == ("firewall_failed", False)
    assert site.rules() == before


async def test_a_cancel(site: Site) -> None:
    """Nothing of it runs on, and nothing is changed."""
    before = site.rules()
    with other_nft(site, "touch /srv/asked; exec sleep 98765"):
        running = asyncio.create_task(block(site, site.attacker))
        async with asyncio.timeout(60):
            while not site.machine.inside("ls /srv/asked", check=False).startswith("/srv"):
                await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(60):
            while site.machine.inside("pgrep -f '[s]leep 98765'", check=False):
                await asyncio.sleep(0.1)
    assert site.rules() == before


async def rehearsed(site: Site, address: str, *, reads: bool = True, **changes: Any) -> Any:
    stage = make_stage(egress_allow=ALLOWED)
    call = {**site.machine.login(), "address": address, **changes}
    return await stage.perform("firewall.block_ip", call, dry_run=True, dry_run_reads=reads)


async def test_a_rehearsal(site: Site) -> None:
    """It reads the set, tells what would change or fail, and changes nothing."""
    before = site.rules()
    would = f"Would block {site.attacker} on {site.machine.address}:{site.machine.port} for 60 seconds"
    said = await rehearsed(site, site.attacker, duration_seconds=60)
    assert (said.would, said.output["change"]) == (f"{would}.", "blocked")
    own = await rehearsed(site, site.ours)
    loopback = await rehearsed(site, "::1")
    assert [answer.effects[0]["problem"] for answer in (own, loopback)] == ["protected_address"] * 2
    assert site.rules() == before
    await block(site, site.attacker, duration_seconds=30)
    longer = await rehearsed(site, site.attacker, duration_seconds=60)
    assert longer.would == f"{would}, which is blocked for a shorter time."
    nothing = await rehearsed(site, site.attacker, duration_seconds=1)
    assert (nothing.effects, nothing.output["changed"], "nothing" in nothing.would) == ([], False, True)


async def test_a_rehearsal_that_may_not_look(site: Site) -> None:
    """It connects to nothing, and says what it would do."""
    said = await rehearsed(site, "2001:DB8:0::1", reads=False, port=1, duration_seconds=None)
    assert said.would == f"Would block 2001:db8::1 on {site.machine.address}:1 without end."
    assert said.effects[0] == {
        "kind": "firewall",
        "host": site.machine.address,
        "username": "root",
        "address": "2001:db8::1",
        "duration_seconds": None,
    }


@pytest.mark.parametrize(
    ("listed", "seconds"),
    [
        ("elements = { 192.0.2.1 timeout 1m40s expires 1m39s976ms }", 100),
        ("elements = { 192.0.2.1 timeout 2d expires 1d2h3m4s }", 93784),
        ("elements = { 192.0.2.1 timeout 1s expires 12ms }", 0),
        ("elements = { 192.0.2.1 }", None),
    ],
)
def test_what_is_left(listed: str, seconds: int | None) -> None:
    """As nft writes it."""
    assert remaining_seconds(listed) == seconds


@pytest.mark.parametrize(
    ("found", "duration", "change"),
    [(None, 1, "blocked"), (None, None, "blocked"), (Blocked(5), 5, "none"), (Blocked(5), 6, "extended")],
)
def test_changes(found: Blocked | None, duration: int | None, change: str) -> None:
    """Only what is missing is done."""
    assert change_of(found, duration) == change


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "192.0.2.0/24"},
        {"address": "192.0.2.1 } ; flush ruleset"},
        {"address": "fe80::1%eth0"},
        {"address": "web-01"},
        {"duration_seconds": 0},
        {"never_block": ["staff"]},
    ],
)
def test_bad_input(changes: dict[str, Any]) -> None:
    """It is refused before anything is connected."""
    with pytest.raises(ValueError, match="validation error"):
        BlockInput.model_validate({"host": "web-01", "address": "192.0.2.1", **changes})


def test_the_network_of_these_tests_is_real(site: Site) -> None:
    """Both addresses are of this machine, so that a refused connection tells something."""
    told = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
    assert all(f"{address}/" in told for address in (site.ours, site.attacker, site.six(1), site.six(2)))
