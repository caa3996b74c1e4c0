"""The fields of ``cef`` by the names of the Common Event Format, and what kind of thing each holds."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from api.phantom.auth import Caller
from api.phantom.lists import put_constant
from api.phantom.routing import ANY, Rest
from api.services import Services
from playbooks.record import Json
from storage.phantom.records import Record

rest = Rest()

_HOLDING: Final = {
    "ip": "destinationAddress destinationTranslatedAddress deviceAddress deviceTranslatedAddress dst dvc sourceAddress "
    "sourceTranslatedAddress src",
    "domain": "destinationDnsDomain destinationNtDomain deviceDnsDomain deviceNtDomain dntdom sntdom sourceDnsDomain "
    "sourceNtDomain",
    "host name": "destinationHostName deviceHostname dhost dvchost shost sourceHostName",
    "mac address": "destinationMacAddress deviceMacAddress dmac dvcmac smac sourceMacAddress",
    "port": "destinationPort destinationTranslatedPort dpt sourcePort sourceTranslatedPort spt",
    "process name": "destinationProcessName destinationServiceName deviceProcessName dproc sourceProcessName "
    "sourceServiceName sproc",
    "pid": "destinationProcessId deviceProcessId dpid dvcpid sourceProcessId spid",
    "user name": "destinationUserName duser sourceUserName suser",
    "hash": "fileHash fileHashMd5 fileHashSha1 fileHashSha256 fileHashSha512 oldFileHash",
    "file name": "fileName fname oldFileName",
    "file path": "filePath oldFilePath",
    "file size": "fileSize fsize oldFileSize",
    "email": "fromEmail toEmail",
    "url": "request requestURL",
    "": "act app applicationProtocol baseEventCount bytesIn bytesOut cat cnt destinationUserId "
    "destinationUserPrivileges deviceAction deviceDirection deviceEventCategory deviceExternalId "
    "deviceFacility deviceInboundInterface deviceOutboundInterface dpriv duid end endTime eventOutcome "
    "externalId fileCreateTime fileId fileModificationTime filePermission fileType in message method msg "
    "oldFileCreateTime oldFileId oldFileModificationTime oldFilePermission oldFileType out outcome proto "
    "reason receiptTime requestClientApplication requestContext requestCookies requestMethod rt sourceUserId "
    "sourceUserPrivileges spriv start startTime suid transportProtocol",
}
"""Names by what their values are."""

_NUMBERED: Final = {"cn": 3, "cs": 6, "deviceCustomDate": 2, "deviceCustomNumber": 3, "deviceCustomString": 6}
"""Fields for whatever there is no name for, each with a label, and how many there are of them."""


def _named() -> dict[str, list[str]]:
    found = {name: [kind] if kind else [] for kind, names in _HOLDING.items() for name in names.split()}
    for name, count in _NUMBERED.items():
        for number in range(1, count + 1):
            found |= {f"{name}{number}": [], f"{name}{number}Label": []}
    return dict(sorted(found.items()))


FIELDS: Final = _named()


@rest.route("GET", "/cef_metadata", ANY)
async def cef_metadata(request: Request, services: Services, caller: Caller) -> Json:
    """What each field holds, by its name, and every kind that there is."""
    return {
        "cef": {name: {"contains": list[Json](kinds)} for name, kinds in FIELDS.items()},
        "all_contains": [kind for kind in _HOLDING if kind],
    }


def _rows() -> list[Record]:
    return [
        {"id": number, "name": name, "data_type": list[Json](kinds), "type": "default"}
        for number, (name, kinds) in enumerate(FIELDS.items(), start=1)
    ]


put_constant(rest, "/cef", _rows)
