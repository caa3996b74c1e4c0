"""``report.render``: what it makes, and what no template can do to the worker."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from activities.errors import ActionError
from activities.reports.action import ReportInput, ReportOutput, ReportRender
from activities.reports.process import TEXT, Job, Limits, render
from activities.scrub import Scrubber
from activities.stores import Stores
from tests.unit.activities.action_support import LocalServer, http_answer, make_context
from tests.unit.activities.test_action_artifacts import Shelf

FINDING = {"severity": "high", "title": "<script>alert(1)</script> | x", "score": 9.8}
DATA: dict[str, Any] = {"summary": "It rained in.", "findings": [FINDING], "references": ["javascript:alert(1)"]}


async def made(shelf: Shelf | None = None, scrub: Scrubber | None = None, **inputs: Any) -> ReportOutput:
    """The output of a run with ``inputs``."""
    stores = Stores(artifacts=shelf or Shelf())
    context = make_context(stores=stores, scrub=(scrub or Scrubber()).value)
    return await ReportRender().run(ReportInput.model_validate(inputs), context)


async def filled(template: str, **data: Any) -> str:
    """What a template of one's own makes of ``data``."""
    return (await made(template=template, layout=False, data=data)).content or ""


async def refused(template: str, limits: Limits = TEXT, **changes: Any) -> ActionError:
    """The error that a template ends with."""
    with pytest.raises(ActionError) as caught:
        await render(Job("html", template, limits=limits, **changes))
    assert caught.value.retryable is False
    return caught.value


@pytest.mark.parametrize("kind", ["incident", "patch", "compliance"])
@pytest.mark.parametrize("form", ["html", "markdown"])
async def test_the_shipped_reports_take_any_part_of_their_data(kind: str, form: str) -> None:
    """Nothing in the data has to be there, and what is there is shown."""
    empty = await made(report=kind, format=form)
    assert empty.content
    full = await made(report=kind, format=form, data={"summary": "It rained in.", "facts": {"Wet": True}})
    assert "It rained in." in (full.content or "")
    assert "Wet" in (full.content or "")


async def test_a_report_is_kept_as_an_artifact() -> None:
    """The artifact has the bytes that the output speaks of."""
    shelf = Shelf()
    output = await made(shelf, report="incident", data=DATA)
    kept = shelf.kept["incident.html"]
    assert (kept.media_type, kept.data.decode()) == ("text/html", output.content)
    assert (output.size, output.sha256) == (len(kept.data), hashlib.sha256(kept.data).hexdigest())
    assert output.url == "/api/playbooks/executions/exec-1/artifacts/incident.html"


async def test_html_escapes_what_others_have_sent() -> None:
    """A tag in the data is text in the page, and only web addresses become links."""
    page = (await made(report="incident", data=DATA)).content or ""
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert 'href="#"' in page


async def test_markdown_escapes_what_others_have_sent() -> None:
    """A tag in the data is text, and a bar ends no cell."""
    text = (await made(report="incident", format="markdown", data=DATA)).content or ""
    assert r"| high | &lt;script&gt;alert(1)&lt;/script&gt; \| x | 9.8 |" in text


async def test_a_page_stands_alone_and_is_light_and_dark() -> None:
    """The page asks for nothing from anywhere, and has both sets of colours."""
    page = (await made(report="compliance")).content or ""
    assert "prefers-color-scheme: dark" in page
    for outside in ("src=", "@import", "url(", "<link", "<script"):
        assert outside not in page


async def test_a_rehearsal_is_marked_and_keeps_nothing() -> None:
    """The dry run makes the report, says so in it, and leaves the shelf empty."""
    shelf = Shelf()
    context = make_context(stores=Stores(artifacts=shelf), dry_run=True)
    rehearsal = await ReportRender().rehearse(ReportInput(report="patch", title="Patch of web-01"), context)
    assert isinstance(rehearsal.output, ReportOutput)
    assert "report of a rehearsal" in (rehearsal.output.content or "")
    assert rehearsal.would == (
        f"Would keep the report 'Patch of web-01' of {rehearsal.output.size} bytes as patch.html."
    )
    assert rehearsal.effects == [
        {"kind": "artifact", "name": "patch.html", "media_type": "text/html", "title": "Patch of web-01"}
    ]
    assert shelf.kept == {}


