"""Writes docs/settings.md from settings.py: ``python scripts/settings_page.py``.

``python scripts/settings_page.py --check`` only compares, and ends with 1 where the page is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from settings import Settings

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
HEAD = """\
# Settings

Every setting is an environment variable. API, worker and `stanchion migrate` read the same ones, once, when they
start; `stanchion up` hands them on to its parts. Times are seconds, sizes bytes. This page is made from `settings.py`
by `scripts/settings_page.py`, and a test holds the two together.

| variable | default | what it is |
| --- | --- | --- |
"""
FOOT = """
A variable that is set counts, also when its value is empty: leave out what is to keep its default.

What is marked as secret, and `STANCHION_DATABASE_URL`, may stand in a file instead: `STANCHION_ADMIN_TOKEN_FILE` names
the file with the token, as Docker, Kubernetes and systemd hand secrets over. A file that cannot be read, and a secret
given in both ways, stop the process with a sentence.

## Secrets of playbooks

`{{ secrets.slack_webhook_url }}` in the parameters of an action is filled in on the worker immediately before the
action runs, and never stands in Temporal's history, in a log, in an output, in an artifact or in an error. A worker
looks in this order, and takes the first that is not empty:

1. its environment: `STANCHION_SECRET_SLACK_WEBHOOK_URL`;
2. the folder `STANCHION_SECRETS_DIR`: the file `slack_webhook_url`, without the line break at its end;
3. the database: what `stanchion secret set slack_webhook_url` has stored, encrypted with `STANCHION_ENCRYPTION_KEY` and
   bound to its name. Without that key nothing is stored. After a new key was put in front, a secret is encrypted with
   it when it is set again; until then the old key must stay in the list. Setting, listing and deleting need the
   permission `secret:write`; nothing shows a value, and the audit trail has the names alone;
4. Vault, where `STANCHION_VAULT_URL` is set: the key `value` of `<mount>/<path>/slack_webhook_url` in a KV engine of
   version 2, with a token or as an AppRole. What was found is kept for half a minute. Playbooks cannot choose the
   address, so the egress guard does not look at it; its certificate is always checked.

A secret that none of them has fails the step with `unknown_secret`, which names the places; a place that cannot be
asked, with `secrets_unavailable`.

## Temporal's own variables

`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_…` and the rest of
[Temporal's client configuration](https://docs.temporal.io/develop/environment-configuration) win over
`STANCHION_TEMPORAL_ADDRESS` and `STANCHION_TEMPORAL_NAMESPACE` in API, worker and `stanchion migrate`. A configuration
file is read only when `TEMPORAL_CONFIG_FILE` or `TEMPORAL_PROFILE` asks for it. `stanchion up` ignores them all, since
it brings its own server.

## Traces and logs

With the extra `traces` (it is in the image) and `OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318` (or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) in the environment, API and worker send spans by OTLP over HTTP: the request,
under the caller's `traceparent`, the start, the workflow and each activity, as one trace. OpenTelemetry's other
variables count as well; `OTEL_SDK_DISABLED=true` turns it off. A line of a run in the logs has `execution_id`,
`playbook_id`, `asset_id`, on the worker `step_id` and `attempt`, and with traces `trace_id`.

## The command line as a client

| variable | default | what it is |
| --- | --- | --- |
| `STANCHION_URL` | `http://127.0.0.1:8080` | Where the API is. |
| `STANCHION_TOKEN` | | Token of the API; for an API on this machine, that of the data folder is the default. |
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items()) + FOOT


def _row(name: str, field: FieldInfo) -> str:
    return f"| `STANCHION_{name.upper()}` | {_default(field)} | {_meaning(field)} |\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    return "" if value in (None, "") else f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    words = [field.description or "", *_limits(field)]
    if field.annotation == SecretStr | None:
        words.append("Secret.")
    return " ".join(words).replace("|", "\\|")


def _limits(field: FieldInfo) -> Iterator[str]:
    for rule in field.metadata:
        if (least := getattr(rule, "ge", None)) is not None:
            yield f"At least {least}."
        if (below := getattr(rule, "gt", None)) is not None:
            yield f"More than {below}."


def main(arguments: list[str]) -> int:
    """Writes the page, or compares it; the exit code is 1 where it differs."""
    if "--check" in arguments:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
