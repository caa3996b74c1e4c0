"""One message on its way: the request that carries it, and what its answer must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from activities.egress import EgressPolicy
from activities.errors import ActionError
from activities.rest import check, host_of, send_json, to_json, without_address
from activities.web import Answer
from playbooks.record import Json


def taken(answer: Answer, who: str) -> str | None:
    """Any success will do, and says no id."""
    check(answer, who)
    return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A POST of ``document`` to ``url``.

    ``who`` is what messages call the other side, since the address may be a secret.  ``shown`` is the document without
    keys.  ``judge`` returns the id that the service gives, or raises ``ActionError``.  ``sign`` makes headers of the
    very bytes that are sent.
    """

    url: str
    document: dict[str, Json]
    who: str
    shown: dict[str, Json]
    judge: Callable[[Answer, str], str | None] = taken
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    sign: Callable[[bytes], dict[str, str]] = lambda content: {}


def webhook_name(url: str) -> str:
    """What messages call the webhook at ``url``.  Raises ``ActionError`` with code ``invalid_url``."""
    return f"the webhook at {host_of(url)}"


async def deliver(delivery: Delivery, policy: EgressPolicy) -> tuple[Answer, str | None]:
    """Send it; the answer and the service's id for it.  Raises ``ActionError``; no error shows the address."""
    content = to_json(delivery.document)
    headers = {**delivery.headers, **delivery.sign(content)}
    try:
        answer = await send_json("POST", delivery.url, policy, content=content, headers=headers)
    except ActionError as error:
        raise without_address(error, delivery.url, delivery.who) from None
    return answer, delivery.judge(answer, delivery.who)
