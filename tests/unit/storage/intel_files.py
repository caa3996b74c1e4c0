"""Files as the sources publish them, small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOG4J, HEARTBLEED, XZ = "CVE-2021-44228", "CVE-2014-0160", "CVE-2024-3094"
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"


def kev_entry(cve: str = LOG4J, **changes: Any) -> dict[str, Any]:
    """An entry of KEV."""
    return {
        "cveID": cve,
        "vendorProject": "Apache",
        "product": "Log4j2",
        "vulnerabilityName": "Apache Log4j2 Remote Code Execution Vulnerability",
        "dateAdded": "2021-12-10",
        "shortDescription": "Remote code execution.",
        "requiredAction": "Apply updates.",
        "dueDate": "2021-12-24",
        "knownRansomwareCampaignUse": "Known",
        "notes": "",
        "cwes": ["CWE-20"],
        **changes,
    }


def kev(*entries: dict[str, Any], released: str = "2025-03-01T12:00:00.1234Z", **changes: Any) -> bytes:
    """KEV's catalogue."""
    document = {
        "title": "CISA Catalog of Known Exploited Vulnerabilities",
        "catalogVersion": "2025.03.01",
        "dateReleased": released,
        "count": len(entries),
        "vulnerabilities": list(entries),
    }
    return json.dumps(document | changes).encode()


def epss(*rows: str, date: str = "2025-03-01T00:00:00+0000") -> bytes:
    """EPSS's table."""
    return "\n".join([f"#model_version:v2023.03.01,score_date:{date}", "cve,epss,percentile", *rows, ""]).encode()


def nvd_entry(cve: str = LOG4J, modified: str = "2025-02-01T10:00:00.000", **changes: Any) -> dict[str, Any]:
    """An entry of NVD."""
    metric = {
        "source": "nvd@nist.gov",
        "type": "Primary",
        "cvssData": {"version": "3.1", "vectorString": VECTOR, "baseScore": 10.0, "baseSeverity": "CRITICAL"},
    }
    return {
        "id": cve,
        "sourceIdentifier": "security@apache.org",
        "published": "2021-12-10T10:15:09.143",
        "lastModified": modified,
        "vulnStatus": "Analyzed",
        "descriptions": [{"lang": "es", "value": "Hola"}, {"lang": "en", "value": "JNDI features."}],
        "metrics": {"cvssMetricV31": [metric]},
        "weaknesses": [{"source": "x", "type": "Primary", "description": [{"lang": "en", "value": "CWE-502"}]}],
        "references": [{"url": "https://logging.apache.org/", "source": "x"}],
        **changes,
    }


def nvd(*entries: dict[str, Any], start: int = 0, total: int | None = None, **changes: Any) -> bytes:
    """A page of NVD."""
    document = {
        "resultsPerPage": len(entries),
        "startIndex": start,
        "totalResults": len(entries) if total is None else total,
        "format": "NVD_CVE",
        "version": "2.0",
        "timestamp": "2025-03-01T12:00:00.000",
        "vulnerabilities": [{"cve": entry} for entry in entries],
    }
    return json.dumps(document | changes).encode()


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file with that content."""
    path = folder / name
    path.write_bytes(content)
    return path
