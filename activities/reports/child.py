"""The process that renders one report: ``python -m activities.reports.child``.

A template may come from anybody who may write a playbook, and its data from anywhere.  The sandbox of Jinja2 keeps it
from Python's inside, but not from ``{% for a in range(10**9) %}`` or ``'x' * 10**10``: so it runs here, under limits of
the kernel, without the worker's environment, and unable to open files or connections by an audit hook.

Reads one job as JSON from stdin; writes ``ok`` and the report, or the code of an error and a sentence.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

MESSAGE_CHARACTERS = 300
FILE_NAME = "<template>"
NOWHERE = "http://report.invalid/"
"""What relative addresses of a page are relative to; none is ever asked."""

Failure = tuple[str, str]
"""A code and a sentence."""


class Refused(Exception):
    """The report cannot be made; ``args`` are a ``Failure``."""


def main() -> None:
    """Render the job of stdin."""
    job = json.load(sys.stdin.buffer)
    _limit(job["memory_bytes"], job["cpu_seconds"])
    try:
        content = _render(job)
        if len(content) > job["output_bytes"]:
            raise Refused("report_too_large", f"The report has more than {job['output_bytes']} bytes.")
    except Refused as refused:
        code, message = refused.args
        _answer(code, message.encode("utf-8", "replace"))
    except MemoryError:
        _answer("report_too_large", f"The template needs more than {job['memory_bytes'] // 2**20} MiB.".encode())
    else:
        _answer("ok", content)


def _limit(memory: int, cpu: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # The hard limit would be SIGKILL, by which nobody could tell what has happened.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(code: str, content: bytes) -> None:
    output = sys.stdout.buffer
    output.write(code.encode() + b"\n" + content)
    output.flush()


def _render(job: dict[str, Any]) -> bytes:
    write_pdf = _pdf_writer() if job["format"] == "pdf" else None
    environment = _environment(html=job["format"] != "markdown")
    sys.addaudithook(_forbid)
    own = environment.overlay(variable_start_string="[[", variable_end_string="]]") if job["brackets"] else environment
    text = _fill(own, job["template"], job["names"], job["output_bytes"])
    if job["layout"] is not None:
        from markupsafe import Markup

        # What the template made is HTML already; the layout is ours.
        text = _fill(environment, job["layout"], {**job["names"], "body": Markup(text)}, job["output_bytes"])
    return text.encode("utf-8", "replace") if write_pdf is None else write_pdf(text)


def _environment(html: bool) -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Without the optimizer a constant such as 'x' * 10**10 is not computed while the template is compiled.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=html,
        loader=None,
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escape_markdown, "web": web_address}
    return environment


def _fill(environment: SandboxedEnvironment, source: str, names: Mapping[str, Any], limit: int) -> str:
    """The text that ``source`` makes; raises ``Refused``, ``MemoryError``."""
    from jinja2 import TemplateSyntaxError

    parts: list[str] = []
    size = 0
    try:
        for part in environment.from_string(source).generate(names):
            size += len(part)
            if size > limit:
                raise Refused("report_too_large", f"The report has more than {limit} characters.")
            parts.append(part)
    except (Refused, MemoryError):
        raise
    except TemplateSyntaxError as error:
        raise Refused("template_failed", f"Line {error.lineno}: {_cut(error.message or 'bad syntax')}") from None
    except RecursionError:
        raise Refused("template_failed", "The template calls itself too deeply.") from None
    except Exception as error:
        raise Refused("template_failed", f"{_line(error)}{_cut(str(error) or type(error).__name__)}") from None
    return "".join(parts)


def _line(error: BaseException) -> str:
    # Jinja2 gives its frames the lines of the template.
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE_NAME]
    return f"Line {lines[-1]}: " if lines and lines[-1] is not None else ""


def _cut(text: str) -> str:
    return " ".join(text[:MESSAGE_CHARACTERS].split())


def escape_markdown(value: object) -> str:
    """``value`` as one line of Markdown that formats nothing, opens no tag and ends no cell of a table."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{character}" if character in "\\`*_{}[]|#~!" else character for character in text)


def web_address(value: object) -> str:
    """``value`` where it is a link that a reader may follow, else ``#``: a finding may bring ``javascript:``."""
    text = str(value).strip()
    try:
        parts = urlsplit(text)
    except ValueError:
        return "#"
    return text if parts.scheme in ("http", "https") and parts.netloc else "#"


def _pdf_writer() -> Any:
    """What makes a PDF of HTML; loaded before the limits on opening files hold."""
    try:
        from weasyprint import HTML
        from weasyprint.text.fonts import FontConfiguration
        from weasyprint.urls import URLFetcher
    except (ImportError, OSError) as error:
        told = "This worker makes no PDF: install stanchion[pdf], and Pango (apt-get install libpangoft2-1.0-0)."
        raise Refused("pdf_missing", f"{told} {_cut(str(error))}") from None
    # Pictures stand in the report itself; every address, also file:, would reach past the egress guard.
    fetcher = URLFetcher(allowed_protocols=("data",), allow_redirects=False)

    class InstalledFonts(FontConfiguration):  # type: ignore[misc]
        def add_font_face(self, *_: object) -> None:
            """Nothing: a font of the page's own would be written to a file first."""

    def write(text: str) -> bytes:
        try:
            page = HTML(string=text, url_fetcher=fetcher, base_url=NOWHERE)
            content: bytes = page.write_pdf(font_config=InstalledFonts())
        except (MemoryError, Refused):
            raise
        except Exception as error:  # whatever a hostile page makes of the library
            raise Refused("template_failed", f"No PDF comes of this page: {_cut(str(error))}") from None
        return content

    return write


_READABLE = tuple(dict.fromkeys(os.path.realpath(folder) for folder in (sys.prefix, sys.base_prefix, "/usr/share")))
_FORBIDDEN = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "shutil.")


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what no template has any business with; the libraries may still read their own files."""
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"a report may not do this: {event}")
    if event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes or not os.path.realpath(os.fsdecode(path)).startswith(_READABLE):
            raise PermissionError("a report may not open files")


if __name__ == "__main__":
    main()
