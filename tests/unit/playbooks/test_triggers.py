"""What starts a playbook: what is checked of it, and what a webhook's payload becomes."""

from __future__ import annotations

from typing import Any

import pytest

from playbooks.compile import compile_value
from playbooks.faults import DefinitionError
from playbooks.incoming import IncomingError, compile_incoming
from tests.unit.playbooks.catalogue import CATALOGUE

STEPS = [{"id": "a", "type": "delay", "duration": 0}]
PAYLOAD = {"host": "web-01", "score": 9.1, "tags": ["prod", "dmz"], "finding": {"id": "F-1", "severity": "high"}}


def trigger_of(trigger: Any, **more: Any) -> dict[str, Any]:
    """The trigger as it is stored."""
    return compile_value({"name": "p", "steps": STEPS, "trigger": trigger, **more}, CATALOGUE).trigger


def faults_of(trigger: Any, **more: Any) -> dict[str, str]:
    """Its faults, by place."""
    with pytest.raises(DefinitionError) as caught:
        trigger_of(trigger, **more)
    return {fault.path: fault.message for fault in caught.value.faults}


def counts(conditions: Any, payload: Any = PAYLOAD) -> bool:
    """Whether a payload starts a playbook with these conditions."""
    return compile_incoming(trigger_of({"event": "webhook", "conditions": conditions})).counts(payload, {})


@pytest.mark.parametrize(
    ("trigger", "path", "message"),
    [
        ({"event": "hourly"}, "/trigger/event", "match"),
        ({"event": "schedule"}, "/trigger", "needs"),
        ({"event": "schedule", "asset": "a"}, "/trigger", "needs cron"),
        ({"event": "schedule", "cron": "x", "asset": "a"}, "/trigger/cron", "five fields"),
        ({"event": "schedule", "cron": "@daily", "asset": "{{ 1 }}"}, "/trigger/asset", "constant"),
        ({"event": "schedule", "cron": "@daily", "asset": "a", "timezone": "no zone"}, "/trigger/timezone", "match"),
        ({"event": "webhook", "cron": "@daily"}, "/trigger/cron", "means nothing with event: webhook"),
        ({"event": "manual", "parameters": {}}, "/trigger/parameters", "means nothing"),
        ({"event": "webhook", "asset": "{{ payload. }}"}, "/trigger/asset", ""),
        ({"event": "webhook", "asset": "{{ asset.id }}"}, "/trigger/asset", "unknown name 'asset'"),
        ({"event": "webhook", "parameters": {"x": ["{{ secrets.x }}"]}}, "/trigger/parameters/x/0", "secrets"),
        ({"event": "webhook", "conditions": "payload.x =="}, "/trigger/conditions", ""),
        ({"event": "webhook", "conditions": "secrets.x == 1"}, "/trigger/conditions", "secrets"),
        ({"event": "webhook", "conditions": 7}, "/trigger/conditions", "an expression, an object, or a list"),
        ({"event": "webhook", "conditions": [{"field": 7}]}, "/trigger/conditions/0", "form"),
        (
            {"event": "webhook", "conditions": [{"field": "x", "operator": "like"}]},
            "/trigger/conditions/0/operator",
            "one of",
        ),
        (
            {"event": "webhook", "conditions": [{"field": "x", "operator": "in", "value": 1}]},
            "/trigger/conditions/0/value",
            "needs a list",
        ),
        (
            {"event": "webhook", "conditions": [{"field": "x", "operand": 1}]},
            "/trigger/conditions/0/operand",
            "unknown",
        ),
    ],
)
def test_a_faulty_trigger_is_told(trigger: Any, path: str, message: str) -> None:
    """With its place."""
    found = faults_of(trigger)
    assert path in found
    assert message in found[path]


def test_the_parameters_of_a_schedule_must_fit() -> None:
    """They are held to the schema when the playbook is stored; nobody is there when it runs."""
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    schedule = {"event": "schedule", "cron": "@daily", "asset": "a"}
    assert "/trigger" in faults_of(schedule, parameters=schema)
    assert "/trigger/parameters/n" in faults_of({**schedule, "parameters": {"n": "x"}}, parameters=schema)
    assert trigger_of({**schedule, "parameters": {"n": 1}}, parameters=schema)["parameters"] == {"n": 1}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (None, True),
        ("payload.score > 9.0", True),
        ("payload.score > 9.5", False),
        ({"severity": "high"}, True),
        ({"severity": ["high", "critical"]}, True),
        ({"severity": "low"}, False),
        ([], True),
        ([{"field": "severity", "value": "high"}], True),
        ([{"field": "severity", "operator": "ne", "value": "high"}], False),
        ([{"field": "severity", "operator": "in", "value": ["low", "high"]}], True),
        ([{"field": "severity", "operator": "not_in", "value": ["low", "high"]}], False),
        ([{"field": "id", "operator": "contains", "value": "-1"}], True),
        ([{"field": "owner", "operator": "exists"}], False),
        ([{"field": "owner", "operator": "exists", "value": False}], True),
        ([{"field": "owner", "operator": "gt", "value": 1}], False),
        ([{"field": "severity", "operator": "eq", "value": "high"}, {"field": "id", "value": "F-2"}], False),
    ],
)
def test_conditions(conditions: Any, expected: bool) -> None:
    """Of the finding in the payload; an expression of the payload itself."""
    assert counts(conditions) is expected


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [("gt", 9, True), ("gte", 9.1, True), ("lt", 9.1, False), ("lte", 9.1, True), ("gt", "9", False), ("eq", True, 0)],
)
def test_conditions_of_numbers(operator: str, value: Any, expected: bool) -> None:
    """Numbers are compared with numbers only, and without a finding the payload's own fields count."""
    payload = {"score": 9.1, "one": 1}
    name = "one" if value is True else "score"
    assert counts([{"field": name, "operator": operator, "value": value}], payload) is bool(expected)


