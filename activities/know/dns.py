"""``dns.resolve``: what a name server answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
from pydantic import Field, field_validator

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.error_advice import CONNECTION_ERRORS
from activities.know.dns_records import Record, record_of, values_of
from playbooks.record import Json

RecordType = Literal["A", "AAAA", "PTR", "MX", "TXT", "NS", "CNAME", "CAA", "SRV", "SOA"]

PAYLOAD = 1232
"""Bytes of an answer over UDP that no network has to split (DNS flag day 2020); longer ones come over TCP."""

ROUNDS = 2
"""Each server is asked so often: a packet may get lost."""

MOST_SERVERS = 3

REACHING = ("egress_refused", "resolve_failed", "connect_failed", "timed_out")


class ResolveInput(InputModel):
    """The question."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="A name; for PTR an address will do.")]
    type: Annotated[RecordType, Field(description="Type of the records.")] = "A"
    nameserver: Annotated[
        str | None,
        Field(max_length=300, description="host, host:port or [IPv6]:port to ask; absent: the worker's own servers."),
    ] = None
    timeout: Annotated[float, Field(gt=0, le=60, description="Seconds for all attempts together.")] = 5.0

    @field_validator("type", mode="before")
    @classmethod
    def _capitals(cls, kind: Any) -> Any:
        return kind.upper() if isinstance(kind, str) else kind

    @field_validator("nameserver")
    @classmethod
    def _place(cls, nameserver: str | None) -> str | None:
        if nameserver:
            split_place(nameserver)
        return nameserver or None

    def question(self) -> dns.name.Name:
        """The name that is asked for.  Raises ``ValueError``."""
        if self.type == "PTR":
            try:
                return dns.reversename.from_address(str(ip_address(self.name.strip())))
            except ValueError:
                pass
        try:
            return dns.name.from_text(self.name.strip(), idna_codec=dns.name.IDNA_2008_UTS_46)
        except (dns.exception.DNSException, UnicodeError) as error:
            raise ValueError(f"{self.name!r} is no name: {error}") from None


class ResolveOutput(OutputModel):
    """The answer."""

    name: Annotated[str, Field(description="The name that was asked for, as it is sent.")]
    type: str
    rcode: Annotated[str, Field(description="NOERROR, or NXDOMAIN where there is no such name.")]
    exists: Annotated[bool, Field(description="Whether the name exists, with records of this type or others.")]
    found: Annotated[bool, Field(description="Whether it has records of this type.")]
    values: list[str] = Field(default_factory=list, description="Addresses, names or texts, in the answer's order.")
    records: list[Record] = Field(default_factory=list, description="All records of the answer, aliases included.")
    canonical_name: Annotated[str, Field(description="The name at the end of the aliases.")]
    authenticated: Annotated[bool, Field(description="The name server has validated the answer by DNSSEC (AD).")]
    nameserver: Annotated[str, Field(description="The address that answered.")]
    transport: Annotated[Literal["udp", "tcp"], Field(description="tcp for an answer that is too long for a packet.")]


@dataclass(frozen=True, slots=True)
class Server:
    """An address and port that may be asked."""

    address: str
    port: int


class DnsResolve(Action[ResolveInput, ResolveOutput]):
    """Asks the DNS for the records of a name, over UDP, and over TCP where the answer is long.

    A name that does not exist is an answer: `exists` is false, `rcode` NXDOMAIN. `authenticated` says that the name
    server has validated the answer; trust it as far as you trust that server and the way to it.

    A `nameserver` of the playbook's own must be public, or opened by the operator, as every address.
    """

    name = "dns.resolve"
    title = "Resolve a name"
    Input = ResolveInput
    Output = ResolveOutput
    safe = idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        **{
            code: CONNECTION_ERRORS[code]
            for code in ("egress_refused", "resolve_failed", "connect_failed", "timed_out")
        },
        "dns_failed": "The name server failed (SERVFAIL): it, or DNSSEC of the domain, is broken. Worth a retry.",
        "dns_refused": "The name server does not answer this worker, or not this question (REFUSED): ask another one.",
        "bad_answer": "What came is no answer of the DNS: check that a name server was asked.",
        "no_nameserver": "The worker has no name server of its own (resolv.conf): name one.",
    }
    example: ClassVar[Mapping[str, Json]] = {"name": "{{ asset.hostname }}", "type": "AAAA"}

    async def run(self, inputs: ResolveInput, context: ActionContext) -> ResolveOutput:
        """Ask.  Raises ``ActionError``: the codes of ``errors``, and ``invalid_input``."""
        question = _question(inputs)
        try:
            async with asyncio.timeout(inputs.timeout):
                servers = await _servers(inputs, context)
                return await _ask(inputs, question, servers)
        except TimeoutError:
            raise ActionError("timed_out", f"No name server answered within {inputs.timeout:g} s.") from None

    async def rehearse(self, inputs: ResolveInput, context: ActionContext) -> Rehearsal:
        """Say what would be asked.  Raises ``ActionError`` with code ``invalid_input``."""
        whom = inputs.nameserver or "the worker's name server"
        return Rehearsal(f"Would ask {whom} for {inputs.type} of {_question(inputs).to_text(omit_final_dot=True)}.")


