"""``asset.lookup``: which asset it is."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.stores import AssetFacts, AssetQuestion
from playbooks.record import Json

Wanted = Annotated[str | None, Field(max_length=500)]


class LookupInput(InputModel):
    """What is known of it; all of it must be true."""

    id: Annotated[Wanted, Field(description="The asset's id.")] = None
    hostname: Annotated[Wanted, Field(description="Its host name, in any case.")] = None
    ip: Annotated[Wanted, Field(description="Its address; of IPv6 in any notation.")] = None
    tag: Annotated[Wanted, Field(description="A tag that it has: key, or key=value.")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="Assets that are listed at most.")] = 20

    @field_validator("id", "hostname", "ip", "tag", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("ip")
    @classmethod
    def _address(cls, ip: str | None) -> str | None:
        if ip is None:
            return None
        try:
            return str(ip_address(ip.strip()))
        except ValueError:
            raise ValueError("not an IP address") from None

    @model_validator(mode="after")
    def _something(self) -> LookupInput:
        if self.id is self.hostname is self.ip is self.tag is None:
            raise ValueError("give id, hostname, ip or tag, not empty")
        return self

    def question(self) -> AssetQuestion:
        """What the store is asked."""
        return AssetQuestion(id=self.id, hostname=self.hostname, ip=self.ip, tag=self.tag, limit=self.limit)


class FoundAsset(OutputModel):
    """An asset."""

    id: str
    name: str
    type: str
    hostname: str | None = None
    ip: str | None = None
    url: str | None = None
    tags: dict[str, Any] = Field(default_factory=dict)
    attributes: dict[str, Any] = Field(default_factory=dict)


class LookupOutput(OutputModel):
    """What was found."""

    count: Annotated[int, Field(ge=0, description="Assets that match, those beyond the limit included.")]
    asset: Annotated[FoundAsset | None, Field(description="The asset, where exactly one matches.")] = None
    assets: list[FoundAsset] = Field(default_factory=list, description="Those that match, by name.")


class AssetLookup(Action[LookupInput, LookupOutput]):
    """Looks an asset up in Stanchion's own list: by id, host name, address or tag.

    Exactly one match stands in `asset`; of several all are listed, up to the limit, and `asset` is null. None is no
    failure.
    """

    name = "asset.lookup"
    title = "Look up an asset"
    Input = LookupInput
    Output = LookupOutput
    safe = idempotent = quick = True
    errors: ClassVar[Mapping[str, str]] = {
        "no_store": "This worker has no database with assets.",
        "store_unavailable": "The database cannot be read now; worth a retry.",
    }
    example: ClassVar[Mapping[str, Json]] = {"hostname": "{{ asset.hostname }}"}

    async def run(self, inputs: LookupInput, context: ActionContext) -> LookupOutput:
        """Look it up.  Raises ``ActionError``: the codes of ``errors``."""
        if context.stores.assets is None:
            raise ActionError("no_store", "This worker has no database with assets.", retryable=False)
        found, count = await context.stores.assets.find(inputs.question())
        assets = [_shown(one) for one in found]
        return LookupOutput(count=count, asset=assets[0] if count == 1 else None, assets=assets)

    async def rehearse(self, inputs: LookupInput, context: ActionContext) -> Rehearsal:
        """Say what would be looked up."""
        given = inputs.model_dump(exclude_none=True, exclude={"limit"})
        told = " and ".join(f"{name} {value}" for name, value in given.items())
        return Rehearsal(f"Would look for the asset with {told}.")


def _shown(facts: AssetFacts) -> FoundAsset:
    return FoundAsset(
        id=facts.id,
        name=facts.name,
        type=facts.type,
        hostname=facts.hostname,
        ip=facts.ip,
        url=facts.url,
        tags=dict(facts.tags),
        attributes=dict(facts.attributes),
    )
