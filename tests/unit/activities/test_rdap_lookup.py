"""``rdap.lookup`` against a real HTTP server that plays IANA and the registries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from activities.action import ActionContext, ActionError
from activities.egress import EgressPolicy
from activities.know import rdap
from activities.know.rdap import RdapInput, RdapLookup, subject_of
from activities.know.rdap_answer import RdapOutput, output_of
from tests.unit.activities.action_support import LocalServer, Stage, http_answer, make_context

DOMAIN: dict[str, Any] = {
    "objectClassName": "domain",
    "handle": "2336799_DOMAIN_COM-VRSN",
    "ldhName": "EXAMPLE.COM",
    "status": ["client delete prohibited", "client transfer prohibited"],
    "events": [
        {"eventAction": "registration", "eventDate": "1995-08-14T04:00:00Z"},
        {"eventAction": "expiration", "eventDate": "2026-08-13T04:00:00Z"},
        {"eventAction": "last changed", "eventDate": "2025-08-14T07:01:39Z"},
    ],
    "secureDNS": {"delegationSigned": True},
    "nameservers": [{"objectClassName": "nameserver", "ldhName": "A.IANA-SERVERS.NET"}],
    "entities": [
        {
            "objectClassName": "entity",
            "handle": "376",
            "roles": ["registrar"],
            "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "A Registrar"]]],
            "entities": [
                {
                    "objectClassName": "entity",
                    "roles": ["abuse"],
                    "vcardArray": ["vcard", [["fn", {}, "text", ""], ["email", {}, "text", "abuse@registrar.example"]]],
                }
            ],
        }
    ],
}
NETWORK = {
    "objectClassName": "ip network",
    "handle": "NET-192-0-2-0-1",
    "startAddress": "192.0.2.0",
    "endAddress": "192.0.2.255",
    "name": "TEST-NET-1",
    "country": "US",
}
AUTNUM = {"objectClassName": "autnum", "handle": "AS64496", "startAutnum": 64496, "endAutnum": 64511, "name": "DOC"}


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Nothing of IANA's files is kept from one test to the next."""
    rdap._kept.clear()
    yield
    rdap._kept.clear()


@pytest.fixture
def iana(server: LocalServer) -> LocalServer:
    """IANA's files and registries; the more fitting one is the right one."""

    def services(*pairs: tuple[list[str], str]) -> bytes:
        wrong = [["broken"], "not", [["com"], []]]
        return as_json({"services": [*wrong, *([entries, [f"{server.url}/{name}/"]] for entries, name in pairs)]})

    server.answers |= {
        "/iana/dns.json": services((["com", "net"], "com"), (["sub.com"], "sub")),
        "/iana/ipv4.json": services((["192.0.0.0/8"], "wide"), (["192.0.2.0/24", "junk"], "net")),
        "/iana/ipv6.json": services((["2001:db8::/32"], "net")),
        "/iana/asn.json": services((["1-70000"], "wide"), (["64496-64511"], "asn")),
        "/com/domain/example.com": as_json(DOMAIN),
        "/com/domain/xn--mnchen-3ya.com": as_json(DOMAIN),
        "/sub/domain/x.sub.com": as_json(DOMAIN),
        "/net/ip/192.0.2.7": as_json(NETWORK),
        "/net/ip/192.0.2.0/25": as_json(NETWORK),
        "/net/ip/2001:db8::1": as_json(NETWORK),
        "/asn/autnum/64500": as_json(AUTNUM),
    }
    return server


def as_json(document: Any) -> bytes:
    return http_answer(200, json.dumps(document).encode(), content_type="application/rdap+json")


async def look_up(server: LocalServer, context: ActionContext, query: str, **inputs: Any) -> RdapOutput:
    given = {"query": query, "bootstrap_url": f"{server.url}/iana", **inputs}
    return await RdapLookup().run(RdapInput.model_validate(given), context)


async def failure(server: LocalServer, context: ActionContext, query: str, **inputs: Any) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await look_up(server, context, query, **inputs)
    return raised.value


async def test_a_domain(iana: LocalServer, context: ActionContext) -> None:
    """Its dates, registrar, name servers and where abuse is told."""
    found = await look_up(iana, context, "Example.COM.")
    assert found.found
    assert (found.name, found.handle, found.kind) == ("EXAMPLE.COM", "2336799_DOMAIN_COM-VRSN", "domain")
    assert (found.registered, found.expires) == ("1995-08-14T04:00:00Z", "2026-08-13T04:00:00Z")
    assert (found.registrar, found.abuse_email) == ("A Registrar", "abuse@registrar.example")
    assert (found.nameservers, found.dnssec) == (["a.iana-servers.net"], True)
    assert found.status == ["client delete prohibited", "client transfer prohibited"]
    assert iana.received[-1].headers["accept"].startswith("application/rdap+json")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("münchen.com", "/com/domain/xn--mnchen-3ya.com"),
        ("x.sub.com", "/sub/domain/x.sub.com"),
        ("192.0.2.7", "/net/ip/192.0.2.7"),
        ("192.0.2.9/25", "/net/ip/192.0.2.0/25"),
        ("2001:DB8::1", "/net/ip/2001:db8::1"),
        ("as64500", "/asn/autnum/64500"),
    ],
)
async def test_the_registry_that_fits_best_is_asked(
    iana: LocalServer, context: ActionContext, query: str, path: str
) -> None:
    """By the longest domain or prefix and the smallest range of IANA's files."""
    assert (await look_up(iana, context, query)).found
    assert iana.received[-1].path == path


