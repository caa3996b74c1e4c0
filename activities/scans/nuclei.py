"""What nuclei found: its JSON lines (``-jsonl``), or its JSON array (``-json-export``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import BeforeValidator, Field

from activities.errors import ActionError
from activities.findings import Cvss, Finding, cut, finding, severity_of
from activities.scans.documents import Record, fault, read_json, record, value_of
from playbooks.record import Json

MAX_RESULTS = 100_000

SHOWN_FAULTS = 5
"""Broken lines that are told one by one."""


def _listed(value: Json) -> Json:
    """A text as the list that newer versions write; null, which Go writes for an empty list, as an empty one."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [] if value is None else value


Words = Annotated[list[str], BeforeValidator(_listed)]
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
References = Annotated[
    list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else [] if value is None else value)
]


class Classification(Record):
    """How a template rates what it looks for."""

    cves: Annotated[Words, Field(alias="cve-id", default_factory=list)]
    vector: Annotated[Text, Field(alias="cvss-metrics")] = ""
    score: Annotated[float | None, Field(alias="cvss-score")] = None


class Info(Record):
    """What a template says of itself."""

    name: Text = ""
    severity: Text = ""
    description: Text = ""
    remediation: Text = ""
    reference: Annotated[References, Field(default_factory=list)]
    classification: Classification | None = None


class Result(Record):
    """One result.  Requests, responses and what was extracted of them are not read: there credentials stand."""

    template: Annotated[str, Field(alias="template-id", min_length=1)]
    info: Info
    matcher: Annotated[Text, Field(alias="matcher-name")] = ""
    matched: Annotated[bool, Field(alias="matcher-status")] = True
    kind: Annotated[Text, Field(alias="type")] = ""
    host: Text = ""
    port: Annotated[str, BeforeValidator(lambda value: "" if value is None else str(value))] = ""
    address: Annotated[Text, Field(alias="ip")] = ""
    place: Annotated[Text, Field(alias="matched-at")] = ""
    extracted: Annotated[list[Json] | None, Field(alias="extracted-results")] = None


def read_nuclei(content: Json, skip_broken: bool) -> tuple[list[Finding], list[str]]:
    """The findings in ``content``, text or a value that was read already, and what was wrong with each skipped line.

    Raises ``ActionError`` with code ``invalid_report`` that names the broken lines, unless ``skip_broken``.
    """
    problems: list[str] = []
    found = []
    for place, value in _values(content, problems):
        try:
            result = record(Result, value, place)
        except ActionError as error:
            problems.append(error.message)
            continue
        if result.matched:
            found.append(_finding(result))
    if problems and not skip_broken:
        more = len(problems) - SHOWN_FAULTS
        raise fault("", "; ".join(problems[:SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else ""))
    return found, problems


def _values(content: Json, problems: list[str]) -> Iterator[tuple[str, Json]]:
    """Each result with its place; what cannot be read goes to ``problems``."""
    if isinstance(content, str) and not content.lstrip().startswith("["):
        yield from _lines(content, problems)
        return
    values = value_of(content)
    items: Iterable[Json] = values if isinstance(values, list) else [values]
    yield from ((f"result {position}", value) for position, value in enumerate(items, 1))


def _lines(text: str, problems: list[str]) -> Iterator[tuple[str, Json]]:
    left = MAX_RESULTS
    # Not splitlines(): it breaks also at characters that may stand in a text of JSON.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        left -= 1
        if left < 0:
            raise fault(f"line {number}", f"more than {MAX_RESULTS} results")
        try:
            yield f"line {number}", read_json(line, number)
        except ActionError as error:
            problems.append(error.message)


def _finding(result: Result) -> Finding:
    place = without_login(result.place or result.host)
    rated = result.info.classification or Classification(cves=[])
    score = rated.score if rated.score is not None and 0 <= rated.score <= 10 else None
    host, port = _host_and_port(result)
    rule = f"{result.template}:{result.matcher}" if result.matcher else result.template
    extracted = len(result.extracted or ())
    return finding(
        "nuclei",
        cut(rule, 200),
        result.info.name or result.template,
        severity_of(result.info.severity),
        asset=cut(host, 300),
        place=cut(place, 1000),
        port=port,
        protocol="tcp" if port is not None else None,
        description=result.info.description,
        evidence=f"Matched at {place}." + (f" {extracted} values were extracted and not kept." if extracted else ""),
        remediation=result.info.remediation,
        cves=rated.cves,
        cvss=Cvss(vector=cut(rated.vector, 200), score=score) if rated.vector or score is not None else None,
        references=[cut(reference, 1000) for reference in result.info.reference],
    )


def _host_and_port(result: Result) -> tuple[str, int | None]:
    """Host and port: ``host`` is a URL, a name, or a name with a port, by the kind of the template."""
    given = result.host or result.place
    try:
        parts = urlsplit(given if "://" in given else f"//{given}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return result.address or given.rpartition("@")[2], None
    if port is None and result.port.isascii() and result.port.isdecimal() and 0 < int(result.port[:6]) < 65536:
        port = int(result.port)
    return host or result.address, port if port is not None else _DEFAULT_PORTS.get(parts.scheme)


_DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


def without_login(url: str) -> str:
    """``url`` without the user and password that may stand before its host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
