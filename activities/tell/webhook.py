"""A message to any webhook, signed as Standard Webhooks say (standardwebhooks.com, specification 1.0)."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import time
from functools import partial

from activities.action import ActionContext
from activities.errors import ActionError
from activities.marker import marker
from activities.tell.delivery import Delivery, webhook_name
from activities.tell.notice import NotifyInput
from playbooks.record import Json

TYPE = "stanchion.notification"


def webhook(inputs: NotifyInput, context: ActionContext) -> Delivery:
    """The message as JSON.  Its ``webhook-id`` is the same in each attempt: a receiver can tell a repeat by it."""
    url = inputs.url or ""
    seconds = int(time.time())
    sent_at = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document: dict[str, Json] = {"type": TYPE, "timestamp": sent_at, "data": _data(inputs, context)}
    message_id = f"msg_{marker(context)}"
    headers = {"webhook-id": message_id, "webhook-timestamp": str(seconds)}
    shown: dict[str, Json] = {"type": TYPE, "data": document["data"]}
    delivery = Delivery(url, document, webhook_name(url), shown, headers=headers, key=None)
    if inputs.signing_secret is None:
        return delivery
    secret = signing_key(inputs.signing_secret)
    return Delivery(
        url,
        document,
        delivery.who,
        shown,
        headers=headers,
        sign=partial(_signature, secret, message_id, seconds),
    )


def _data(inputs: NotifyInput, context: ActionContext) -> Json:
    return {
        "title": inputs.title,
        "text": inputs.text,
        "severity": inputs.severity,
        "fields": dict(inputs.fields),
        "links": [link.model_dump() for link in inputs.links],
        "channel": inputs.channel,
        "execution_id": context.execution_id,
        "playbook_id": context.playbook_id,
        "asset_id": context.asset_id,
        "step_id": context.step_id,
    }


def signing_key(secret: str) -> bytes:
    """The bytes of a ``whsec_`` secret.  Raises ``ActionError`` with code ``invalid_input``."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ActionError("invalid_input", "signing_secret is not whsec_ and base64.", retryable=False)
    return key


def _signature(secret: bytes, message_id: str, seconds: int, content: bytes) -> dict[str, str]:
    signed = f"{message_id}.{seconds}.".encode() + content
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return {"webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}
