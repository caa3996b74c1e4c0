"""Alerts for those on call: PagerDuty (Events API v2) and Opsgenie (alert API), both idempotent by the alert's key."""

from __future__ import annotations

from urllib.parse import quote

from activities.action import ActionContext
from activities.errors import ActionError
from activities.marker import marker
from activities.rest import check, excerpt, host_of, parsed
from activities.tell.delivery import Delivery
from activities.tell.notice import NotifyInput, cut
from activities.web import Answer
from playbooks.record import Json

PAGERDUTY = "https://events.pagerduty.com"
OPSGENIE = "https://api.opsgenie.com"
CLIENT = "Stanchion"

PAGERDUTY_SEVERITY = {"critical": "critical", "high": "error", "medium": "warning", "low": "info", "info": "info"}
OPSGENIE_PRIORITY = {"critical": "P1", "high": "P2", "medium": "P3", "low": "P4", "info": "P5"}
OPSGENIE_VERBS = {"acknowledge": "acknowledge", "resolve": "close"}


def pagerduty(inputs: NotifyInput, context: ActionContext) -> Delivery:
    """An event for the service of the routing key."""
    base = (inputs.url or PAGERDUTY).rstrip("/")
    key = inputs.key or marker(context)
    event: dict[str, Json] = {"event_action": inputs.event, "dedup_key": key}
    if inputs.event == "trigger":
        details: dict[str, Json] = {**inputs.shown_fields()}
        if inputs.title:
            details["text"] = inputs.text
        event["payload"] = {
            "summary": cut(inputs.title or inputs.text, 1024),
            "source": inputs.source or context.asset_id or CLIENT,
            "severity": PAGERDUTY_SEVERITY[inputs.severity or "medium"],
            "custom_details": details,
        }
        event["client"] = CLIENT
        event["links"] = [{"href": link.url, "text": link.text} for link in inputs.links]
    document = {"routing_key": inputs.token, **event}
    who = f"PagerDuty at {host_of(base)}"
    return Delivery(f"{base}/v2/enqueue", document, who, event, _judge_pagerduty, key=key)


def _judge_pagerduty(answer: Answer, who: str) -> str | None:
    check(answer, who)
    said = parsed(answer, who)
    if not isinstance(said, dict) or said.get("status") != "success":
        raise ActionError("bad_answer", f"{who} answered {answer.status}, but no success{excerpt(answer)}", False)
    return None


def opsgenie(inputs: NotifyInput, context: ActionContext) -> Delivery:
    """An alert, or its acknowledgement or end; Opsgenie takes it up and does it a moment later."""
    base = (inputs.url or OPSGENIE).rstrip("/")
    key = inputs.key or marker(context)
    if inputs.event == "trigger":
        url, document = f"{base}/v2/alerts", _alert(inputs, key)
    else:
        verb = OPSGENIE_VERBS[inputs.event]
        url = f"{base}/v2/alerts/{quote(key, safe='')}/{verb}?identifierType=alias"
        document = {"source": CLIENT, "note": cut(inputs.text, 25_000)}
    headers = {"authorization": f"GenieKey {inputs.token}"}
    return Delivery(url, document, f"Opsgenie at {host_of(base)}", document, _judge_opsgenie, headers, key)


def _alert(inputs: NotifyInput, key: str) -> dict[str, Json]:
    links = [f"{link.text}: {link.url}" for link in inputs.links]
    alert: dict[str, Json] = {
        "message": cut(inputs.title or inputs.text, 130),
        "alias": key,
        "description": cut("\n".join([inputs.text, *links]), 15_000),
        "details": {name: cut(value, 300) for name, value in inputs.shown_fields().items()},
        "source": CLIENT,
    }
    if inputs.severity:
        alert["priority"] = OPSGENIE_PRIORITY[inputs.severity]
    if inputs.source:
        alert["entity"] = inputs.source
    return alert


def _judge_opsgenie(answer: Answer, who: str) -> str | None:
    check(answer, who)
    said = parsed(answer, who)
    if not isinstance(said, dict) or "requestId" not in said:
        raise ActionError("bad_answer", f"{who} answered {answer.status} without a requestId{excerpt(answer)}", False)
    return str(said["requestId"])