def test_conditions_on_lists_and_deep_fields() -> None:
    """A list contains a value; a dotted path leads into objects."""
    payload = {"a": {"b": ["x", 1]}}
    assert counts([{"field": "a.b", "operator": "contains", "value": 1}], payload)
    assert not counts([{"field": "a.b", "operator": "contains", "value": True}], payload)
    assert not counts([{"field": "a.b.c", "operator": "exists"}], payload)


def test_conditions_that_give_no_truth_are_an_error() -> None:
    """A condition that cannot be evaluated must not start a playbook, and must not be silent either."""
    with pytest.raises(IncomingError, match="true or false"):
        counts("payload.score")
    with pytest.raises(IncomingError, match="conditions"):
        counts("payload.missing == 1")


def test_a_payload_becomes_asset_and_parameters() -> None:
    """By templates that keep the values' types."""
    trigger = {"event": "webhook", "asset": "{{ payload.host }}.example", "parameters": {"s": "{{ payload.score }}"}}
    wanted = compile_incoming(trigger_of(trigger)).wanted(PAYLOAD, {})
    assert (wanted.asset, wanted.parameters) == ("web-01.example", {"s": 9.1})


@pytest.mark.parametrize(
    ("payload", "asset"),
    [
        ({"target_asset_id": "a", "asset": {"id": "b"}, "finding": {"asset": {"id": "c"}}}, "a"),
        ({"asset": {"id": "b"}, "finding": {"asset": {"id": "c"}}}, "b"),
        ({"finding": {"asset": {"id": "c"}}}, "c"),
    ],
)
def test_a_payload_names_its_asset_by_itself(payload: Any, asset: str) -> None:
    """Without a template: as in the body of a run, else as the asset of the event or of its finding."""
    assert compile_incoming(trigger_of({"event": "webhook"})).wanted(payload, {}).asset == asset


@pytest.mark.parametrize(
    ("event", "payload", "parameters"),
    [
        ("webhook", {}, {}),
        ("webhook", {"parameters": {"n": 1}}, {"n": 1}),
        ("finding.created", {"id": "F-1"}, {"finding": {"id": "F-1", "target_asset_id": "a"}}),
        ("finding.created", {"finding": {"id": "F-2"}}, {"finding": {"id": "F-2"}}),
        ("finding.created", {"finding": {"id": "F-2"}, "parameters": {"n": 1}}, {"n": 1}),
    ],
)
def test_a_payload_gives_parameters_by_itself(event: str, payload: Any, parameters: Any) -> None:
    """Without templates: those that stand in it, else of a finding the finding."""
    wanted = compile_incoming(trigger_of({"event": event})).wanted({**payload, "target_asset_id": "a"}, {})
    assert wanted.parameters == parameters


def test_headers_are_in_scope() -> None:
    """With their names in lower case."""
    trigger = {"event": "webhook", "asset": "{{ headers['x-host'] }}"}
    assert compile_incoming(trigger_of(trigger)).wanted({}, {"x-host": "web-02"}).asset == "web-02"


@pytest.mark.parametrize(
    ("trigger", "payload"),
    [
        ({"event": "webhook"}, {}),
        ({"event": "webhook"}, []),
        ({"event": "webhook"}, {"target_asset_id": 7}),
        ({"event": "webhook"}, {"target_asset_id": ""}),
        ({"event": "webhook"}, {"target_asset_id": "a", "parameters": [1]}),
        ({"event": "webhook", "asset": "{{ payload.host }}"}, {}),
    ],
)
def test_a_payload_that_names_nothing(trigger: Any, payload: Any) -> None:
    """It is an error, not a run on something else."""
    with pytest.raises(IncomingError):
        compile_incoming(trigger_of(trigger)).wanted(payload, {})
