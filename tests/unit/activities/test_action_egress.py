"""The egress guard: addresses, their disguises, and what the operator opens."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.egress import EgressPolicy, is_public
from activities.errors import ActionError
from activities.web import Call, send
from tests.unit.activities.action_support import LocalServer, http_answer

REFUSED = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"]


@pytest.mark.parametrize("address", REFUSED)
async def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    """Private, loopback, link-local, multicast, reserved and metadata addresses, plain or wrapped in IPv6."""
    with pytest.raises(ActionError) as raised:
        await EgressPolicy().resolve(address, 80)
    assert (raised.value.code, raised.value.retryable) == ("egress_refused", False)


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_public_address_is_allowed(address: str) -> None:
    """The guard lets the internet through, also where an IPv6 address leads to a public IPv4 one."""
    assert await EgressPolicy().resolve(address, 443) == [str(ip_address(address))]


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001", "1.1.1.1.1", "0x"]
)
async def test_a_disguised_address_is_refused(host: str) -> None:
    """Numbers that a resolver would read as an address are refused, wherever they lead."""
    with pytest.raises(ActionError, match="disguised") as raised:
        await EgressPolicy.parse("0.0.0.0/0").resolve(host, 80)
    assert raised.value.code == "egress_refused"


async def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    """localhost is a name like any other; its address is not public."""
    with pytest.raises(ActionError, match=r"localhost \(.*127\.0\.0\.1") as raised:
        await EgressPolicy().resolve("localhost", 80)
    assert raised.value.code == "egress_refused"


@pytest.mark.parametrize("host", ["localhost.", "LOCALHOST"])
async def test_another_spelling_of_a_name_changes_nothing(host: str) -> None:
    """A trailing dot and capitals get nowhere; some resolvers know no ``localhost.`` at all."""
    with pytest.raises(ActionError) as raised:
        await EgressPolicy().resolve(host, 80)
    assert raised.value.code in ("egress_refused", "resolve_failed")


async def test_a_name_that_does_not_exist_cannot_be_resolved() -> None:
    """RFC 6761 reserves .invalid; no retry would find it."""
    with pytest.raises(ActionError, match=r"nowhere\.invalid") as raised:
        await EgressPolicy().resolve("nowhere.invalid", 80)
    assert raised.value.code == "resolve_failed"


@pytest.mark.parametrize(
    ("allow", "host", "port", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1", "127.0.0.2", 80, False),
        ("127.0.0.0/8", "127.9.9.9", 80, True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, False),
        ("10.0.0.0/8:443", "10.1.1.1", 443, True),
        ("10.0.0.0/8:443", "10.1.1.1", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("fd00::/8", "fd12::1", 80, True),
        ("127.0.0.1", "::ffff:127.0.0.1", 80, True),
        ("localhost", "localhost", 80, True),
        ("LocalHost.", "localhost", 80, True),
        ("localhost:8080", "localhost", 80, False),
        ("localhost", "127.0.0.1", 80, False),
        (" 10.0.0.1 , , 192.168.0.0/16 ", "192.168.3.4", 80, True),
        ("", "10.0.0.1", 80, False),
    ],
)
async def test_the_operator_opens_hosts_networks_and_ports(allow: str, host: str, port: int, expected: bool) -> None:
    """STANCHION_EGRESS_ALLOW opens exactly what it lists."""
    policy = EgressPolicy.parse(allow)
    if expected:
        assert await policy.resolve(host, port)
    else:
        with pytest.raises(ActionError) as raised:
            await policy.resolve(host, port)
        assert raised.value.code == "egress_refused"


def test_a_wildcard_opens_what_is_below_a_name() -> None:
    """*.corp.example opens each host below it, but neither the name itself nor one that only ends alike."""
    policy = EgressPolicy.parse("*.corp.example")
    private = ip_address("10.0.0.1")
    assert policy.permits("a.b.corp.example", private, 80)
    assert not policy.permits("corp.example", private, 80)
    assert not policy.permits("evilcorp.example", private, 80)


@pytest.mark.parametrize(
    "item", ["10.0.0.0/99", "300.1.1.1", "host:0", "host:99999", "host:x", "ho st", "*", "http://x"]
)
def test_a_senseless_item_is_named(item: str) -> None:
    """A list with a mistake in it is refused, not read in some other way."""
    with pytest.raises(ValueError, match="STANCHION_EGRESS_ALLOW"):
        EgressPolicy.parse(f"10.0.0.1,{item}")


@given(st.ip_addresses(v=4))
def test_every_wrapping_of_an_address_is_judged_like_the_address(address: object) -> None:
    """Mapped, NAT64 and 6to4 forms of an IPv4 address are allowed only when it is."""
    number = int(ip_address(str(address)))
    wrapped = [(0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)]
    for form in wrapped:
        assert EgressPolicy().permits("h", ip_address(form), 80) <= is_public(ip_address(str(address)))


async def refused(url: str, policy: EgressPolicy) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await send(Call("GET", url), policy)
    return raised.value


async def test_a_name_is_resolved_once(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was judged: nobody asks the resolver a second time."""
    loop = asyncio.get_running_loop()
    resolve, asked = loop.getaddrinfo, []

    async def watched(host: str, *rest: object, **options: object) -> object:
        asked.append(host)
        return await resolve(host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", watched)
    server.answers["/"] = http_answer(200)
    await send(Call("GET", f"http://localhost:{server.port}/"), EgressPolicy.parse("localhost"))
    assert asked == ["localhost"]


async def test_only_allowed_addresses_of_a_name_are_used(server: LocalServer) -> None:
    """Of the addresses of localhost, which may be two, only the one that is opened is connected to."""
    server.answers["/"] = http_answer(200)
    await send(Call("GET", f"http://localhost:{server.port}/"), EgressPolicy.parse("127.0.0.1"))
    assert len(server.received) == 1


async def test_nothing_is_sent_to_a_refused_address(server: LocalServer) -> None:
    """The server that stands there never sees a connection."""
    assert (await refused(f"{server.url}/", EgressPolicy())).code == "egress_refused"
    assert server.received == []


@pytest.mark.parametrize("spelling", ["[::ffff:127.0.0.1]", "localhost", "0x7f.1", "127.1", "①②⑦.⓪.⓪.①"])
async def test_no_spelling_of_loopback_gets_through(server: LocalServer, spelling: str) -> None:
    """The client judges what it connects to, not what the URL looks like."""
    error = await refused(f"http://{spelling}:{server.port}/", EgressPolicy())
    assert error.code in ("egress_refused", "invalid_url")
    assert server.received == []


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/"]
)
async def test_a_redirect_is_judged_again(server: LocalServer, target: str) -> None:
    """A server that is allowed cannot send the client where it is not."""
    server.answers["/go"] = http_answer(302, location=target)
    policy = EgressPolicy.parse(f"127.0.0.1:{server.port}")
    assert (await refused(f"{server.url}/go", policy)).code == "egress_refused"


