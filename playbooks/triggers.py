"""What starts a playbook: a request, a schedule, or a webhook; and what is checked of it when it is stored.

``manual`` is the default.  ``schedule`` says when, on which asset and with which parameters.  ``webhook``, and the
``finding.…`` events that arrive the same way, say how a payload becomes an asset and parameters
(``playbooks.incoming``).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from playbooks.check import Expressions, Faults
from playbooks.cron import parse_cron
from playbooks.document import pointer
from playbooks.fields import Model, Text
from playbooks.incoming import SCOPE, condition_problems
from playbooks.parameters import ParameterErrors, validate_parameters
from playbooks.parsing import compile_template
from playbooks.record import Json

SCHEDULE: Final = "schedule"
MANUAL: Final = "manual"

_ASSET: Final = "Id of an asset, or a hostname, address or name that only one has; of a webhook, a template."
_NO_SECRETS: Final = "secrets may be used only in the parameters of an action"
_ONLY: Final = {
    "cron": (SCHEDULE,),
    "timezone": (SCHEDULE,),
    "asset": (SCHEDULE, "webhook"),
    "parameters": (SCHEDULE, "webhook"),
}
"""The events with which a field means something; ``conditions`` of S4E's playbooks are taken everywhere."""


class Trigger(Model):
    """What starts the playbook."""

    event: Annotated[str, StringConstraints(pattern=r"^(manual|schedule|webhook|finding\.[a-z_.]{1,64})$")] = MANUAL
    cron: Annotated[Text | None, Field(description="minute hour day month weekday, or @daily and the like.")] = None
    timezone: Annotated[
        str | None,
        StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$"),
        Field(description="IANA name such as Europe/Berlin; UTC without it."),
    ] = None
    asset: Annotated[Text | None, Field(description=_ASSET)] = None
    parameters: dict[str, Any] | None = None
    conditions: Any = None


def takes_webhooks(event: str) -> bool:
    """Whether a playbook with this event is started by webhooks."""
    return event not in (MANUAL, SCHEDULE)


def check_trigger(trigger: Trigger, schema: dict[str, Json] | None, faults: Faults) -> None:
    """Notes everything that is wrong with a trigger; ``schema`` is of the playbook's parameters, None for a bad one."""
    kind = "webhook" if takes_webhooks(trigger.event) else trigger.event
    for name, kinds in _ONLY.items():
        if getattr(trigger, name) is not None and kind not in kinds:
            faults.add(("trigger", name), f"this means nothing with event: {trigger.event}")
    if kind == SCHEDULE:
        _check_schedule(trigger, schema, faults)
    elif kind == "webhook":
        _check_webhook(trigger, faults)


def _check_schedule(trigger: Trigger, schema: dict[str, Json] | None, faults: Faults) -> None:
    if trigger.cron is None:
        faults.add(("trigger",), "a schedule needs cron: minute hour day month weekday")
    else:
        try:
            parse_cron(trigger.cron)
        except ValueError as error:
            faults.add(("trigger", "cron"), str(error))
    if trigger.asset is None:
        faults.add(("trigger",), "a schedule needs the asset that the playbook runs on")
    if "{{" in str(trigger.asset):
        faults.add(("trigger", "asset"), "the asset of a schedule is constant; a template has nothing to stand on")
    if schema is None:
        return
    try:
        validate_parameters(schema, trigger.parameters or {})
    except ParameterErrors as error:
        for fault in error.faults:
            path = tuple(part.replace("~1", "/").replace("~0", "~") for part in fault.path.split("/")[1:])
            faults.add(_existing(trigger.parameters, path), f"{pointer(path) or 'the parameters'}: {fault.message}")


def _existing(parameters: dict[str, Json] | None, path: tuple[str, ...]) -> tuple[str | int, ...]:
    """The place in the definition that is nearest to ``path`` in the parameters."""
    if parameters is None:
        return ("trigger",)
    return ("trigger", "parameters", path[0]) if path and path[0] in parameters else ("trigger", "parameters")


def _check_webhook(trigger: Trigger, faults: Faults) -> None:
    expressions = Expressions(SCOPE)
    for name in ("asset", "parameters"):
        value = getattr(trigger, name)
        if value is None:
            continue
        parsed = compile_template(value, expressions.compile)
        for problem in parsed.problems:
            faults.add_within(("trigger", name, *problem.path), *problem.place(value), problem.message)
        for use in parsed.references:
            if use.reference.root == "secrets":
                faults.add(("trigger", name, *use.path), _NO_SECRETS)
    for path, message in condition_problems(trigger.conditions, expressions.compile):
        faults.add(("trigger", "conditions", *path), message)
