"""What goes wrong on a page, shown as a page: errors of the interface, and the way to the sign-in."""

from __future__ import annotations

from typing import Final, cast
from urllib.parse import urlencode

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.console.backend import Refused
from api.console.pages import HEADERS, page, redirect
from api.console.sessions import SignInNeeded, Visitor
from executions.errors import Refusal

TITLES: Final = {
    400: "This cannot be read",
    403: "You may not do this",
    404: "There is nothing here",
    409: "Not as things stand",
    413: "This is too large",
    422: "The parameters have faults",
    429: "Too many requests",
    503: "Not reachable at the moment",
}


def install(app: FastAPI) -> None:
    """Register the handlers with ``app``."""
    app.add_exception_handler(SignInNeeded, _sign_in)
    app.add_exception_handler(Refused, _refused)


def wants_page(request: Request) -> bool:
    """Whether a person asks, with a browser, for something outside of the interfaces for programs."""
    path = request.url.path
    if path.startswith(("/api/", "/rest/")) or path in ("/api", "/rest"):
        return False
    return "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers


def refusal_page(request: Request, error: Refusal) -> Response:
    """The page of an error that a route has raised."""
    return fault_page(request, error.status, error.message, [detail.message for detail in error.details])


def fault_page(request: Request, status: int, message: str, details: list[str]) -> HTMLResponse:
    """The page of any error; within a page that is open already, its notice."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    values = {"title": TITLES.get(status, "Something went wrong"), "message": message, "details": details[:20]}
    if "hx-request" in request.headers:
        answer = page(request, visitor, "parts/notice.html", status=status, **values)
        answer.headers.update({"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"})
        return answer
    return page(request, visitor, "fault.html", status=status, code=status, **values)


async def _refused(request: Request, error: Exception) -> Response:
    refused = cast(Refused, error)
    details = [f"{detail.path} {detail.message}".strip() for detail in refused.details]
    return fault_page(request, refused.status, refused.message, details)


async def _sign_in(request: Request, error: Exception) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={**HEADERS, "HX-Redirect": "/sign-in"})
    if request.headers.get("accept") == "text/event-stream":
        # 204 tells a browser's EventSource to give up.
        return Response(status_code=204, headers=HEADERS)
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        # Here by a link on another site, the browser has kept the cookie back; asked again by this page, it sends it.
        return page(request, None, "again.html")
    wanted = request.url.path
    if request.url.query:
        wanted += f"?{request.url.query}"
    if request.method != "GET" or wanted == "/":
        return redirect("/sign-in")
    return redirect(f"/sign-in?{urlencode({'next': wanted})}")
