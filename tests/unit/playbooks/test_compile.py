"""What a definition compiles to."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft202012Validator

from playbooks.compile import compile_value, slug_of
from playbooks.definition import playbook_schema
from playbooks.plan import ActionStep, Next, OnFailure, Plan, Retry
from tests.unit.playbooks.catalogue import CATALOGUE, compiled

PUBLISHED = """
{"name": "Critical alert", "version": "1.0.0",
 "trigger": {"event": "finding.new", "conditions": {"severity": "critical"}},
 "on_failure": "continue", "timeout_minutes": 30,
 "parameters": [{"name": "channel", "type": "string", "default": "#ops"}],
 "steps": [
  {"id": "tell", "name": "Tell", "type": "action", "action_ref": "core.echo",
   "parameters": {"to": "{{ parameters.channel }}", "text": "On {{asset.name}}"},
   "on_success": "next", "on_failure": "abort"},
  {"id": "is-prod", "name": "Production?", "type": "condition", "expression": "'prod' in {{ asset.tags }}",
   "on_true": "wait", "on_false": "end"},
  {"id": "wait", "name": "wait", "type": "delay", "duration": 90},
  {"id": "ticket", "name": "Ticket", "type": "action", "action_ref": "ticket.open",
   "parameters": {"title": "Critical"}, "on_failure": "retry"}
 ]}
"""

OURS = """
name: Critical alert
trigger: {event: finding.new, conditions: {severity: critical}}
on_failure: continue
timeout_minutes: 30.0
parameters:
  additionalProperties: false
  properties: {channel: {type: string, default: "#ops"}}
steps:
  - id: tell
    name: Tell
    action_ref: core.echo
    parameters: {to: "{{ parameters.channel }}", text: "On {{asset.name}}"}
    on_failure: abort
  - id: is-prod
    name: Production?
    type: condition
    expression: " 'prod' in (asset.tags)"
    on_true: wait
    on_false: end
  - {id: wait, type: delay, duration: 1m30s}
  - id: ticket
    name: Ticket
    action_ref: ticket.open
    parameters: {title: Critical}
    on_failure: retry
"""


def action(text: str) -> ActionStep:
    """The first step of a definition, which is an action."""
    step = compiled(f"name: x\n{text}").plan.steps[0]
    assert isinstance(step, ActionStep)
    return step


def test_the_published_form_and_ours_are_one() -> None:
    """A playbook in S4E's spelling compiles to the plan of the same playbook in ours."""
    published, ours = compiled(PUBLISHED, "json"), compiled(OURS)
    assert published.plan == ours.plan
    assert (published.slug, published.trigger, published.version) == (ours.slug, ours.trigger, ours.version)
    assert published.parameters_schema["properties"] == ours.parameters_schema["properties"]


def test_the_plan() -> None:
    """Jumps are indexes, durations seconds, expressions trees, and traits those of the use of the action."""
    tell, prod, wait, ticket = compiled(OURS).plan.model_dump()["steps"]
    assert tell["parameters"][1] == [
        [["to"], "value", ["s", ["v", "parameters"], "channel"]],
        [["text"], "text", ["On ", ["x", ["s", ["v", "asset"], "name"]]]],
    ]
    assert (tell["safe"], tell["idempotent"], tell["quick"]) == (True, True, True)
    assert (prod["on_true"], prod["on_false"]) == ({"kind": "jump", "to": 2}, {"kind": "end"})
    assert prod["expression"] == ["c", "@in", ["k", "prod"], ["s", ["v", "asset"], "tags"]]
    assert (wait["duration"], wait["on_failure"]) == (90.0, {"kind": "continue"})
    assert (ticket["retry"], "on_failure" in ticket) == ({"max_attempts": 3}, False)


@pytest.mark.parametrize("text", [PUBLISHED, json.dumps(yaml.safe_load(OURS))])
def test_the_forms_of_a_text_are_one(text: str) -> None:
    """JSON is YAML too, and a value that was parsed elsewhere is the same definition."""
    plan = compiled(text, "json").plan
    assert compiled(text, "yaml").plan == plan
    assert compile_value(json.loads(text), CATALOGUE).plan == plan


@pytest.mark.parametrize("text", [PUBLISHED, OURS])
def test_a_plan_comes_back(text: str) -> None:
    """As it travels to the worker and into the database; defaults stay at home."""
    plan = compiled(text).plan
    told = plan.model_dump_json()
    assert Plan.model_validate_json(told) == plan
    assert "null" not in told


def test_ids_and_names_by_position() -> None:
    """A step without an id has one by its position; its name is that of the action, or its id."""
    text = "name: x\nsteps: [{action_ref: core.echo}, {id: b, action_ref: core.echo}, {type: delay, duration: 0}]"
    steps = compiled(text).plan.steps
    assert [(step.index, step.id, step.name) for step in steps] == [
        (0, "act-001", "Echo"),
        (1, "b", "b"),
        (2, "act-003", "act-003"),
    ]


