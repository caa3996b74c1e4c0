"""``scan.import``: what other scanners have found, in the one model that every later step reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from activities.action import Action, ActionContext, InputModel, OutputModel
from activities.artifacts import NAME_PATTERN, read_artifact
from activities.findings import SEVERITIES, Finding, Severity, counted, finding_id, merged
from activities.scans.documents import MAX_BYTES, MAX_FINDINGS, check_size, decoded, fault
from activities.scans.nuclei import read_nuclei
from activities.scans.openscap import read_openscap
from activities.scans.trivy import read_trivy
from playbooks.record import Json

Scanner = Literal["nuclei", "trivy", "openscap"]


class ImportInput(InputModel):
    """The result of a scanner, and what is kept of it."""

    scanner: Annotated[
        Scanner,
        Field(
            description="`nuclei`: JSON lines or a JSON array; `trivy`: its JSON, schema 2; `openscap`: XCCDF results "
            "or ARF, in XML."
        ),
    ]
    content: Annotated[
        Json,
        Field(
            description="The result, at most 16 MiB: its text, or JSON that an earlier step has read. Or `artifact`."
        ),
    ] = None
    artifact: Annotated[
        str | None, Field(pattern=NAME_PATTERN, description="Name of an artifact of this run that holds the result.")
    ] = None
    asset: Annotated[
        str | None,
        Field(min_length=1, max_length=300, description="What the findings are about, in place of the scanner's word."),
    ] = None
    minimum_severity: Annotated[
        Severity, Field(description="Milder findings are counted and left out; `none` keeps all.")
    ] = "none"
    limit: Annotated[
        int, Field(ge=1, le=MAX_FINDINGS, description="Findings that are kept at most, the worst ones.")
    ] = 1000
    skip_broken: Annotated[
        bool,
        Field(description="true: results of nuclei that cannot be read are told in `broken`; false: the step fails."),
    ] = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.content is None) == (self.artifact is None):
            raise ValueError("give either content or artifact")
        return self


class ImportOutput(OutputModel):
    """What was found."""

    findings: Annotated[list[Finding], Field(description="Each once, worst first.")]
    total: Annotated[int, Field(description="Findings in the result, those that were left out included.")]
    left_out: Annotated[int, Field(description="Findings that are milder than asked for, or beyond the limit.")]
    severities: Annotated[dict[str, int], Field(description="How many findings of each severity there are in all.")]
    worst: Annotated[Severity | None, Field(description="The worst severity; null without a finding.")]
    scanner: Scanner
    targets: Annotated[list[str], Field(description="What was scanned, where the scanner says so.")]
    scanned_at: Annotated[str, Field(description="When, in the scanner's words; empty where it does not say.")] = ""
    results: Annotated[
        dict[str, int], Field(description="OpenSCAP: how many rules ended in each result, such as pass.")
    ] = Field(default_factory=dict)
    undecided: Annotated[
        list[str], Field(description="OpenSCAP: rules that ended in error or unknown; they are no pass.")
    ] = Field(default_factory=list)
    score: Annotated[float | None, Field(description="OpenSCAP: its own score in percent.")] = None
    profile: Annotated[str, Field(description="OpenSCAP: the profile that was checked.")] = ""
    broken: Annotated[list[str], Field(description="nuclei: results that were skipped, each with its line.")] = Field(
        default_factory=list
    )


class ScanImport(Action[ImportInput, ImportOutput]):
    """Reads the result of nuclei, trivy or OpenSCAP, and tells it in the one model of findings.

    A finding has the same id in every result in which it stands, so that two imports can be compared. Values of
    secrets, requests and responses are not taken over. Size and depth are bounded, XML with entities is refused.
    """

    name = "scan.import"
    title = "Import a scan"
    Input = ImportInput
    Output = ImportOutput
    safe = idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        "invalid_report": "The result cannot be read; the message has the line or the field.",
        "unknown_artifact": "No step of the run has kept an artifact of this name.",
        "no_store": "The worker keeps no artifacts.",
        "store_unavailable": "The database cannot be reached; worth a retry.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "scanner": "trivy",
        "content": "{{ steps.download.output.json }}",
        "asset": "{{ asset.name }}",
        "minimum_severity": "high",
    }

    async def run(self, inputs: ImportInput, context: ActionContext) -> ImportOutput:
        """Read it.  Raises ``ActionError`` with the codes in ``errors``."""
        content: Json | bytes = inputs.content
        if inputs.artifact is not None:
            content = (await read_artifact(context, inputs.artifact)).data
        # A second of work for a large result, in which heartbeats and other steps must go on.
        return await asyncio.to_thread(_read, inputs, content)


def _read(inputs: ImportInput, content: Json | bytes) -> ImportOutput:
    if isinstance(content, str) and len(content) > MAX_BYTES:
        raise fault("", f"the result has {len(content)} characters; at most {MAX_BYTES} bytes are read")
    if inputs.scanner == "openscap":
        return _openscap(inputs, content)
    if isinstance(content, bytes):
        content = decoded(content)
    elif isinstance(content, str):
        content = content.removeprefix("\ufeff")
        check_size(content.encode("utf-8", "replace"))
    if inputs.scanner == "trivy":
        found, report = read_trivy(content)
        return _output(inputs, found, [report.artifact] if report.artifact else [], scanned_at=report.created)
    found, broken = read_nuclei(content, inputs.skip_broken)
    return _output(inputs, found, sorted({one.asset for one in found if one.asset}), broken=broken[:MAX_FINDINGS])


def _openscap(inputs: ImportInput, content: Json | bytes) -> ImportOutput:
    if isinstance(content, bytes):
        assessed = read_openscap(content)
    elif isinstance(content, str):
        assessed = read_openscap(content.removeprefix("\ufeff").encode("utf-8", "replace"), "utf-8")
    else:
        raise fault("", "a result of OpenSCAP is XML, handed in as text or as an artifact")
    return _output(
        inputs,
        assessed.findings,
        assessed.targets,
        scanned_at=assessed.ended,
        results=assessed.results,
        undecided=assessed.undecided,
        score=assessed.score,
        profile=assessed.profile,
    )


def _output(inputs: ImportInput, found: list[Finding], targets: list[str], **more: Json) -> ImportOutput:
    everything = merged(one if inputs.asset is None else _about(one, inputs.asset) for one in found)
    least = SEVERITIES.index(inputs.minimum_severity)
    kept = [one for one in everything if SEVERITIES.index(one.severity) >= least][: inputs.limit]
    return ImportOutput(
        findings=kept,
        total=len(everything),
        left_out=len(everything) - len(kept),
        severities=counted(everything),
        worst=everything[0].severity if everything else None,
        scanner=inputs.scanner,
        targets=targets[:MAX_FINDINGS],
        **more,
    )


def _about(one: Finding, asset: str) -> Finding:
    """``one`` as a finding about ``asset``, with the id that goes with it."""
    renamed = finding_id(one.source, one.rule, asset, one.place, one.port, one.protocol, one.package)
    return one.model_copy(update={"asset": asset, "id": renamed})
