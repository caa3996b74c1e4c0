"""``firewall.block_ip``: one address shut out by a host's packet filter, for a time."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from activities.action import Action, ActionContext, ActionError, OutputModel, Rehearsal
from activities.error_advice import SSH_ERRORS
from activities.hosts.target import HostInput, effect_on
from playbooks.record import Json

if TYPE_CHECKING:
    from activities.hosts.nftables import Blocked

DAY = 24 * 3600
YEAR = 365 * DAY

Change = Literal["blocked", "extended", "none"]


class BlockInput(HostInput):
    """Which address, on which host, and for how long."""

    address: Annotated[
        IPv4Address | IPv6Address,
        Field(description="The address to block, IPv4 or IPv6; of an IPv4 address in IPv6 form, the IPv4 address."),
    ]
    duration_seconds: Annotated[
        int | None,
        Field(
            ge=1, le=YEAR, description="The block ends by itself after that; null: it stays until the filter is reset."
        ),
    ] = DAY
    never_block: Annotated[
        list[str],
        Field(
            max_length=1000, description="Addresses and networks that are refused, such as those of one's own staff."
        ),
    ] = Field(default_factory=list)
    sudo: Annotated[bool, Field(description="Work as root by sudo, which must ask for no password.")] = False

    @field_validator("address")
    @classmethod
    def _address(cls, address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
        if isinstance(address, IPv6Address) and address.scope_id:
            raise ValueError("an address with a zone, as in fe80::1%eth0, means another one on each host")
        return plain_address(address)

    @field_validator("never_block")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        return [str(ip_network(network, strict=False)) for network in networks]


class BlockOutput(OutputModel):
    """The block as it is now."""

    address: Annotated[str, Field(description="The address in its shortest form.")]
    change: Annotated[
        Change | None,
        Field(
            description="blocked: it was not before. extended: it was, for a shorter time. none: it was, for as long "
            "or longer. null in a rehearsal that cannot look."
        ),
    ] = None
    changed: Annotated[bool, Field(description="False when nothing had to be done.")] = True
    expires_in_seconds: Annotated[int | None, Field(description="When the block ends; null: never by itself.")] = None


class FirewallBlock(Action[BlockInput, BlockOutput]):
    """Blocks an address on a host by nftables, for a time: nothing comes in from it, and nothing goes out to it.

    The address goes into a set of a table of its own, which is made where it is missing and changes no other rule.  The
    address that the host is reached from, its own and the loopback are refused.
    """

    name = "firewall.block_ip"
    title = "Block an address"
    rehearsal = (
        "Reads the set on the host and says whether the address is in it; with dry_run_reads: false it connects to "
        "nothing and says what it would block."
    )
    Input = BlockInput
    Output = BlockOutput
    idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        **SSH_ERRORS,
        "protected_address": "The address is the loopback, no address of one host, in `never_block`, the host's own, "
        "or the one from which the host is reached: blocking it would lock the next step out.",
        "nft_missing": "The host has no nft: install nftables there.",
        "not_root": "Neither root logs in nor sudo is true.",
        "firewall_failed": "nft refused it; the message has what it said. Another table or set of the name "
        "`stanchion` may be in the way.",
        "not_verified": "nft reported success, but the address is not in the set: something else resets the filter.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "{{ asset.hostname }}",
        "username": "ops",
        "private_key": "{{ secrets.ssh_key }}",
        "sudo": True,
        "address": "{{ parameters.attacker }}",
        "duration_seconds": 3600,
        "never_block": ["192.0.2.0/24"],
    }

    async def run(self, inputs: BlockInput, context: ActionContext) -> BlockOutput:
        """Block it, unless it is blocked for as long or longer; then see that it is.

        Raises ``ActionError``: the class's ``errors``, and what ``connected`` and ``Host.run`` raise.
        """
        from activities.hosts.connection import connected
        from activities.hosts.nftables import BlockTable

        refuse_protected(inputs)
        async with connected(inputs, context) as host:
            table = BlockTable(host, sudo=inputs.sudo)
            refuse_ends(inputs, await table.ends_of_connection())
            change = change_of(await table.find(inputs.address), inputs.duration_seconds)
            await table.block(inputs.address, inputs.duration_seconds, renew=change != "none")
            now = await table.find(inputs.address)
        if now is None:
            text = f"{inputs.address} is not blocked on {inputs.place}, though nft reported success."
            raise ActionError("not_verified", text)
        return BlockOutput(
            address=str(inputs.address), change=change, changed=change != "none", expires_in_seconds=now.expires_in
        )

    async def rehearse(self, inputs: BlockInput, context: ActionContext) -> Rehearsal:
        """Say what would be blocked, and what of it is already, where that may be looked at."""
        try:
            refuse_protected(inputs)
            if not context.dry_run_reads:
                return _foreseen(inputs, None)
            from activities.hosts.connection import connected
            from activities.hosts.nftables import BlockTable

            async with connected(inputs, context) as host:
                table = BlockTable(host, sudo=inputs.sudo)
                refuse_ends(inputs, await table.ends_of_connection())
                found = await table.find(inputs.address)
        except ActionError as error:
            return _failing(inputs, error)
        if change_of(found, inputs.duration_seconds) != "none":
            return _foreseen(inputs, change_of(found, inputs.duration_seconds))
        assert found is not None
        output = BlockOutput(
            address=str(inputs.address), change="none", changed=False, expires_in_seconds=found.expires_in
        )
        return Rehearsal(f"Would change nothing: {inputs.address} is blocked on {inputs.place}.", [], output)


def plain_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """``::ffff:192.0.2.1`` → ``192.0.2.1``: the packets of both are those of IPv4."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def refuse_protected(inputs: BlockInput) -> None:
    """Raise ``ActionError`` where the address may not be blocked on any host."""
    address = inputs.address
    reasons = {
        "the loopback": address.is_loopback,
        "the unspecified address": address.is_unspecified,
        "of a group of hosts": address.is_multicast or str(address) == "255.255.255.255",
    }
    for reason, applies in reasons.items():
        if applies:
            raise ActionError("protected_address", f"{address} is {reason}, and is not blocked.", retryable=False)
    for network in inputs.never_block:
        if address in ip_network(network):
            text = f"{address} is in never_block ({network}), and is not blocked."
            raise ActionError("protected_address", text, retryable=False)


