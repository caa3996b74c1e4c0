"""``dns.resolve`` against a real name server on UDP and TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest
from pydantic import ValidationError

from activities.action import ActionContext, ActionError
from activities.egress import EgressPolicy
from activities.know.dns import DnsResolve, ResolveInput, ResolveOutput, split_place
from tests.unit.activities.action_support import Stage, make_context
from tests.unit.activities.name_server import NameServer, name_server


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    """A name server."""
    async with name_server() as server:
        yield server


async def resolve(names: NameServer, context: ActionContext, **inputs: Any) -> ResolveOutput:
    given = {"name": "example.test", "nameserver": names.place, **inputs}
    return await DnsResolve().run(ResolveInput.model_validate(given), context)


async def failure(names: NameServer, context: ActionContext, **inputs: Any) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await resolve(names, context, **inputs)
    return raised.value


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        ("example.test", "A", ["192.0.2.1", "192.0.2.2"]),
        ("Example.Test.", "aaaa", ["2001:db8::1"]),
        ("example.test", "MX", ["mail.example.test", "backup.example.test"]),
        ("example.test", "NS", ["ns.example.test"]),
        ("example.test", "TXT", ["v=spf1 -all"]),
        ("example.test", "CAA", ["ca.example"]),
        ("example.test", "SOA", ["ns.example.test. root.example.test. 1 2 3 4 5"]),
        ("_sip._tcp.example.test", "SRV", ["sip.example.test"]),
        ("www.example.test", "CNAME", ["web.example.test"]),
        ("www.example.test", "A", ["192.0.2.1", "192.0.2.2"]),
        ("192.0.2.1", "PTR", ["example.test"]),
        ("2001:db8::1", "PTR", ["six.example.test"]),
        ("1.2.0.192.in-addr.arpa", "PTR", ["example.test"]),
        ("münchen.example.test", "A", ["192.0.2.3"]),
    ],
)
async def test_every_type_is_read(
    names: NameServer, context: ActionContext, name: str, kind: str, values: list[str]
) -> None:
    """Its values stand plain."""
    found = await resolve(names, context, name=name, type=kind)
    assert (sorted(found.values), found.found, found.exists, found.rcode) == (sorted(values), True, True, "NOERROR")
    assert (found.transport, found.nameserver, found.authenticated) == ("udp", "127.0.0.1", False)


async def test_the_other_fields_of_a_record_stand_beside_it(names: NameServer, context: ActionContext) -> None:
    """And aliases are listed, with the name at their end."""
    (srv,) = (await resolve(names, context, name="_sip._tcp.example.test", type="SRV")).records
    assert (srv.ttl, srv.data) == (60, {"priority": 1, "weight": 2, "port": 5060})
    mx = (await resolve(names, context, type="MX")).records
    assert {one.value: one.data["preference"] for one in mx} == {"mail.example.test": 10, "backup.example.test": 20}
    (caa,) = (await resolve(names, context, type="CAA")).records
    assert caa.data == {"flags": 0, "tag": "issue"}
    found = await resolve(names, context, name="www.example.test")
    assert found.canonical_name == "example.test"
    assert [(one.name, one.type, one.value) for one in found.records][:2] == [
        ("www.example.test", "CNAME", "web.example.test"),
        ("web.example.test", "CNAME", "example.test"),
    ]


async def test_a_name_that_is_not_there_is_an_answer(names: NameServer, context: ActionContext) -> None:
    """As is a name without records of the type."""
    found = await resolve(names, context, name="none.example.test")
    assert (found.exists, found.found, found.rcode, found.values) == (False, False, "NXDOMAIN", [])
    found = await resolve(names, context, name="web.example.test", type="MX")
    assert (found.exists, found.found) == (True, True)
    found = await resolve(names, context, name="_sip._tcp.example.test", type="A")
    assert (found.exists, found.found, found.rcode) == (True, False, "NOERROR")


async def test_a_long_answer_comes_over_tcp(names: NameServer, context: ActionContext) -> None:
    """All of it."""
    found = await resolve(names, context, name="long.example.test", type="TXT")
    assert (len(found.values), found.transport) == (50, "tcp")
    assert [transport for transport, _ in names.asked] == ["udp", "tcp"]


async def test_the_server_s_word_on_dnssec_is_asked_for_and_told(names: NameServer, context: ActionContext) -> None:
    """By the AD bit of question and answer."""

    def validated(query: dns.message.Message) -> bytes:
        response = names.from_zone(query)
        response.flags |= dns.flags.AD
        return response.to_wire()

    names.answer = validated
    assert (await resolve(names, context)).authenticated
    assert names.asked[0][1].flags & dns.flags.AD


@pytest.mark.parametrize(
    ("rcode", "code", "retryable"), [("SERVFAIL", "dns_failed", True), ("REFUSED", "dns_refused", False)]
)
async def test_a_server_that_fails_or_refuses(
    names: NameServer, context: ActionContext, rcode: str, code: str, retryable: bool
) -> None:
    """Is asked once more, then told."""

    def refuse(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.from_text(rcode))
        return response.to_wire()

    names.answer = refuse
    error = await failure(names, context)
    assert (error.code, error.retryable, len(names.asked)) == (code, retryable, 2)


async def test_a_lost_packet_is_no_failure(names: NameServer, context: ActionContext) -> None:
    """The question is asked again."""

    def second(query: dns.message.Message) -> bytes | None:
        return names.from_zone(query).to_wire() if len(names.asked) > 1 else None

    names.answer = second
    assert (await resolve(names, context, timeout=1)).found


async def test_silence_ends_in_time(names: NameServer, context: ActionContext) -> None:
    """With a code, as does a port where nothing listens."""
    names.answer = lambda _: None
    assert (await failure(names, context, timeout=0.2)).code == "timed_out"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    error = await failure(names, context, timeout=0.5, nameserver=f"127.0.0.1:{port}")
    assert error.code in ("connect_failed", "timed_out")


@pytest.mark.parametrize("wire", [b"hello", b"\x00" * 12, b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_answer_is_not_taken_for_one(names: NameServer, context: ActionContext, wire: bytes) -> None:
    """It fails with a code, within the time."""
    names.answer = lambda _: wire
    assert (await failure(names, context, timeout=0.5)).code in ("bad_answer", "timed_out")


async def test_an_answer_to_another_question_is_not_taken(names: NameServer, context: ActionContext) -> None:
    """Of another id, as a forger would send it."""

    def forged(query: dns.message.Message) -> bytes:
        response = names.from_zone(query)
        response.id = (query.id + 1) % 65536
        return response.to_wire()

    names.answer = forged
    assert (await failure(names, context, timeout=0.5)).code in ("bad_answer", "timed_out")


async def test_a_loop_of_aliases_ends(names: NameServer, context: ActionContext) -> None:
    """With no values, rather than never."""
    found = await resolve(names, context, name="loop.example.test")
    assert (found.found, found.canonical_name) == (False, "loop.example.test")


async def test_a_name_server_is_judged_by_the_egress_guard(names: NameServer) -> None:
    """By address and by name; nothing is sent."""
    closed = make_context(egress=EgressPolicy())
    for place in (names.place, f"localhost:{names.port}", "169.254.169.254", "[::1]:53", "2130706433"):
        assert (await failure(names, closed, nameserver=place)).code == "egress_refused"
    assert names.asked == []


async def test_the_worker_s_own_servers_are_asked(
    names: NameServer, monkeypatch: pytest.MonkeyPatch, context: ActionContext
) -> None:
    """Though they are private; and a worker without one says so."""

    def own() -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = names.port
        return resolver

    closed = make_context(egress=EgressPolicy())
    monkeypatch.setattr("activities.know.dns.dns.resolver.Resolver", lambda made=own(): made)
    assert (await resolve(names, closed, nameserver=None)).found

    def none() -> dns.resolver.Resolver:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("activities.know.dns.dns.resolver.Resolver", none)
    assert (await failure(names, closed, nameserver=None)).code == "no_nameserver"


async def test_a_cancel_ends_it_at_once(names: NameServer, context: ActionContext) -> None:
    """While it waits for an answer."""
    names.answer = lambda _: None
    task = asyncio.create_task(resolve(names, context, timeout=60))
    while not names.asked:
        await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", "\u2603\u200d.test"])
async def test_a_name_that_is_none_is_refused(names: NameServer, context: ActionContext, name: str) -> None:
    """Before anything is sent."""
    assert (await failure(names, context, name=name)).code == "invalid_input"
    assert names.asked == []


@pytest.mark.parametrize("place", ["", ":53", "host:0", "host:99999", "[::1]:x", "[::1"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    """With its field."""
    if place:
        with pytest.raises(ValidationError, match="nameserver"):
            ResolveInput.model_validate({"name": "x", "nameserver": place})
    else:
        assert ResolveInput.model_validate({"name": "x", "nameserver": place}).nameserver is None
    assert split_place("2001:db8::1") == ("2001:db8::1", 53)
    assert split_place("[2001:db8::1]:5353") == ("2001:db8::1", 5353)


async def test_as_a_step(names: NameServer, stage: Stage) -> None:
    """It reads in a dry run too, and says what it would ask when it may not."""
    inputs = {"name": "example.test", "nameserver": names.place}
    result = await stage.perform("dns.resolve", inputs, dry_run=True)
    assert isinstance(result.output, dict)
    assert result.output["found"]
    result = await stage.perform("dns.resolve", inputs, dry_run=True, dry_run_reads=False)
    assert result.would == f"Would ask {names.place} for A of example.test."