async def test_blocks_of_addresses_and_numbers(iana: LocalServer, context: ActionContext) -> None:
    """Their first and last, name and country."""
    network = await look_up(iana, context, "192.0.2.7")
    assert (network.first, network.last, network.name, network.country) == (
        *("192.0.2.0", "192.0.2.255", "TEST-NET-1", "US"),
    )
    number = await look_up(iana, context, "64500", kind="asn")
    assert (number.first, number.last, number.kind) == ("64496", "64511", "asn")


async def test_what_iana_says_is_kept_for_a_day(
    iana: LocalServer, context: ActionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is asked again."""
    for _ in range(2):
        await look_up(iana, context, "example.com")
    assert [one.path for one in iana.received].count("/iana/dns.json") == 1
    monkeypatch.setattr(rdap, "KEPT_SECONDS", 0)
    await look_up(iana, context, "example.com")
    assert [one.path for one in iana.received].count("/iana/dns.json") == 2


async def test_what_is_not_registered_is_an_answer(iana: LocalServer, context: ActionContext) -> None:
    """The registry's 404."""
    found = await look_up(iana, context, "free.com")
    assert (found.found, found.query, found.handle) == (False, "free.com", None)


async def test_a_server_may_be_named(server: LocalServer, context: ActionContext) -> None:
    """Then IANA is not asked."""
    server.answers["/own/domain/example.org"] = as_json(DOMAIN)
    assert (await look_up(server, context, "example.org", base_url=f"{server.url}/own")).found
    assert len(server.received) == 1


async def test_redirects_are_followed_and_judged(iana: LocalServer, context: ActionContext) -> None:
    """To another registry, but not to a private address."""
    iana.answers["/com/domain/moved.com"] = http_answer(302, location=f"{iana.url}/net/ip/192.0.2.7")
    found = await look_up(iana, context, "moved.com")
    assert (found.found, found.url) == (True, f"{iana.url}/net/ip/192.0.2.7")
    iana.answers["/com/domain/trap.com"] = http_answer(302, location="http://169.254.169.254/latest/meta-data")
    assert (await failure(iana, context, "trap.com")).code == "egress_refused"
    iana.answers["/com/domain/round.com"] = http_answer(302, location="/com/domain/round.com")
    assert (await failure(iana, context, "round.com")).code == "too_many_redirects"
    closed = make_context(egress=EgressPolicy())
    rdap._kept.clear()
    assert (await failure(iana, closed, "example.com")).code == "egress_refused"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (http_answer(429, retry_after="7"), "rate_limited"),
        (http_answer(500), "service_failed"),
        (http_answer(400, b"bad"), "refused"),
        (http_answer(200, b"<html>hello"), "bad_answer"),
        (http_answer(200, b"[]"), "bad_answer"),
        (http_answer(200, b'{"a": 1}'), "bad_answer"),
        (http_answer(200, b"x" * (1024 * 1024 + 1)), "response_too_large"),
    ],
)
async def test_a_registry_that_fails(iana: LocalServer, context: ActionContext, reply: bytes, code: str) -> None:
    """Ends in a code."""
    iana.answers["/com/domain/example.com"] = reply
    error = await failure(iana, context, "example.com")
    assert error.code == code
    if code == "rate_limited":
        assert error.retry_after == 7


@pytest.mark.parametrize("document", [{"services": "no"}, [], {}])
async def test_iana_s_file_may_be_broken(server: LocalServer, context: ActionContext, document: Any) -> None:
    """That is told, and not kept."""
    server.answers["/iana/dns.json"] = as_json(document)
    assert (await failure(server, context, "example.com")).code == "bad_answer"
    assert rdap._kept == {}


async def test_nobody_knows_it(iana: LocalServer, context: ActionContext) -> None:
    """Many countries' domains have no RDAP server."""
    error = await failure(iana, context, "example.de")
    assert (error.code, error.retryable) == ("no_server", False)
    assert "base_url" in error.message


@pytest.mark.parametrize(
    ("query", "kind"),
    [("a..b", "auto"), (".", "auto"), ("AS99999999999", "auto"), ("x", "asn"), ("example.com", "ip"), ("AS²", "asn")],
)
def test_what_is_nothing_of_the_kind_is_refused(query: str, kind: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(ActionError) as raised:
        subject_of(RdapInput.model_validate({"query": query, "kind": kind}))
    assert raised.value.code == "invalid_input"


def test_answers_that_are_not_as_they_should_be_do_no_harm() -> None:
    """Whatever stands in the fields: it is left out."""
    strange: dict[str, Any] = dict.fromkeys(DOMAIN, 7) | {
        "objectClassName": "domain",
        "events": [1, {"eventAction": 1}, {"eventAction": "registration"}],
        "entities": [None, {"roles": "registrar", "vcardArray": ["vcard", [["fn"], 1, ["fn", {}, "text", ["a"]]]]}],
        "nameservers": [{"ldhName": None}, {}],
    }
    found = output_of(strange, "domain", "x", "http://x")
    assert (found.registered, found.registrar, found.nameservers, found.dnssec) == (None, None, [], None)
    nested: dict[str, Any] = {"roles": ["abuse"]}
    for _ in range(500):
        nested = {"entities": [nested]}
    assert len(output_of(nested, "domain", "x", "http://x").entities) <= 50


async def test_as_a_step(iana: LocalServer, stage: Stage) -> None:
    """Without leave to read, it says whom it would ask."""
    result = await stage.perform("rdap.lookup", {"query": "AS64500"}, dry_run=True, dry_run_reads=False)
    assert result.would == "Would ask the registry that IANA names for asn 64500."
    inputs = {"query": "example.com", "bootstrap_url": f"{iana.url}/iana"}
    result = await stage.perform("rdap.lookup", inputs)
    assert isinstance(result.output, dict)
    assert result.output["registrar"] == "A Registrar"