async def test_a_template_of_ones_own() -> None:
    """It sees title, data and execution, in the shipped layout or alone."""
    template = "<p>{{ title }}: {{ data.n }} of {{ execution.asset_id }}</p>"
    alone = await made(template=template, layout=False, data={"n": 3}, title="A & B")
    assert alone.content == "<p>A &amp; B: 3 of asset-1</p>"
    inside = await made(template=template, data={"n": 3}, title="A & B")
    assert "<p>A &amp; B: 3 of asset-1</p>" in (inside.content or "")
    assert (inside.content or "").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("a\nb {{ data.missing }}", "Line 2: 'dict object' has no attribute 'missing'"),
        ("a\n{% for %}", "Line 2: Expected an expression, got 'end of statement block'"),
        ("{{ 1 / 0 }}", "Line 1: division by zero"),
        ("{% include 'x' %}", "no loader for this environment specified"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ data.__init__.__globals__ }}", "unsafe"),
        ("{{ cycler.__init__.__globals__.os.environ }}", "unsafe"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "too deeply"),
        ("{{ '%s' % missing }}", "'missing' is undefined"),
    ],
)
async def test_a_template_that_fails_says_where(template: str, told: str) -> None:
    """A fault, a gap and an attempt to get out end with the line and a sentence."""
    error = await refused(template, names={"data": {}})
    assert error.code == "template_failed"
    assert told in error.message


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**10 }}",
        "{{ ['x' * 10**8] * 10**8 | length }}{{ 'x' * 10**9 }}",
        "{% set x = 'x' * 10**6 %}{% for a in range(1000) %}{{ x }}{% endfor %}",
        "{{ '%9999999999d' % 1 }}",
        "{{ 'x'.ljust(10**10) }}",
        "{{ ''.join(['y' * 10**8] * 100) }}",
    ],
)
async def test_a_template_that_grows_is_stopped(template: str) -> None:
    """What would fill the memory of the worker ends as too large."""
    assert (await refused(template)).code in ("report_too_large", "template_failed")


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(10**5) %}{% for b in range(10**5) %}{% endfor %}{% endfor %}",
        "{{ 9 ** (9 ** 9) }}",
    ],
)
async def test_a_template_that_lasts_is_stopped(template: str) -> None:
    """What would never end ends as too slow, also where Python itself cannot be interrupted."""
    assert (await refused(template, Limits(512 * 2**20, 1, 20))).code == "report_too_slow"


async def test_a_range_beyond_all_bounds_is_refused() -> None:
    """A loop of a thousand million turns is not even begun."""
    error = await refused("{% for a in range(10**9) %}{% endfor %}")
    assert error.code == "template_failed"
    assert "Range too big" in error.message


async def test_a_template_that_sleeps_on_the_clock_is_stopped() -> None:
    """The time limit holds without processor time too: a process that stands still is killed."""
    with pytest.raises(ActionError, match="report_too_slow"):
        await render(Job("html", "x", limits=Limits(512 * 2**20, 10, 0.001)))


async def test_a_cancel_leaves_no_process() -> None:
    """When a render is cancelled its process is dead before that is known."""
    endless = "{% for a in range(10**5) %}{% for b in range(10**5) %}{% endfor %}{% endfor %}"
    rendering = asyncio.create_task(render(Job("html", endless)))
    while not (children := children_of(os.getpid())):
        await asyncio.sleep(0.01)
    rendering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rendering
    assert not children & children_of(os.getpid())


