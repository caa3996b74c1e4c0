"""Messages for Slack, Teams and Discord, each in its own layout and within its limits; what is longer is cut."""

from __future__ import annotations

import json

from activities.action import ActionContext
from activities.errors import ActionError
from activities.rest import check, excerpt, parsed
from activities.tell.delivery import Delivery, webhook_name
from activities.tell.notice import NotifyInput, cut
from activities.web import Answer, parse_url
from playbooks.record import Json

COLOURS = {"critical": 0xB00020, "high": 0xE65100, "medium": 0xF9A825, "low": 0x1565C0, "info": 0x607D8B}
CARD_COLOURS = {"critical": "Attention", "high": "Attention", "medium": "Warning", "low": "Accent", "info": "Default"}
CARD_LIMIT = 27_000
"""Bytes of a message to Teams, which takes 28 KB with its envelope."""

EMBED_LIMIT = 5_900
"""Characters of an embed in all; Discord takes 6,000."""


def slack(inputs: NotifyInput, context: ActionContext) -> Delivery:
    """To an incoming webhook of Slack, or what takes the same, as Mattermost, which shows the text alone."""
    url = inputs.url or ""
    lines = [_escaped(inputs.text)]
    if inputs.title:
        lines.insert(0, f"*{_escaped(inputs.title)}*")
    message: dict[str, Json] = {"text": cut("\n".join(lines), 39_000), "blocks": _slack_blocks(inputs)}
    if inputs.channel:
        message["channel"] = inputs.channel
    return Delivery(url, message, webhook_name(url), message, judge_slack)


def judge_slack(answer: Answer, who: str) -> None:
    """Slack says ``ok``; a login page with status 200 has not delivered the message."""
    check(answer, who)
    if answer.text.strip() != "ok":
        raise ActionError("bad_answer", f"{who} answered {answer.status}, but not ok{excerpt(answer)}", False)


def _slack_blocks(inputs: NotifyInput) -> list[Json]:
    blocks: list[Json] = []
    if inputs.title:
        blocks.append({"type": "header", "text": {"type": "plain_text", "text": cut(inputs.title, 150)}})
    severity = f"*{inputs.severity.upper()}*  " if inputs.severity else ""
    blocks.append(_section(severity + cut(_escaped(inputs.text), 2900)))
    fields: list[Json] = [
        {"type": "mrkdwn", "text": cut(f"*{_escaped(name)}*\n{_escaped(value)}", 2000)}
        for name, value in inputs.shown_fields().items()
    ]
    # Slack takes ten fields a section.
    blocks += [{"type": "section", "fields": fields[start : start + 10]} for start in range(0, len(fields), 10)]
    if inputs.links:
        links = "  ·  ".join(f"<{_escaped(link.url)}|{_escaped(link.text)}>" for link in inputs.links)
        blocks.append(_section(cut(links, 3000)))
    return blocks


def _section(text: str) -> dict[str, Json]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(text: str) -> str:
    """Without what Slack would take as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def teams(inputs: NotifyInput, context: ActionContext) -> Delivery:
    """To a workflow of Teams that posts when a webhook request is received: an Adaptive Card."""
    url = inputs.url or ""
    message = _card_message(inputs, inputs.text)
    excess = len(json.dumps(message)) - CARD_LIMIT
    if excess > 0:
        # Every character of the text takes up to twelve bytes of the JSON.
        message = _card_message(inputs, cut(inputs.text, max(200, len(inputs.text) - excess)))
    return Delivery(url, message, webhook_name(url), message, _judge_teams)


def _card_message(inputs: NotifyInput, text: str) -> dict[str, Json]:
    colour = CARD_COLOURS.get(inputs.severity or "", "Default")
    body: list[Json] = []
    if inputs.title:
        body.append(_text_block(cut(inputs.title, 500), weight="Bolder", size="Medium", color=colour))
    body.append(_text_block(text))
    facts: list[Json] = [
        {"title": cut(name, 200), "value": cut(value, 500)} for name, value in inputs.shown_fields().items()
    ]
    if inputs.severity:
        facts.insert(0, {"title": "Severity", "value": inputs.severity})
    if facts:
        body.append({"type": "FactSet", "facts": facts})
    card: dict[str, Json] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": link.text, "url": link.url} for link in inputs.links],
    }
    attachment: Json = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _text_block(text: str, **look: Json) -> dict[str, Json]:
    return {"type": "TextBlock", "text": text, "wrap": True, **look}


def _judge_teams(answer: Answer, who: str) -> None:
    """A workflow answers 202 and nothing; a page of HTML is somebody else."""
    check(answer, who)
    if "html" in answer.headers.get("content-type", ""):
        raise ActionError("bad_answer", f"{who} answered {answer.status} with a web page.", False)


def discord(inputs: NotifyInput, context: ActionContext) -> Delivery:
    """To a webhook of Discord: an embed.  Nobody is mentioned, whatever the text says."""
    url = inputs.url or ""
    # With wait=true Discord answers once the message is there, and with its id.
    waiting = str(parse_url(url).copy_merge_params({"wait": "true"}))
    message: dict[str, Json] = {"embeds": [_embed(inputs)], "allowed_mentions": {"parse": []}}
    return Delivery(waiting, message, webhook_name(url), message, _judge_discord)


def _embed(inputs: NotifyInput) -> dict[str, Json]:
    embed: dict[str, Json] = {"description": cut(inputs.text, 3000)}
    if inputs.title:
        embed["title"] = cut(inputs.title, 256)
    if inputs.severity:
        embed["color"] = COLOURS[inputs.severity]
    pairs = [(cut(name, 256) or "-", cut(value, 1024) or "-") for name, value in inputs.shown_fields().items()]
    pairs += [("Link", cut(f"[{link.text}]({link.url})", 1024)) for link in inputs.links][: 25 - len(pairs)]
    room = EMBED_LIMIT - len(str(embed.get("title", ""))) - len(str(embed["description"]))
    fields: list[Json] = []
    for name, value in pairs:
        room -= len(name) + len(value)
        if room < 0:
            break
        fields.append({"name": name, "value": value, "inline": len(value) <= 40})
    if fields:
        embed["fields"] = fields
    return embed


def _judge_discord(answer: Answer, who: str) -> str | None:
    check(answer, who)
    if answer.status == 204:
        return None
    message = parsed(answer, who)
    return str(message["id"]) if isinstance(message, dict) and "id" in message else None
