"""Records of the DNS, as an output shows them."""

from __future__ import annotations

from typing import Annotated, Any

import dns.rdata
import dns.rdatatype
import dns.rrset
from pydantic import Field

from activities.action import OutputModel


class Record(OutputModel):
    """One record."""

    name: str
    type: str
    ttl: Annotated[int, Field(description="Seconds for which it may be kept.")]
    value: Annotated[str, Field(description="The address, name or text; of other types as in a zone file.")]
    data: dict[str, Any] = Field(
        default_factory=dict,
        description="The other fields: of MX preference; of SRV priority, weight, port; of CAA flags, tag.",
    )


def record_of(rrset: dns.rrset.RRset) -> list[Record]:
    """The records of a set."""
    kind = dns.rdatatype.to_text(rrset.rdtype)
    name = rrset.name.to_text(omit_final_dot=True)
    return [
        Record(name=name, type=kind, ttl=rrset.ttl, value=_value(kind, rdata), data=_data(kind, rdata))
        for rdata in rrset
    ]


def values_of(rrset: dns.rrset.RRset) -> list[str]:
    """The values of a set."""
    kind = dns.rdatatype.to_text(rrset.rdtype)
    return [_value(kind, rdata) for rdata in rrset]


def _value(kind: str, rdata: Any) -> str:
    if kind in ("A", "AAAA"):
        return str(rdata.address)
    if kind in ("PTR", "NS", "CNAME"):
        return str(rdata.target.to_text(omit_final_dot=True))
    if kind == "MX":
        return str(rdata.exchange.to_text(omit_final_dot=True))
    if kind == "SRV":
        return str(rdata.target.to_text(omit_final_dot=True))
    if kind == "TXT":
        return b"".join(rdata.strings).decode("utf-8", "backslashreplace")
    if kind == "CAA":
        return bytes(rdata.value).decode("utf-8", "backslashreplace")
    return str(rdata.to_text())


def _data(kind: str, rdata: Any) -> dict[str, Any]:
    if kind == "MX":
        return {"preference": rdata.preference}
    if kind == "SRV":
        return {"priority": rdata.priority, "weight": rdata.weight, "port": rdata.port}
    if kind == "CAA":
        return {"flags": rdata.flags, "tag": bytes(rdata.tag).decode("ascii", "backslashreplace")}
    return {}