def refuse_ends(inputs: BlockInput, ends: list[str]) -> None:
    """Raise ``ActionError`` where the address is one of the two ``ends`` of the connection to the host."""
    for end, whose in zip(ends, ("the one from which the host is reached", "the host's own"), strict=False):
        # The zone of fe80::1%eth0 is of the host alone.
        if plain_address(ip_address(end.partition("%")[0])) == inputs.address:
            text = f"{inputs.address} is {whose} ({inputs.place}), and is not blocked."
            raise ActionError("protected_address", text, retryable=False)


def change_of(found: Blocked | None, duration: int | None) -> Change:
    """What has to be done; an existing block is never made shorter."""
    if found is None:
        return "blocked"
    if found.expires_in is None or (duration is not None and found.expires_in >= duration):
        return "none"
    return "extended"


def _sentence(inputs: BlockInput) -> str:
    duration = "without end" if inputs.duration_seconds is None else f"for {inputs.duration_seconds} seconds"
    return f"Would block {inputs.address} on {inputs.place} {duration}"


def _effect(inputs: BlockInput, **details: Json) -> dict[str, Json]:
    return effect_on(
        inputs, "firewall", address=str(inputs.address), duration_seconds=inputs.duration_seconds, **details
    )


def _foreseen(inputs: BlockInput, change: Change | None) -> Rehearsal:
    output = BlockOutput(address=str(inputs.address), change=change, expires_in_seconds=inputs.duration_seconds)
    longer = ", which is blocked for a shorter time" if change == "extended" else ""
    return Rehearsal(f"{_sentence(inputs)}{longer}.", [_effect(inputs)], output)


def _failing(inputs: BlockInput, problem: ActionError) -> Rehearsal:
    """An earlier step, which was only rehearsed, may be what is missing: so this is told, not raised."""
    would = f"{_sentence(inputs)}. As things are now it would fail: {problem.message}"
    return Rehearsal(would, [_effect(inputs, problem=problem.code)], BlockOutput(address=str(inputs.address)))
