"""Answers of RDAP (RFC 9083), and what a playbook needs of them; whatever is not as it should be is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from activities.action import OutputModel
from activities.findings import cut

MOST = 50
DEEPEST = 5
Moment = Annotated[str | None, Field(description="RFC 3339, as the registry gives it.")]


class RdapEntity(OutputModel):
    """Somebody who has to do with it."""

    handle: str | None = None
    roles: list[str] = Field(default_factory=list, description="registrar, registrant, abuse, technical …")
    name: str | None = None
    email: str | None = None


class RdapOutput(OutputModel):
    """What the registry says."""

    kind: Annotated[str, Field(description="domain, ip or asn.")]
    query: Annotated[str, Field(description="What was asked for, as it was sent.")]
    found: Annotated[bool, Field(description="Whether it is registered there.")]
    handle: str | None = None
    name: Annotated[str | None, Field(description="The domain, or the name of the network or AS.")] = None
    status: list[str] = Field(default_factory=list, description="Such as active, client transfer prohibited.")
    registered: Moment = None
    expires: Moment = None
    changed: Moment = None
    registrar: str | None = None
    abuse_email: Annotated[str | None, Field(description="Where abuse is reported.")] = None
    country: str | None = None
    nameservers: list[str] = Field(default_factory=list)
    dnssec: Annotated[bool | None, Field(description="Whether the delegation is signed; null: not told.")] = None
    first: Annotated[str | None, Field(description="First address or number of the block.")] = None
    last: Annotated[str | None, Field(description="Last address or number of the block.")] = None
    entities: list[RdapEntity] = Field(default_factory=list)
    url: Annotated[str, Field(description="Where the answer came from, after redirects.")]


def output_of(document: dict[str, Any], kind: str, query: str, url: str) -> RdapOutput:
    """What a playbook needs of an answer."""
    entities = [_entity(one) for one in _entities(document, DEEPEST)][:MOST]
    events = _events(document)
    registrar = next((one.name or one.handle for one in entities if "registrar" in one.roles), None)
    names = [_text(one.get("ldhName")) for one in _objects(document.get("nameservers"))]
    secure = document.get("secureDNS")
    signed = secure.get("delegationSigned") if isinstance(secure, dict) else None
    return RdapOutput(
        kind=kind,
        query=query,
        found=True,
        handle=_text(document.get("handle")),
        name=_text(document.get("ldhName")) or _text(document.get("name")),
        status=_texts(document.get("status")),
        registered=events.get("registration"),
        expires=events.get("expiration"),
        changed=events.get("last changed"),
        registrar=registrar,
        abuse_email=next((one.email for one in entities if one.email and "abuse" in one.roles), None),
        country=_text(document.get("country")),
        nameservers=[name.lower() for name in names if name],
        dnssec=signed if isinstance(signed, bool) else None,
        first=_text(document.get("startAddress")) or _number(document.get("startAutnum")),
        last=_text(document.get("endAddress")) or _number(document.get("endAutnum")),
        entities=entities,
        url=url,
    )


def _entities(document: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    """Those of the object, and those that belong to them, as abuse desks to registrars."""
    for one in _objects(document.get("entities")):
        yield one
        if depth > 0:
            yield from _entities(one, depth - 1)


def _entity(one: dict[str, Any]) -> RdapEntity:
    card = one.get("vcardArray")
    fields = card[1] if isinstance(card, list) and len(card) == 2 and isinstance(card[1], list) else []
    found: dict[str, str] = {}
    for field in fields:
        # jCard (RFC 7095): name, parameters, type, value.
        if isinstance(field, list) and len(field) >= 4 and isinstance(field[0], str) and (value := _text(field[3])):
            found.setdefault(field[0].lower(), value)
    return RdapEntity(
        handle=_text(one.get("handle")),
        roles=_texts(one.get("roles")),
        name=found.get("fn") or found.get("org"),
        email=found.get("email"),
    )


def _events(document: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in _objects(document.get("events")):
        action, date = _text(one.get("eventAction")), _text(one.get("eventDate"))
        if action and date:
            found.setdefault(action.lower(), date)
    return found


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)][:MOST] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [cut(one, 200) for one in value if isinstance(one, str)][:MOST] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return cut(value, 500) if isinstance(value, str) and value.strip() else None


def _number(value: Any) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