async def test_a_redirect_to_another_port_is_judged_again(server: LocalServer) -> None:
    """Opening one port of a host opens no other."""
    server.answers["/go"] = http_answer(302, location="http://127.0.0.1:22/")
    policy = EgressPolicy.parse(f"127.0.0.1:{server.port}")
    assert (await refused(f"{server.url}/go", policy)).code == "egress_refused"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://1.1.1.1/", "http://user:pw@1.1.1.1/"])
async def test_a_redirect_to_a_bad_url_is_refused(server: LocalServer, target: str) -> None:
    """The rules for URLs hold for redirects too."""
    server.answers["/go"] = http_answer(302, location=target)
    policy = EgressPolicy.parse(f"127.0.0.1:{server.port}")
    assert (await refused(f"{server.url}/go", policy)).code == "invalid_url"


async def test_the_proxy_of_the_environment_is_not_used(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect for us, past the guard."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, server.url)
    assert (await refused("http://10.0.0.1/", EgressPolicy.parse("127.0.0.1"))).code == "egress_refused"
    assert server.received == []


IDN = ("bücher.example", "BÜCHER.example.", "xn--bcher-kva.example")
"""One name in three spellings."""


@pytest.mark.parametrize("listed", IDN)
@pytest.mark.parametrize("called", IDN)
def test_an_idn_is_one_name_in_every_spelling(listed: str, called: str) -> None:
    """It is opened whichever way the operator and the playbook write it; its neighbours are not."""
    private = ip_address("10.0.0.1")
    assert EgressPolicy.parse(listed).permits(called, private, 80)
    assert EgressPolicy.parse(f"*.{listed}").permits(f"a.{called}", private, 80)
    assert not EgressPolicy.parse(listed).permits("bucher.example", private, 80)


@pytest.mark.parametrize("host", ["１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "127.0.0.1"])
async def test_letters_that_only_look_alike_get_nowhere(server: LocalServer, host: str) -> None:
    """What IDNA maps to an address or to localhost is judged as that, or is no URL at all."""
    error = await refused(f"http://{host}:{server.port}/", EgressPolicy())
    assert error.code in ("egress_refused", "invalid_url")
    assert server.received == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1"])
async def test_nat64_is_judged_by_where_it_leads(address: str) -> None:
    """RFC 6052: a gateway would carry it to the IPv4 address in its last 32 bits; opening that one opens it."""
    wrapped = f"64:ff9b::{address}"
    assert (await refused(f"http://[{wrapped}]/", EgressPolicy())).code == "egress_refused"
    assert EgressPolicy.parse(address).permits(wrapped, ip_address(wrapped), 80)


async def test_a_name_that_changes_its_address_is_judged_each_time(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer leads to a place that is not allowed, where the second request never arrives."""
    loop = asyncio.get_running_loop()
    resolve, answers = loop.getaddrinfo, ["127.0.0.1", "127.0.0.2"]

    async def rebinding(host: str, *rest: object, **options: object) -> object:
        return await resolve(answers.pop(0) if host == "rebind.example" else host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    inside = LocalServer(answers={"/next": http_answer(200, b"secret")})
    listening = await asyncio.start_server(inside.serve, "127.0.0.2", server.port)
    server.answers["/"] = http_answer(302, location=f"http://rebind.example:{server.port}/next")
    error = await refused(f"http://rebind.example:{server.port}/", EgressPolicy.parse("127.0.0.1"))
    listening.close()
    assert (error.code, answers) == ("egress_refused", [])
    assert [one.path for one in server.received] == ["/"]
    assert inside.received == []
