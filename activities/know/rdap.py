"""``rdap.lookup``: who has registered a domain, an address or an AS number (RDAP, the successor of whois)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import dns.exception
import dns.name
from pydantic import Field

from activities.action import Action, ActionContext, ActionError, InputModel, Rehearsal
from activities.egress import EgressPolicy
from activities.error_advice import HTTP_ERRORS
from activities.know.rdap_answer import RdapOutput, output_of
from activities.rest import SERVICE_ERRORS, check, parsed
from activities.web import Answer, Call, send
from playbooks.record import Json

Kind = Literal["domain", "ip", "asn"]

BOOTSTRAP = "https://data.iana.org/rdap"
"""Where IANA says which server knows what (RFC 9224)."""

KEPT_SECONDS = 24 * 3600.0
"""How long a worker keeps what IANA says."""

TIMEOUT = 15.0
LARGEST_ANSWER = 1024 * 1024
LARGEST_BOOTSTRAP = 4 * 1024 * 1024
FILES: Mapping[str, str] = {"domain": "dns.json", "ip4": "ipv4.json", "ip6": "ipv6.json", "asn": "asn.json"}

_kept: dict[str, tuple[float, list[Any]]] = {}


class RdapInput(InputModel):
    """What is looked up."""

    query: Annotated[
        str, Field(min_length=1, max_length=253, description="A domain, an address or network, or an AS number.")
    ]
    kind: Annotated[
        Literal["auto", "domain", "ip", "asn"], Field(description="auto: AS64496 is an AS number, and so on.")
    ] = "auto"
    base_url: Annotated[
        str | None,
        Field(max_length=2000, description="The RDAP server to ask; absent: the one that IANA names for it."),
    ] = None
    bootstrap_url: Annotated[
        str, Field(max_length=2000, description="Where IANA's files are, or a mirror of them (RFC 9224).")
    ] = BOOTSTRAP


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about; ``text`` as it stands in the path of a request."""

    kind: Kind
    text: str
    network: IPv4Network | IPv6Network | None = None
    number: int = 0

    @property
    def path(self) -> str:
        """The path below the server's base (RFC 9082, section 3.1)."""
        return f"{'autnum' if self.kind == 'asn' else self.kind}/{quote(self.text, safe='/:.-_')}"

    @property
    def file(self) -> str:
        """The file in which IANA says who knows it."""
        return FILES[f"ip{self.network.version}" if self.network is not None else self.kind]

    def rank(self, entry: str) -> int | None:
        """How closely an entry of that file fits; None when it does not."""
        if self.kind == "asn":
            first, _, last = entry.partition("-")
            low, high = int(first), int(last or first)
            return -(high - low) if low <= self.number <= high else None
        if self.network is not None:
            block = ip_network(entry, strict=False)
            same = block.version == self.network.version
            return block.prefixlen if same and self.network.subnet_of(block) else None  # type: ignore[arg-type]
        name, suffix = f".{self.text}", f".{entry.lower()}"
        return len(suffix) if name.endswith(suffix) else None


class RdapLookup(Action[RdapInput, RdapOutput]):
    """Asks the registry who has registered a domain, an address or network, or an AS number, and since when.

    Which registry knows it stands in IANA's files, which each worker keeps for a day; `base_url` names another server.
    Redirects to another registry are followed, each judged as every address. What is not registered is an answer:
    `found` is false.
    """

    name = "rdap.lookup"
    title = "Look up a registration"
    Input = RdapInput
    Output = RdapOutput
    safe = idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        **HTTP_ERRORS,
        **{code: told for code, told in SERVICE_ERRORS.items() if code != "not_found"},
        "no_server": "IANA names no RDAP server for it, as for many countries' domains: give `base_url`.",
    }
    example: ClassVar[Mapping[str, Json]] = {"query": "example.com"}

    async def run(self, inputs: RdapInput, context: ActionContext) -> RdapOutput:
        """Ask.  Raises ``ActionError``: the codes of ``errors``, and ``invalid_input``."""
        subject = subject_of(inputs)
        base = inputs.base_url or await _server_for(subject, inputs.bootstrap_url, context.egress)
        url = f"{base.rstrip('/')}/{subject.path}"
        answer = await _get(url, context.egress, LARGEST_ANSWER)
        if answer.status == 404:
            return RdapOutput(kind=subject.kind, query=subject.text, found=False, url=answer.url)
        check(answer, "The RDAP server")
        document = parsed(answer, "The RDAP server")
        if not isinstance(document, dict) or not isinstance(document.get("objectClassName"), str):
            raise ActionError("bad_answer", "The RDAP server answered with JSON that is no answer of RDAP.")
        return output_of(document, subject.kind, subject.text, answer.url)

    async def rehearse(self, inputs: RdapInput, context: ActionContext) -> Rehearsal:
        """Say what would be asked.  Raises ``ActionError`` with code ``invalid_input``."""
        subject = subject_of(inputs)
        whom = inputs.base_url or "the registry that IANA names"
        return Rehearsal(f"Would ask {whom} for {subject.kind} {subject.text}.")


