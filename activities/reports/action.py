"""``report.render``: a report of what a run has found and done, kept as an artifact of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from activities.action import Action, ActionContext, InputModel, OutputModel, Rehearsal
from activities.artifacts import MAX_BYTES, NAME_PATTERN, artifact_store
from activities.reports.process import PDF, TEXT, Job, render
from playbooks.record import Json

Format = Literal["html", "markdown", "pdf"]
Kind = Literal["incident", "patch", "compliance"]

MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "html": "text/html",
    "markdown": "text/markdown",
    "pdf": "application/pdf",
}
ENDINGS: Final[Mapping[Format, str]] = {"html": "html", "markdown": "md", "pdf": "pdf"}
TITLES: Final[Mapping[Kind | None, str]] = {
    "incident": "Incident report",
    "patch": "Patch report",
    "compliance": "Compliance report",
    None: "Report",
}
INLINE_CHARACTERS: Final = 64 * 1024
"""Up to here a text is also an output, so that a later step can send it as it is."""

TEMPLATES: Final = Path(__file__).parent / "templates"


class ReportInput(InputModel):
    """What is reported, and how it looks."""

    report: Annotated[
        Kind | None, Field(description="A template that ships: `incident`, `patch` or `compliance`. Or `template`.")
    ] = None
    template: Annotated[
        str | None,
        Field(
            max_length=256 * 1024,
            description="A template of your own, in Jinja2. It sees `title`, `data`, `execution` (`id`, `playbook_id`, "
            "`asset_id`, `dry_run`) and nothing else; an unknown name is an error. Beside Jinja2's filters there are "
            "`md`, which escapes Markdown, and `web`, which lets only http and https addresses pass.",
        ),
    ] = None
    values_in: Annotated[
        Literal["braces", "brackets"],
        Field(
            description="`braces`: values stand in `{{ … }}`, as Jinja2 has it; for a template that comes from a "
            "parameter or an output. `brackets`: in `[[ … ]]`; for one that stands in the playbook itself, where "
            "`{{ … }}` is an expression of the playbook. Statements stand in `{% … %}` in both."
        ),
    ] = "braces"
    layout: Annotated[
        bool, Field(description="Puts the page of the shipped reports around your template; false for a whole page.")
    ] = True
    format: Annotated[Format, Field(description="`html`, `markdown`, or `pdf` (made from the HTML).")] = "html"
    title: Annotated[str | None, Field(min_length=1, max_length=300, description="Heading of the report.")] = None
    data: Annotated[
        dict[str, Json],
        Field(
            description="What the template shows. For the shipped ones all of it is optional: `summary`, `status`, "
            "`severity`, `facts` (an object), `findings`, `timeline` (`at`, `what`), `actions` (`name`, `status`, "
            "`detail`), `recommendations`, `references`; for a patch `packages` (`name`, `before`, `after`, `status`), "
            "`vulnerabilities`, `checks`, `log`; for compliance the whole output of `policy.compare`."
        ),
    ] = Field(default_factory=dict)
    name: Annotated[
        str | None,
        Field(
            pattern=NAME_PATTERN,
            description="Name of the artifact; by default that of the report with its ending, `incident.html`. In a "
            "loop each iteration needs a name of its own.",
        ),
    ] = None
    language: Annotated[
        str, Field(pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$", max_length=35, description="Language of the page.")
    ] = "en"

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        if (self.report is None) == (self.template is None):
            raise ValueError("give either report or template")
        return self

    @property
    def file_name(self) -> str:
        """The name of the artifact."""
        return self.name or f"{self.report or 'report'}.{ENDINGS[self.format]}"

    @property
    def heading(self) -> str:
        """The title."""
        return self.title or TITLES[self.report]


class ReportOutput(OutputModel):
    """The artifact."""

    name: Annotated[str, Field(description="Name of the artifact.")]
    media_type: Annotated[str, Field(description="Its media type.")]
    size: Annotated[int, Field(description="Bytes.")]
    sha256: Annotated[str, Field(description="SHA-256 of its content, in hexadecimal.")]
    url: Annotated[str, Field(description="Path under which the API hands it out.")]
    content: Annotated[
        str | None, Field(description="The report itself, where it is text of at most 65,536 characters.")
    ]


class ReportRender(Action[ReportInput, ReportOutput]):
    """Makes a report, and keeps it as an artifact of the run, to be downloaded or sent by a later step.

    Templates run in a process of their own with bounded memory and time, without network, files or secrets. In HTML
    everything is escaped; a template that names what is not there fails, so that no report has silent gaps. PDF needs
    the extra `pdf` and Pango; it fetches nothing, so pictures must stand in the page as `data:` addresses.
    """

    name = "report.render"
    title = "Report"
    rehearsal = "Makes the report, tells its name, size and content, and keeps nothing."
    errors: ClassVar[Mapping[str, str]] = {
        "template_failed": "The template has a fault, or names what the data has not; the message has the line.",
        "report_too_large": "The report has more than 16 MiB, or its template needs too much memory.",
        "report_too_slow": "The template does not come to an end: 10 s of processor time, a PDF 60 s.",
        "pdf_missing": "The worker lacks the extra `pdf`, or Pango.",
        "renderer_failed": "The process that renders ended by itself; worth a retry.",
        "artifact_exists": "Another step of the run has kept an artifact of this name.",
        "artifact_refused": "The run is over, or has more than 200 artifacts or 64 MiB of them.",
        "store_unavailable": "The database cannot be reached; worth a retry.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "report": "incident",
        "title": "Incident on {{ asset.name }}",
        "data": {
            "severity": "high",
            "summary": "Looked at by {{ execution.id }}.",
            "facts": {"Asset": "{{ asset.name }}", "Kind": "{{ asset.type }}"},
            "recommendations": ["Rotate the credentials of the service."],
        },
    }
    idempotent = True
    Input = ReportInput
    Output = ReportOutput

    async def run(self, inputs: ReportInput, context: ActionContext) -> ReportOutput:
        """Make it and keep it.  Raises ``ActionError``: what ``render`` and the store of artifacts raise."""
        store = artifact_store(context)
        content = await render(_job(inputs, context))
        await store.put(context, inputs.file_name, MEDIA_TYPES[inputs.format], content)
        return _output(inputs, context, content)

    async def rehearse(self, inputs: ReportInput, context: ActionContext) -> Rehearsal:
        """Make it and throw it away.  Raises what ``render`` raises, so that a bad template is found here."""
        content = await render(_job(inputs, context))
        effect: dict[str, Json] = {
            "kind": "artifact",
            "name": inputs.file_name,
            "media_type": MEDIA_TYPES[inputs.format],
            "title": inputs.heading,
        }
        return Rehearsal(
            f"Would keep the report {inputs.heading!r} of {len(content)} bytes as {inputs.file_name}.",
            [effect],
            _output(inputs, context, content),
        )


def _job(inputs: ReportInput, context: ActionContext) -> Job:
    markdown = inputs.format == "markdown"
    ending = "md" if markdown else "html"
    template = inputs.template
    if template is None:
        template = shipped(f"macros.{ending}") + shipped(f"{inputs.report}.{ending}")
    layout = shipped(f"layout.{ending}") if inputs.layout or inputs.template is None else None
    execution: dict[str, Json] = {
        "id": context.execution_id,
        "playbook_id": context.playbook_id,
        "asset_id": context.asset_id,
        "dry_run": context.dry_run,
    }
    names: dict[str, Json] = {
        "title": inputs.heading,
        "kind": TITLES[inputs.report],
        "language": inputs.language,
        "data": inputs.data,
        "execution": execution,
    }
    # In a PDF nobody could find a secret again to mask it, so none goes in.
    return Job(
        format=inputs.format,
        template=str(context.scrub(template)),
        layout=layout,
        brackets=inputs.values_in == "brackets" and inputs.template is not None,
        names=context.scrub(names),
        limits=PDF if inputs.format == "pdf" else TEXT,
        output_bytes=MAX_BYTES,
    )


@lru_cache
def shipped(name: str) -> str:
    """A template that ships with the program."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _output(inputs: ReportInput, context: ActionContext, content: bytes) -> ReportOutput:
    text = content.decode("utf-8") if inputs.format != "pdf" else None
    return ReportOutput(
        name=inputs.file_name,
        media_type=MEDIA_TYPES[inputs.format],
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        url=f"/api/playbooks/executions/{context.execution_id}/artifacts/{inputs.file_name}",
        content=text if text is not None and len(text) <= INLINE_CHARACTERS else None,
    )