def split_place(place: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port``, ``2001:db8::1`` or ``[2001:db8::1]:port``.  Raises ``ValueError``."""
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        port = rest.removeprefix(":")
        host = host if bracket and (not rest or rest.startswith(":")) else ""
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    else:
        host, port = place, ""
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError("must be host, host:port or [IPv6]:port")
    return host, int(port or 53)


def _question(inputs: ResolveInput) -> dns.name.Name:
    try:
        return inputs.question()
    except ValueError as error:
        raise ActionError("invalid_input", f"name: {error}", retryable=False) from None


async def _servers(inputs: ResolveInput, context: ActionContext) -> list[Server]:
    if inputs.nameserver is not None:
        host, port = split_place(inputs.nameserver)
        return [Server(address, port) for address in (await context.egress.resolve(host, port))[:MOST_SERVERS]]
    try:
        own = await asyncio.to_thread(dns.resolver.Resolver)
    except dns.exception.DNSException:
        own = None
    # The operator's own servers are nearly always private addresses: nobody but the operator names them.
    found = [] if own is None else [Server(str(address), own.port) for address in own.nameservers[:MOST_SERVERS]]
    if not found:
        raise ActionError("no_nameserver", "The worker has no name server of its own: name one.", retryable=False)
    return found


async def _ask(inputs: ResolveInput, question: dns.name.Name, servers: Sequence[Server]) -> ResolveOutput:
    """The first answer that says something; else the reason of the last server that answered."""
    told: ActionError | None = None
    share = inputs.timeout / (ROUNDS * len(servers))
    for server in [*servers] * ROUNDS:
        # A new id each time, so that a late answer is not taken for that of the next question.
        query = dns.message.make_query(question, inputs.type, use_edns=0, payload=PAYLOAD)
        query.flags |= dns.flags.AD  # asks for the bit (RFC 6840, section 5.7)
        try:
            answer, by_tcp = await dns.asyncquery.udp_with_fallback(
                query, server.address, timeout=share, port=server.port, ignore_unexpected=True
            )
        except dns.exception.Timeout:
            told = told or ActionError("timed_out", f"{_shown(server)} did not answer within {share:g} s.")
            continue
        except OSError as error:
            told = ActionError("connect_failed", f"{_shown(server)} cannot be reached: {error.strerror or error}.")
            continue
        except (dns.exception.DNSException, EOFError) as error:
            reason = str(error) or type(error).__name__
            told = ActionError("bad_answer", f"What {_shown(server)} sent is no answer: {reason[:200]}.")
            continue
        told = _refusal(answer, server)
        if told is None and isinstance(answer, dns.message.QueryMessage):
            return _output(inputs, question, answer, server, by_tcp)
    raise told or ActionError("timed_out", "No name server answered.")


def _refusal(answer: dns.message.Message, server: Server) -> ActionError | None:
    code = answer.rcode()
    if code in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    word = dns.rcode.to_text(code)
    if code == dns.rcode.REFUSED:
        return ActionError("dns_refused", f"{_shown(server)} refuses the question.", retryable=False)
    return ActionError("dns_failed", f"{_shown(server)} answered {word}.")


def _output(
    inputs: ResolveInput, question: dns.name.Name, answer: dns.message.QueryMessage, server: Server, by_tcp: bool
) -> ResolveOutput:
    wanted = dns.rdatatype.from_text(inputs.type)
    try:
        canonical = answer.resolve_chaining().canonical_name
    except dns.exception.DNSException:  # a loop of aliases, or one that is too long
        canonical = question
    end = question if inputs.type == "CNAME" else canonical
    values = [
        value for rrset in answer.answer if rrset.rdtype == wanted and rrset.name == end for value in values_of(rrset)
    ]
    return ResolveOutput(
        name=question.to_text(omit_final_dot=True),
        type=inputs.type,
        rcode=dns.rcode.to_text(answer.rcode()),
        exists=answer.rcode() != dns.rcode.NXDOMAIN,
        found=bool(values),
        values=values,
        records=[record for rrset in answer.answer for record in record_of(rrset)],
        canonical_name=canonical.to_text(omit_final_dot=True),
        authenticated=bool(answer.flags & dns.flags.AD),
        nameserver=server.address,
        transport="tcp" if by_tcp else "udp",
    )


def _shown(server: Server) -> str:
    return f"The name server {server.address} port {server.port}"