def subject_of(inputs: RdapInput) -> Subject:
    """What is asked about.  Raises ``ActionError`` with code ``invalid_input``."""
    text = inputs.query.strip()
    number = text.upper().removeprefix("AS")
    if inputs.kind == "asn" or (inputs.kind == "auto" and number != text.upper() and number.isdigit()):
        if not (number.isascii() and number.isdigit() and int(number) < 2**32):
            raise _invalid(f"{text!r} is no AS number")
        return Subject("asn", str(int(number)), number=int(number))
    if inputs.kind in ("auto", "ip"):
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            if inputs.kind == "ip":
                raise _invalid(f"{text!r} is no address or network") from None
        else:
            single = network.num_addresses == 1
            return Subject("ip", str(network.network_address if single else network), network)
    try:
        name = dns.name.from_text(text, idna_codec=dns.name.IDNA_2008_UTS_46)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise _invalid(f"{text!r} is no domain: {error}") from None
    if len(name.labels) < 2:
        raise _invalid("the root is no domain that is registered")
    return Subject("domain", name.to_text(omit_final_dot=True).lower())


async def _server_for(subject: Subject, bootstrap: str, policy: EgressPolicy) -> str:
    """The base URL of the server that knows ``subject`` (RFC 9224).  Raises ``ActionError``."""
    best: tuple[int, str] | None = None
    for entries, urls in await _services(f"{bootstrap.rstrip('/')}/{subject.file}", policy):
        for entry in entries:
            try:
                rank = subject.rank(entry)
            except ValueError:
                continue
            if rank is not None and (best is None or rank > best[0]):
                best = (rank, next((url for url in urls if url.startswith("https:")), urls[0]))
    if best is None:
        told = f"IANA names no RDAP server for {subject.kind} {subject.text}: give base_url, if you know one."
        raise ActionError("no_server", told, retryable=False)
    return best[1]


async def _services(url: str, policy: EgressPolicy) -> list[tuple[list[str], list[str]]]:
    """The services of one of IANA's files: entries, and the addresses of who knows them."""
    kept = _kept.get(url)
    if kept is not None and time.monotonic() - kept[0] < KEPT_SECONDS:
        return kept[1]
    answer = await _get(url, policy, LARGEST_BOOTSTRAP)
    check(answer, "IANA's list of RDAP servers")
    document = parsed(answer, "IANA's list of RDAP servers")
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, list):
        raise ActionError("bad_answer", "IANA's list of RDAP servers has no services.")
    read = [service for service in map(_service, services) if service is not None]
    if len(_kept) > 20:  # a mirror of each playbook's own
        _kept.clear()
    _kept[url] = (time.monotonic(), read)
    return read


def _service(service: Any) -> tuple[list[str], list[str]] | None:
    if not isinstance(service, list) or len(service) != 2 or not all(isinstance(part, list) for part in service):
        return None
    entries, urls = ([one for one in part if isinstance(one, str)] for part in service)
    return (entries, urls) if urls else None


async def _get(url: str, policy: EgressPolicy, max_bytes: int) -> Answer:
    headers = {"accept": "application/rdap+json, application/json"}
    return await send(Call("GET", url, headers, timeout=TIMEOUT, max_bytes=max_bytes), policy)


def _invalid(message: str) -> ActionError:
    return ActionError("invalid_input", f"query: {message}.", retryable=False)