@pytest.mark.parametrize(
    ("said", "retry"),
    [
        ("steps: [{action_ref: core.echo}]", Retry()),
        ("steps: [{action_ref: core.echo, on_failure: retry}]", Retry(max_attempts=3)),
        ("max_retries: 0\nsteps: [{action_ref: core.echo, on_failure: retry}]", Retry(max_attempts=1)),
        ("max_retries: 5\non_failure: retry\nsteps: [{action_ref: core.echo}]", Retry(max_attempts=6)),
        ("max_retries: 5\non_failure: retry\nsteps: [{action_ref: core.echo, on_failure: abort}]", Retry()),
        ("on_failure: retry\nsteps: [{action_ref: core.echo, retry: {max_attempts: 9}}]", Retry(max_attempts=9)),
        (
            "steps: [{action_ref: core.echo, retry: {initial_interval: 500ms, backoff: 1, max_interval: 2m}}]",
            Retry(max_attempts=3, initial_interval=0.5, backoff=1, max_interval=120),
        ),
    ],
)
def test_retries(said: str, retry: Retry) -> None:
    """The step's own retry stands before its `on_failure`, and that before the playbook's."""
    assert action(said).retry == retry


@pytest.mark.parametrize(
    ("head", "own", "way"),
    [
        ("", "", OnFailure()),
        ("on_failure: continue\n", "", OnFailure(kind="continue")),
        ("on_failure: continue\n", ", on_failure: abort", OnFailure()),
        ("on_failure: continue\n", ", on_failure: retry", OnFailure()),
        ("", ", on_failure: undo", OnFailure(kind="handler", to=1)),
    ],
)
def test_ways_of_failing(head: str, own: str, way: OnFailure) -> None:
    """The step's own strategy stands before the playbook's."""
    steps = f"steps: [{{action_ref: core.echo{own}}}, {{id: undo, action_ref: core.echo}}]"
    assert action(head + steps).on_failure == way


@pytest.mark.parametrize(
    ("target", "way"), [("next", Next()), ("end", Next(kind="end")), ("c", Next(kind="jump", to=2))]
)
def test_ways_of_going_on(target: str, way: Next) -> None:
    """What a condition does not say is where its success leads."""
    text = f"""name: x
steps:
  - {{id: a, type: condition, expression: 'true', on_success: {target}, on_false: next}}
  - {{id: b, action_ref: core.echo}}
  - {{id: c, action_ref: core.echo}}
"""
    first = compiled(text).plan.model_dump()["steps"][0]
    assert Next(**first.get("on_true", {})) == way
    assert "on_false" not in first


def test_a_condition_may_be_a_constant() -> None:
    """`when: false` of YAML is an expression too."""
    assert action("steps: [{action_ref: core.echo, when: false}]").when == ["k", False]


@pytest.mark.parametrize(("parameters", "idempotent"), [("{title: t}", False), ("{title: t, key: k}", True)])
def test_traits_are_those_of_the_use(parameters: str, idempotent: bool) -> None:
    """What an action may be done with can depend on its parameters."""
    assert action(f"steps: [{{action_ref: ticket.open, parameters: {parameters}}}]").idempotent is idempotent


def test_secrets_leave_only_their_names_in_the_plan() -> None:
    """Their values come to the worker alone."""
    step = action("steps: [{action_ref: core.echo, parameters: {t: 'Bearer {{ secrets.token }}'}}]")
    assert step.parameters[1] == [[["t"], "text", ["Bearer ", ["secret", "token"]]]]


def test_what_stands_beside_the_plan() -> None:
    """The definition as it was written, and what is listed of it."""
    text = "id: pb-7\nname: x\ntags: [a]\nparameters: [{name: t, type: secret}]\nsteps: [{action_ref: core.echo}]\n"
    result = compiled(text)
    assert (result.id, result.version, result.tags, result.trigger) == ("pb-7", "1.0.0", ["a"], {"event": "manual"})
    assert result.secret_parameters == ["t"]
    assert result.definition == yaml.safe_load(text)
    assert result.plan.timeout is None


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Automated patching", "automated-patching"),
        ("  Über--Prüfung №7! ", "uber-prufung-no7"),
        ("a" * 63 + " b", "a" * 63),
        ("a" * 200, "a" * 64),
        ("…", ""),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    """Words of ASCII, at most 64 characters, with no dash at an end."""
    assert slug_of(name) == slug


@pytest.mark.parametrize("text", [PUBLISHED, OURS])
def test_the_schema_for_editors_takes_what_compiles(text: str) -> None:
    """The published JSON Schema of the format is one, and agrees."""
    value: Any = yaml.safe_load(text)
    validator = Draft202012Validator(playbook_schema())
    assert [error.message for error in validator.iter_errors(value)] == []
    value["steps"][0]["parametres"] = {}
    assert not validator.is_valid(value)


@pytest.mark.parametrize(("field", "valid"), [({"timeout": 0}, False), ({"timeout": 0.5}, True)])
def test_the_schema_for_editors_refuses_no_time_at_all(field: dict[str, float], valid: bool) -> None:
    """As the API does, where a duration must be more than 0; a delay may be none."""
    steps = [{"action_ref": "core.echo", **field}, {"type": "delay", "duration": 0}]
    assert Draft202012Validator(playbook_schema()).is_valid({"name": "x", "steps": steps}) is valid
