"""What the actions that speak to a service share: a JSON request, and the service's refusals in stable codes.

The codes: ``unauthorized`` (401), ``forbidden`` (403), ``not_found`` (404, 410), ``rate_limited`` (429),
``service_failed`` (5xx), ``refused`` (every other answer that is no success) and ``bad_answer`` (a success that makes
no sense).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from activities.egress import EgressPolicy
from activities.errors import ActionError
from activities.http_request import retry_after
from activities.scrub import scrubbed
from activities.web import Answer, Call, parse_url, send, shown
from playbooks.record import Json

TIMEOUT = 15.0
"""Seconds for one request."""

SHOWN_OF_ANSWER = 200

SERVICE_ERRORS: Mapping[str, str] = {
    "unauthorized": "The service does not know the token or key (401).",
    "forbidden": "The service knows the token, but does not let it do this (403).",
    "not_found": "The address, project or object is not there, or not for this token (404, 410).",
    "rate_limited": "The service asks for fewer requests (429); worth a retry, after the time that it says.",
    "service_failed": "The service failed (5xx); worth a retry.",
    "refused": "The service does not take the request; its own words stand in the message.",
    "bad_answer": "The answer is not what the service's documentation says, as from a login page or a proxy.",
}
"""What each code of this module means, for the actions' documentation."""


async def send_json(
    method: str,
    url: str,
    policy: EgressPolicy,
    document: Json = None,
    *,
    headers: Mapping[str, str] | None = None,
    query: list[tuple[str, str]] | None = None,
    content: bytes | None = None,
    max_bytes: int = 256 * 1024,
) -> Answer:
    """Send ``document`` (or ``content``, where its very bytes matter) and read the answer, whatever its status.

    Redirects are not followed: a POST would arrive as a GET.  Raises ``ActionError`` as ``activities.web.send`` does.
    """
    body = content if content is not None or document is None else to_json(document)
    own = {"content-type": "application/json; charset=utf-8"} if body is not None else {}
    call = Call(
        method,
        url,
        {**own, **(headers or {})},
        query=query or [],
        content=body,
        timeout=TIMEOUT,
        follow_redirects=False,
        max_bytes=max_bytes,
    )
    return await send(call, policy)


def to_json(document: Json) -> bytes:
    """``document`` as it is sent."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def without_address(error: ActionError, url: str, name: str) -> ActionError:
    """``error`` with ``name`` where its message shows ``url``: the address of a webhook is as good as a password."""
    parsed = parse_url(url)
    message = error.message
    for form in (url, str(parsed), shown(parsed)):
        message = message.replace(form, name)
    return ActionError(error.code, message, error.retryable, error.retry_after)


def host_of(url: str) -> str:
    """The host of ``url``.  Raises ``ActionError`` with code ``invalid_url``."""
    return parse_url(url).host


def check(answer: Answer, who: str) -> None:
    """Raise ``ActionError`` unless the answer is a success; ``who`` answered, as a message calls it."""
    if 200 <= answer.status < 300:
        return
    said = excerpt(answer)
    if answer.status == 429:
        raise ActionError("rate_limited", f"{who} asks for fewer requests.", True, retry_after(answer))
    if answer.status >= 500:
        message = f"{who} failed with {answer.status}{said}"
        raise ActionError("service_failed", message, True, retry_after(answer))
    code = {401: "unauthorized", 403: "forbidden", 404: "not_found", 410: "not_found"}.get(answer.status, "refused")
    raise ActionError(code, f"{who} answered {answer.status}{said}", retryable=answer.status in (408, 425))


def excerpt(answer: Answer) -> str:
    """The beginning of the answer's text after a colon, or nothing."""
    text = " ".join(scrubbed(answer.text)[:SHOWN_OF_ANSWER].split())
    return f": {text}" if text else ""


def parsed(answer: Answer, who: str) -> Any:
    """The JSON of an answer.  Raises ``ActionError`` with code ``bad_answer`` when it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise ActionError("bad_answer", f"{who} answered {answer.status} without JSON{excerpt(answer)}") from None
