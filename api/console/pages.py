"""From a template to an answer, with what every page carries: its policy, its menu, its visitor."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.console import static_files, words
from api.console.sessions import Visitor
from engine.metrics import installed_version

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
MENU: Final = (
    ("/", "Overview", "dashboard", ("playbook:read", "playbook:execute")),
    ("/playbooks", "Playbooks", "book-2", ("playbook:read",)),
    ("/executions", "Executions", "player-play", ("playbook:read", "playbook:execute")),
    ("/assets", "Assets", "server-2", ("asset:read",)),
    ("/audit", "Audit", "history", ("audit:read",)),
    ("/tokens", "Tokens", "key", ("token:admin",)),
)


def page(request: Request, visitor: Visitor | None, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The page ``template``, filled with ``values``."""
    menu = [entry for entry in MENU if visitor and visitor.may(*entry[3])]
    common = {
        "visitor": visitor,
        "csrf": visitor.csrf if visitor else "",
        "menu": menu,
        "here": _section(request.url.path),
        "is_part": "hx-request" in request.headers,
    }
    content = _environment().get_template(template).render({**common, **values})
    return HTMLResponse(content, status, HEADERS)


def rendered(template: str, **values: Any) -> str:
    """A part of a page."""
    return _environment().get_template(template).render(values)


def redirect(path: str, **query: str) -> Response:
    """Go to ``path`` of this site and GET it."""
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303, HEADERS)


def replaced_query(given: Mapping[str, str], **changes: Any) -> str:
    """The query ``given`` with some parameters changed, those that are empty left out."""
    wanted = {**given, **changes}
    return "?" + urlencode({name: value for name, value in wanted.items() if value not in (None, "")})


def nonce() -> str:
    """A key for one form, so that a button that is pressed twice does one thing."""
    return secrets.token_urlsafe(12)


def _section(path: str) -> str:
    return "/" + path.split("/")[1]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("api.console"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (words.moment, words.duration, words.size, words.pretty, words.short, words.typed, words.faults_json)
    environment.filters.update({each.__name__: each for each in filters})
    environment.globals.update(
        icon=icon,
        nonce=nonce,
        span=words.milliseconds,
        static=static_files.address,
        replaced=replaced_query,
        version=installed_version(),
    )
    return environment


@lru_cache(maxsize=256)
def icon(name: str, classes: str = "") -> Markup:
    """An icon as SVG; it says nothing that the text beside it does not say."""
    return Markup(
        '<svg class="icon icon-{} {}" width="24" height="24" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
        'stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{}</svg>'
    ).format(name, classes, Markup(_icons()[name]))


@lru_cache(maxsize=1)
def _icons() -> dict[str, str]:
    text = resources.files("api.console").joinpath("templates/icons.json").read_text()
    icons: dict[str, str] = json.loads(text)
    return icons
