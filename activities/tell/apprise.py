"""Messages by Apprise, which knows over a hundred services: sent by a child process whose every connection is judged.

Apprise's plug-ins open their connections themselves, with half a dozen libraries, so the guard stands below all of
them: ``activities.tell.apprise_child``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from activities.action import ActionContext
from activities.egress import EgressPolicy
from activities.errors import ActionError
from activities.pipes import feed
from activities.tell.notice import NotifyInput

TIMEOUT = 60.0
"""Seconds for the whole of it."""

LOCAL = frozenset({"blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""Schemes that tell the worker's own desktop, log or devices; their libraries connect where nobody could judge."""

SHORTEST_TOKEN = 6
"""Characters; a shorter part of a URL is no secret, and may be a word of any sentence."""

TYPES = {"critical": "failure", "high": "failure", "medium": "warning", "low": "info", "info": "info"}
KEPT_ENVIRONMENT = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")

APPRISE_ERRORS: Mapping[str, str] = {
    "apprise_missing": "This worker has no Apprise: install stanchion[apprise].",
    "apprise_refused": "Apprise does not know the URL, or it names a service of the worker's own machine.",
    "apprise_failed": "The service of the Apprise URL did not take the message; its own words stand in the message.",
}


def apprise_scheme(url: str) -> str:
    """The scheme of an Apprise URL; the rest may be secret.  Raises ``ActionError`` with code ``apprise_refused``."""
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator or not scheme.isalnum() or scheme in LOCAL:
        what = f"{scheme}:// is a service of this machine" if scheme in LOCAL else "not an Apprise URL"
        raise ActionError("apprise_refused", f"The URL is refused: {what}.", retryable=False)
    return scheme


async def send_by_apprise(inputs: NotifyInput, context: ActionContext) -> None:
    """Send it.  Raises ``ActionError``: ``egress_refused``, ``timed_out`` and the codes of ``APPRISE_ERRORS``."""
    scheme = apprise_scheme(inputs.url or "")
    if importlib.util.find_spec("apprise") is None:
        raise ActionError("apprise_missing", APPRISE_ERRORS["apprise_missing"], retryable=False)
    order = {
        "url": inputs.url,
        "title": inputs.title or "",
        "body": _body(inputs),
        "type": TYPES[inputs.severity or "info"],
        "openings": _openings(context.egress),
    }
    try:
        async with asyncio.timeout(TIMEOUT):
            report = await _ask_child(json.dumps(order).encode())
    except TimeoutError:
        raise ActionError("timed_out", f"Apprise ({scheme}://) did not end within {TIMEOUT:g} s.") from None
    report["said"] = _without_secrets(str(report.get("said") or "no reason was given"), inputs.url or "")
    _judge(report, scheme)


async def _ask_child(order: bytes) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    if "SSL_CERT_FILE" in environment:
        environment["REQUESTS_CA_BUNDLE"] = environment["SSL_CERT_FILE"]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", "activities.tell.apprise_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    # Not communicate(): under uvloop it raises for a child that ends before it has read its order.
    feeding = asyncio.create_task(feed(child.stdin, order))
    try:
        answer = await child.stdout.read()
        await child.wait()
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    try:
        report = json.loads(answer)
    except ValueError:
        report = None
    if not isinstance(report, dict):
        return {"ok": False, "said": f"the process that sends ended with {child.returncode}"}
    return report


def _judge(report: dict[str, Any], scheme: str) -> None:
    if report.get("ok"):
        return
    refused, said = report.get("refused"), report["said"]
    if refused:
        raise ActionError("egress_refused", f"Apprise ({scheme}://) wanted to connect to {refused}.", retryable=False)
    if report.get("unknown"):
        raise ActionError("apprise_refused", f"The URL is refused: {said}.", retryable=False)
    raise ActionError("apprise_failed", f"Apprise ({scheme}://): {said}")


def _without_secrets(said: str, url: str) -> str:
    """``said`` without the parts of the URL that may be tokens."""
    for part in re.split(r"[/?&=@:]+", url):
        if len(part) >= SHORTEST_TOKEN:
            said = said.replace(part, "…")
    return said


def _body(inputs: NotifyInput) -> str:
    lines = [inputs.text]
    lines += [f"{name}: {value}" for name, value in inputs.shown_fields().items()]
    lines += [f"{link.text}: {link.url}" for link in inputs.links]
    return "\n".join(lines)


def _openings(policy: EgressPolicy) -> list[dict[str, Any]]:
    return [
        {"host": one.host, "network": None if one.network is None else str(one.network), "port": one.port}
        for one in policy.openings
    ]
