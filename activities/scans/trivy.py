"""What trivy found (``trivy … --format json``, its schema 2): vulnerabilities, misconfigurations, secrets, licences.

Of a secret only where it stands and of which kind it is: neither its match nor the code around it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from activities.findings import Cvss, Finding, cut, cves_in, finding, severity_of
from activities.scans.documents import Record, fault, number, record, value_of
from playbooks.record import Json

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Texts = Annotated[list[str], BeforeValidator(lambda value: [] if value is None else value)]
RATERS = ("nvd", "ghsa", "redhat")
"""Whose CVSS rating is taken first, where the one that trivy took its severity from has none."""

VERSIONS = ("V40", "V3", "V2")


def _none_is_empty(value: Json) -> Json:
    return [] if value is None else value


class Vulnerability(Record):
    """A package with a known hole."""

    id: Annotated[str, Field(alias="VulnerabilityID", min_length=1)]
    package: Annotated[Text, Field(alias="PkgName")] = ""
    path: Annotated[Text, Field(alias="PkgPath")] = ""
    installed: Annotated[Text, Field(alias="InstalledVersion")] = ""
    fixed: Annotated[Text, Field(alias="FixedVersion")] = ""
    status: Annotated[Text, Field(alias="Status")] = ""
    severity: Annotated[Text, Field(alias="Severity")] = ""
    severity_source: Annotated[Text, Field(alias="SeveritySource")] = ""
    title: Annotated[Text, Field(alias="Title")] = ""
    description: Annotated[Text, Field(alias="Description")] = ""
    primary_url: Annotated[Text, Field(alias="PrimaryURL")] = ""
    references: Annotated[Texts, Field(alias="References", default_factory=list)]
    cvss: Annotated[dict[str, dict[str, Any]] | None, Field(alias="CVSS")] = None


class Cause(Record):
    """Where a misconfiguration stands; not the code that is there."""

    resource: Annotated[Text, Field(alias="Resource")] = ""
    start: Annotated[int | None, Field(alias="StartLine")] = None


class Misconfiguration(Record):
    """A check of a configuration."""

    id: Annotated[str, Field(alias="ID", min_length=1)]
    status: Annotated[Text, Field(alias="Status")] = "FAIL"
    severity: Annotated[Text, Field(alias="Severity")] = ""
    title: Annotated[Text, Field(alias="Title")] = ""
    description: Annotated[Text, Field(alias="Description")] = ""
    message: Annotated[Text, Field(alias="Message")] = ""
    resolution: Annotated[Text, Field(alias="Resolution")] = ""
    primary_url: Annotated[Text, Field(alias="PrimaryURL")] = ""
    references: Annotated[Texts, Field(alias="References", default_factory=list)]
    cause: Annotated[Cause | None, Field(alias="CauseMetadata")] = None


class Secret(Record):
    """That a secret stands somewhere."""

    rule: Annotated[str, Field(alias="RuleID", min_length=1)]
    category: Annotated[Text, Field(alias="Category")] = ""
    severity: Annotated[Text, Field(alias="Severity")] = ""
    title: Annotated[Text, Field(alias="Title")] = ""
    start: Annotated[int | None, Field(alias="StartLine")] = None


class License(Record):
    """A licence that trivy rates."""

    name: Annotated[Text, Field(alias="Name")] = ""
    severity: Annotated[Text, Field(alias="Severity")] = ""
    category: Annotated[Text, Field(alias="Category")] = ""
    package: Annotated[Text, Field(alias="PkgName")] = ""
    file: Annotated[Text, Field(alias="FilePath")] = ""


class Result(Record):
    """What was found in one target: a file, or the packages of a system."""

    target: Annotated[Text, Field(alias="Target")] = ""
    vulnerabilities: Annotated[
        list[Vulnerability], BeforeValidator(_none_is_empty), Field(alias="Vulnerabilities", default_factory=list)
    ]
    misconfigurations: Annotated[
        list[Misconfiguration], BeforeValidator(_none_is_empty), Field(alias="Misconfigurations", default_factory=list)
    ]
    secrets: Annotated[list[Secret], BeforeValidator(_none_is_empty), Field(alias="Secrets", default_factory=list)]
    licenses: Annotated[list[License], BeforeValidator(_none_is_empty), Field(alias="Licenses", default_factory=list)]


class Report(Record):
    """The whole report; one that found nothing has no results."""

    schema_version: Annotated[int, Field(alias="SchemaVersion")]
    created: Annotated[Text, Field(alias="CreatedAt")] = ""
    artifact: Annotated[Text, Field(alias="ArtifactName")] = ""
    results: Annotated[list[Result], BeforeValidator(_none_is_empty), Field(alias="Results", default_factory=list)]


def read_trivy(content: Json) -> tuple[list[Finding], Report]:
    """The findings in ``content``, text or a value that was read already, and the report itself.

    Raises ``ActionError`` with code ``invalid_report`` that names the field.
    """
    value = value_of(content)
    if not isinstance(value, dict):
        raise fault("", "a report of trivy is an object; call it with --format json")
    report = record(Report, value, "")
    if report.schema_version != 2:
        raise fault("", f"SchemaVersion: {report.schema_version} is none that is read here; 2 is")
    found = [one for result in report.results for one in _findings(report.artifact, result)]
    return found, report


def _findings(artifact: str, result: Result) -> Iterator[Finding]:
    asset, target = cut(artifact, 300), cut(result.target, 700)
    yield from (_vulnerability(one, asset, target) for one in result.vulnerabilities)
    yield from (_misconfiguration(one, asset, target) for one in result.misconfigurations if one.status == "FAIL")
    yield from (_secret(one, asset, target) for one in result.secrets)
    yield from (_license(one, asset, target) for one in result.licenses)


def _vulnerability(one: Vulnerability, asset: str, target: str) -> Finding:
    if one.fixed:
        remediation = f"Update {one.package} to {one.fixed}."
    else:
        remediation = f"No version mends it yet ({one.status})." if one.status else ""
    return finding(
        "trivy",
        cut(one.id, 200),
        one.title or f"{one.id} in {one.package}",
        severity_of(one.severity),
        asset=asset,
        place=f"{target}/{cut(one.path, 300)}" if one.path and one.path != target else target,
        package=cut(one.package, 300) or None,
        version=cut(one.installed, 200),
        fixed_version=cut(one.fixed, 200),
        description=one.description,
        evidence=f"{one.package} {one.installed} is installed.",
        remediation=remediation,
        cves=cves_in(one.id),
        cvss=_rating(one),
        references=[cut(reference, 1000) for reference in (one.primary_url, *one.references)],
    )


def _rating(one: Vulnerability) -> Cvss | None:
    ratings = one.cvss or {}
    for rater in (one.severity_source, *RATERS, *sorted(ratings)):
        for version in VERSIONS:
            vector, score = (ratings.get(rater, {}).get(f"{version}{what}") for what in ("Vector", "Score"))
            if isinstance(vector, str) and vector:
                given = number(str(score))
                return Cvss(vector=cut(vector, 200), score=given if given is not None and 0 <= given <= 10 else None)
    return None


def _misconfiguration(one: Misconfiguration, asset: str, target: str) -> Finding:
    cause = one.cause or Cause()
    where = f"{target}: {cut(cause.resource, 300)}" if cause.resource else target
    line = f" Line {cause.start}." if cause.start else ""
    return finding(
        "trivy",
        cut(one.id, 200),
        one.title or one.id,
        severity_of(one.severity),
        asset=asset,
        place=where,
        description=one.description,
        evidence=one.message + line,
        remediation=one.resolution,
        references=[cut(reference, 1000) for reference in (one.primary_url, *one.references)],
    )


def _secret(one: Secret, asset: str, target: str) -> Finding:
    where = f"{target}:{one.start}" if one.start else target
    return finding(
        "trivy",
        cut(one.rule, 200),
        one.title or one.rule,
        severity_of(one.severity),
        asset=asset,
        place=where,
        description=f"A secret of the kind {cut(one.category, 100) or 'unknown'} stands in {where}.",
        evidence="Its value is not kept.",
        remediation="Revoke it where it is valid, then take it out of the file and its history.",
    )


def _license(one: License, asset: str, target: str) -> Finding:
    return finding(
        "trivy",
        cut(f"license:{one.name}", 200),
        f"Licence {one.name} ({one.category})" if one.category else f"Licence {one.name}",
        severity_of(one.severity),
        asset=asset,
        place=cut(one.file, 700) or target,
        package=cut(one.package, 300) or None,
    )