def children_of(pid: int) -> set[int]:
    """The renderers that ``pid`` has started and that live."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            child = entry.name.isdigit() and f"PPid:\t{pid}\n" in (entry / "status").read_text()
            if child and b"activities.reports.child" in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    return found


async def test_the_renderer_has_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets of the worker's environment are not in the process that runs the template."""
    monkeypatch.setenv("STANCHION_SECRET_MARKER", "hunter2hunter2")
    endless = "{% for a in range(10**5) %}{% for b in range(10**5) %}{% endfor %}{% endfor %}"
    rendering = asyncio.create_task(render(Job("html", endless)))
    while not (children := children_of(os.getpid())):
        await asyncio.sleep(0.01)
    assert b"hunter2" not in Path(f"/proc/{children.pop()}/environ").read_bytes()
    rendering.cancel()
    await asyncio.gather(rendering, return_exceptions=True)


@pytest.mark.parametrize("form", ["html", "markdown", "pdf"])
async def test_no_secret_gets_into_a_report(form: str, tmp_path: Path) -> None:
    """A secret in the data or in the template is masked before anything is rendered, a PDF too."""
    shelf = Shelf()
    inputs = {"template": "hunter2hunter2 {{ data.note }}", "data": {"note": "see hunter2hunter2"}, "name": "r.out"}
    await made(shelf, Scrubber(["hunter2hunter2"]), format=form, **inputs)
    data = shelf.kept["r.out"].data
    text = pdf_text(data, tmp_path) if form == "pdf" else data.decode()
    assert "hunter2" not in text
    assert "see" in text


async def test_a_name_or_nothing() -> None:
    """Either a shipped report or a template has to be given."""
    for wrong in ({}, {"report": "patch", "template": "x"}):
        with pytest.raises(ValueError, match="either report or template"):
            ReportInput.model_validate(wrong)


def pdf_text(data: bytes, folder: Path) -> str:
    """What a person reads in a PDF."""
    file = folder / "report.pdf"
    file.write_bytes(data)
    return subprocess.run(["pdftotext", "-layout", file, "-"], capture_output=True, text=True, check=True).stdout


def attached(file: Path) -> str:
    """The files that a PDF has inside."""
    return subprocess.run(["pdfdetach", "-list", file], capture_output=True, text=True, check=True).stdout


async def test_a_pdf_has_the_words_of_the_report(tmp_path: Path) -> None:
    """The PDF is one, and reads like the page."""
    shelf = Shelf()
    output = await made(shelf, report="incident", format="pdf", title="Incident on web-01", data=DATA)
    assert (output.name, output.media_type, output.content) == ("incident.pdf", "application/pdf", None)
    text = pdf_text(shelf.kept["incident.pdf"].data, tmp_path)
    for words in ("Incident on web-01", "It rained in.", "<script>alert(1)</script>", "1/1"):
        assert words in text


async def test_a_pdf_fetches_nothing(server: LocalServer, tmp_path: Path) -> None:
    """No address of a page is asked, and no file is read into the PDF, whatever the tag."""
    server.answers["/x"] = http_answer(200, b"from outside", content_type="text/css")
    secret = tmp_path / "secret.txt"
    secret.write_text("from the disk")
    addresses = (f"{server.url}/x", f"file://{secret}", str(secret))
    template = "".join(
        f'<img src="{a}"><link rel="stylesheet" href="{a}"><link rel="attachment" href="{a}">'
        f'<object data="{a}"></object><style>@import url("{a}"); p {{ background: url("{a}") }}'
        f'@font-face {{ font-family: x; src: url("{a}") }}</style><p style="font-family: x">words'
        f'<svg><image href="{a}"/></svg>'
        for a in addresses
    )
    shelf = Shelf()
    await made(shelf, template=template, layout=False, format="pdf")
    data = shelf.kept["report.pdf"].data
    assert server.received == []
    assert "words" in pdf_text(data, tmp_path)
    assert attached(tmp_path / "report.pdf").startswith("0 ")


async def test_a_page_too_large_for_the_limits_makes_no_pdf() -> None:
    """A page whose PDF would take too long ends as too slow, or as too large."""
    job = Job("pdf", "{% for a in range(10**5) %}<p>{{ a }}{% endfor %}", limits=Limits(2**31, 2, 30))
    with pytest.raises(ActionError, match=r"report_too_(slow|large)"):
        await render(job)
