"""What is checked of a definition when it is stored: each fault with its place, and all of them at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from playbooks.compile import compile_value
from playbooks.faults import DefinitionError
from playbooks.load import load
from tests.unit.playbooks.catalogue import CATALOGUE, faults_of

ECHO = "{id: a, action_ref: core.echo}"
OWN = "a step is named by its id: steps.<id> or steps['<id>']"
DURATION = "this must be a duration such as 30s, 4h or 1h30m, or a number of seconds"
SECRETS = "secrets may be used only in the parameters of an action"


def told(text: str) -> tuple[str, str, int | None, int | None]:
    """The one fault of a definition in YAML: pointer, message, line and column."""
    faults = faults_of(text)
    assert len(faults) == 1, faults
    return faults[0].path, faults[0].message, faults[0].line, faults[0].column


def in_step(step: str, head: str = "") -> str:
    """A definition with that step as its third, in line 5 from column 5; two steps ``a`` and ``patch`` come first."""
    return f"name: x\nsteps:\n  - {ECHO}\n  - {{id: patch, action_ref: core.echo}}\n  - {step}\n{head}"


@pytest.mark.parametrize(
    ("step", "path", "message", "column"),
    [
        ("text", "", "a step is an object", 5),
        ("{id: a, action_ref: core.echo}", "/id", "the id `a` is taken by the step at position 1", 6),
        ("{id: b c, action_ref: core.echo}", "/id", "this must match ^[A-Za-z_][A-Za-z0-9_-]{0,63}$", 6),
        ("{id: 5, action_ref: core.echo}", "/id", "this must be text", 6),
        *(
            (
                f"{{id: {word}, action_ref: core.echo}}",
                "/id",
                f"`{word}` has a meaning of its own and cannot be the id of a step",
                6,
            )
            for word in ("next", "end", "abort", "continue", "retry", "approve")
        ),
        ("{id: b}", "/action_ref", "this is required", 5),
        ("{action_ref: core.ecko}", "/action_ref", "there is no action `core.ecko`; is `core.echo` meant?", 6),
        ("{action_ref: nmap}", "/action_ref", "there is no action `nmap`", 6),
        ("{action_ref: core.echo, parametres: {}}", "/parametres", "this field is unknown", 29),
        ("{action_ref: core.echo, parameters: [1]}", "/parameters", "this must be an object", 29),
        ("{action_ref: core.echo, run: always}", "/run", "this must be 'on_failure_only'", 29),
        ("{action_ref: core.echo, name: ''}", "/name", "this must have at least 1 characters", 29),
        ("{type: condition}", "/expression", "this is required", 5),
        ("{type: condition, expression: ''}", "/expression", "this must have at least 1 characters", 23),
        ("{type: condition, expression: 5}", "/expression", "this must be text", 23),
        (
            "{type: condition, expression: 'true', on_failure: retry}",
            "/on_failure",
            "only an action can be tried again",
            43,
        ),
        ("{type: delay}", "/duration", "this is required", 5),
        ("{type: delay, duration: 5x}", "/duration", DURATION, 19),
        ("{type: delay, duration: ''}", "/duration", DURATION, 19),
        ("{type: delay, duration: -1s}", "/duration", DURATION, 19),
        ("{type: delay, duration: true}", "/duration", DURATION, 19),
        ("{type: delay, duration: -1}", "/duration", "a duration is between 0 and 366 days", 19),
        ("{type: delay, duration: 366d1s}", "/duration", "a duration is between 0 and 366 days", 19),
        ("{action_ref: core.echo, timeout: 0s}", "/timeout", "this duration must be more than 0", 29),
        ("{action_ref: core.echo, retry: {backoff: 0.5}}", "/retry/backoff", "this must be 1.0 or more", 37),
        ("{action_ref: core.echo, retry: {max_attempts: 0}}", "/retry/max_attempts", "this must be 1 or more", 37),
        ("{action_ref: core.echo, retry: {max_attempts: 1.5}}", "/retry/max_attempts", "this must be an integer", 37),
        ("{action_ref: core.echo, retry: {tries: 1}}", "/retry/tries", "this field is unknown", 37),
    ],
)
def test_fields_of_a_step(step: str, path: str, message: str, column: int) -> None:
    """A wrong, missing, unknown or repeated field is told where it stands."""
    assert told(in_step(step)) == ("/steps/2" + path, message, 5, column)


def test_unknown_types_of_steps_are_told_with_the_known() -> None:
    """Who misspells a type sees those that there are."""
    path, message, *place = told(in_step("{type: conditoin, expression: 'true'}"))
    assert (path, place) == ("/steps/2/type", [5, 6])
    assert message.startswith("there is no such type of step; there are action, condition, delay")


def test_an_id_that_a_position_has_taken() -> None:
    """A step without an id has one by its position, and that counts too."""
    text = "name: x\nsteps:\n  - action_ref: core.echo\n  - {action_ref: core.echo, id: act-001}\n"
    assert told(text) == ("/steps/1/id", "the id `act-001` is taken by the step at position 1", 4, 29)


@pytest.mark.parametrize(
    ("step", "path", "message"),
    [
        (
            "{action_ref: core.echo, on_success: patsh}",
            "/on_success",
            "there is no step `patsh`; this is next, end or a later step; is `patch` meant?",
        ),
        (
            "{action_ref: core.echo, on_failure: undo}",
            "/on_failure",
            "there is no step `undo`; this is abort, continue, retry or a later step",
        ),
        (
            "{type: condition, expression: 'true', on_true: abort}",
            "/on_true",
            "there is no step `abort`; this is next, end or a later step",
        ),
        (
            "{type: condition, expression: 'true', on_false: patch}",
            "/on_false",
            "the step `patch` comes earlier: jumps lead forward only",
        ),
        (
            "{action_ref: core.echo, on_success: a}",
            "/on_success",
            "the step `a` comes earlier: jumps lead forward only",
        ),
        (
            "{action_ref: core.echo, on_failure: a}",
            "/on_failure",
            "the step `a` comes earlier: jumps lead forward only",
        ),
        ("{id: me, action_ref: core.echo, on_failure: me}", "/on_failure", "a step cannot jump to itself"),
    ],
)
def test_jumps(step: str, path: str, message: str) -> None:
    """A jump leads to a later step that there is."""
    assert told(in_step(step))[:2] == ("/steps/2" + path, message)


@pytest.mark.parametrize(
    ("expression", "message", "offset"),
    [
        ("true && steps.patsh.output", "there is no step `patsh`; is `patch` meant?", 8),
        ("true && steps['patsh'].output", "there is no step `patsh`; is `patch` meant?", 8),
        ("steps.later.output", "the step `later` cannot have run yet: it comes later", 0),
        ("steps.me.status", "the step `me` cannot refer to itself", 0),
        ("size(steps) == 2", OWN, 5),
        ("steps.a.outptu", "a step has no `outptu`; it has status, output, error", 0),
        ("parameters.verzion == '1'", "there is no parameter `verzion`; is `version` meant?", 0),
        ("asset.nmae == ''", "asset has no `nmae`; it has id, name, type, hostname, ip, url, tags, attributes", 0),
        ("execution.error == ''", "execution has no `error`; it has id, dry_run, started_at", 0),
        ("item == 1", "`item` has a value only inside of a foreach", 0),
        ("index == 1", "`index` has a value only inside of a foreach or a while", 0),
        ("foo == 1", "unknown name 'foo'", 0),
        ("'😀' == foo.bar", "unknown name 'foo'", 7),
        ("true && has(foo.bar)", "unknown name 'foo'", 12),
        ("has(steps.patsh.output)", "there is no step `patsh`; is `patch` meant?", 4),
        ("[1].exists(x, x == y)", "unknown name 'y'", 19),
        ("1 +", "Syntax error: mismatched end of the expression", 3),
        ("nothing()", "unknown name 'nothing'", 0),
        ("paramters.a.b == 1", "unknown name 'paramters'", 0),
        ("timestamp('never') == null", "no timestamp of RFC 3339: never", None),
    ],
)
@pytest.mark.parametrize("field", ["when", "template"])
def test_expressions(expression: str, message: str, offset: int | None, field: str) -> None:
    """Syntax, unknown names and steps that cannot have run yet: with line and column, in fields as in templates."""
    value = f'when: "{expression}"' if field == "when" else f'parameters: {{text: "ab {{{{{expression}}}}}"}}'
    step = f"{{id: me, action_ref: core.echo, {value}}}\n  - {{id: later, action_ref: core.echo}}"
    path, found, *place = told(in_step(step, "parameters: {properties: {version: {type: string}}}\n"))
    assert path == ("/steps/2/when" if field == "when" else "/steps/2/parameters/text")
    assert found == message
    start = 44 if field == "when" else 62
    assert place == [5, start if offset is None else start + offset]


def test_each_use_of_an_unknown_name() -> None:
    """One name that is wrong in two places is told twice."""
    faults = faults_of(in_step("{action_ref: core.echo, when: p.a == 1 || p.a == 1}"))
    assert [(fault.message, fault.column) for fault in faults] == [("unknown name 'p'", 35), ("unknown name 'p'", 47)]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("    when: a.b.c", (4, 11), ""),
        ("    when: >-\n      true &&\n      a.b", (4, 11), "column 9 of the text: "),
        ("    when: |\n      true &&\n      a.b", (6, 7), ""),
        ("    when: |2\n        true\n        && a.b", (6, 12), ""),
        ("    when: \"'\\u0061' == a.b\"", (4, 11), "column 8 of the text: "),
        ("    parameters:\n      text: |\n        one {{ 1 }}\n        two {{ a.b }}", (7, 16), ""),
        ("    parameters:\n      text: |\n        one {{ 1\n        + a.b }}", (7, 11), ""),
    ],
)
def test_places_in_texts_of_several_lines(text: str, place: tuple[int, int], said: str) -> None:
    """The place is that in the file where the text stands there as it is, and else that of the text."""
    _, message, *found = told(f"name: x\nsteps:\n  - action_ref: core.echo\n{text}\n")
    assert (message, tuple(found)) == (f"{said}unknown name 'a'", place)


def test_places_in_a_value_that_was_never_text() -> None:
    """Without a text there are pointers, and columns within the strings."""
    value = {"name": "x", "steps": [{"action_ref": "core.echo", "when": "true &&\nfoo"}, {"type": "delay"}]}
    with pytest.raises(DefinitionError) as caught:
        compile_value(value, CATALOGUE)
    assert [(fault.path, fault.message, fault.line) for fault in caught.value.faults] == [
        ("/steps/0/when", "line 2, column 1: unknown name 'foo'", None),
        ("/steps/1/duration", "this is required", None),
    ]


@pytest.mark.parametrize(
    ("template", "message", "column"),
    [
        ("ab {{ 1", "this {{ has no }}", 42),
        ("ab {{ }}", "the template is empty", 44),
        ("{{ secrets.token + 'x' }}", "a secret stands alone in its braces: {{ secrets.name }}", 42),
        ("{{ secrets }}", "a secret stands alone in its braces: {{ secrets.name }}", 42),
        ("{{ secrets.a.b }}", "a secret stands alone in its braces: {{ secrets.name }}", 42),
    ],
)
def test_templates(template: str, message: str, column: int) -> None:
    """Braces are closed and hold something; a secret stands alone in them."""
    path, said, line, _ = told(in_step(f'{{action_ref: core.echo, parameters: {{t: "{template}"}}}}'))
    assert (path, said, line) == ("/steps/2/parameters/t", message, 5)


def test_secrets_are_for_actions() -> None:
    """A condition and the outputs of a run are no place for a secret."""
    assert told(in_step("{action_ref: core.echo, when: secrets.t == ''}")) == ("/steps/2/when", SECRETS, 5, 35)
    assert told(in_step(ECHO.replace("a,", "b,"), "outputs: {t: '{{ secrets.t }}'}")) == ("/outputs/t", SECRETS, 6, 18)


@pytest.mark.parametrize(
    ("parameters", "path", "message"),
    [
        ("{}", "/title", "this is required"),
        ("{title: 5}", "/title", 'this value is not of type "string"'),
        ("{title: ''}", "/title", "this value is shorter than 1 character"),
        ("{title: t, priority: 9}", "/priority", "this value is greater than the maximum of 5"),
        ("{title: t, lables: []}", "/lables", "this name is unknown"),
        ("{title: t, labels: [a, 1]}", "/labels/1", 'this value is not of type "string"'),
        ("{title: t, labels: ['{{ 1 }}', 1]}", "/labels/1", 'this value is not of type "string"'),
        ("{title: t, fields: {a: '{{ 1 }}', b: 1}}", "/fields/b", 'this value is not of type "string"'),
        ("{title: t, '{{ 1 }}/~': 1}", "/{{ 1 }}~1~0", "this name is unknown"),
        ("{'title': '{{ asset.name }}', oops: '{{ 1 }}'}", "/oops", "this name is unknown"),
    ],
)
def test_parameters_of_actions(parameters: str, path: str, message: str) -> None:
    """Constant parameters are held to the action's schema."""
    assert told(in_step(f"{{action_ref: ticket.open, parameters: {parameters}}}"))[:2] == (
        "/steps/2/parameters" + path,
        message,
    )


@pytest.mark.parametrize(
    "parameters",
    [
        "{title: '{{ 1 }}', priority: '{{ 1 }}', labels: '{{ 1 }}', fields: '{{ 1 }}'}",
        "{title: '{{ asset.name }} is ill', labels: ['{{ 1 }}']}",
    ],
)
def test_templates_may_become_what_the_action_asks_for(parameters: str) -> None:
    """What a template will be is not known yet, so it is no fault."""
    assert faults_of(in_step(f"{{action_ref: ticket.open, parameters: {parameters}}}")) == []


@pytest.mark.parametrize(
    ("steps", "path", "message", "place"),
    [
        (
            ["{id: b, action_ref: core.echo, on_success: end}", "{id: c, action_ref: core.echo}"],
            "/steps/1",
            "the step `c` can never be reached",
            (4, 5),
        ),
        (
            [
                "{id: b, type: condition, expression: 'true', on_true: end, on_false: d}",
                "{id: c, action_ref: core.echo}",
                "{id: d, action_ref: core.echo}",
            ],
            "/steps/1",
            "the step `c` can never be reached",
            (4, 5),
        ),
        (
            ["{id: b, action_ref: core.echo}", "{id: c, action_ref: core.echo, run: on_failure_only}"],
            "/steps/1/run",
            "the step `c` runs only after a failure, and nothing jumps to it",
            (4, 36),
        ),
    ],
)
def test_steps_that_no_way_leads_to(steps: list[str], path: str, message: str, place: tuple[int, int]) -> None:
    """Every step can be reached; one that handles failures needs a jump."""
    text = "name: x\nsteps:\n" + "".join(f"  - {step}\n" for step in steps)
    assert told(text) == (path, message, *place)


@pytest.mark.parametrize(
    "way",
    ["on_failure: c, on_success: end", "on_failure: continue, on_success: end", "when: 'true', on_success: end"],
)
def test_ways_around_the_end(way: str) -> None:
    """A handler, a failure that is passed over and a `when` lead past an `on_success: end`."""
    text = f"name: x\nsteps: [{{id: b, action_ref: core.echo, {way}}}, {{id: c, action_ref: core.echo}}]\n"
    assert faults_of(text) == []


def test_all_at_once() -> None:
    """Faults of the head, the parameters, the steps and the outputs are told together, in the order of the text."""
    text = """\
name: ''
vresion: 1
parameters: [{name: p}, {name: p}, {nam: q}, {name: e, type: enum}]
steps:
  - {id: a, action_ref: core.ecko, timeout: soon, when: foo}
  - {id: a, action_ref: ticket.open, parameters: {priority: 0}}
  - {type: delay, duration: long, when: steps.b.output, on_success: nowhere}
outputs: {o: '{{ steps.zz.output }}'}
"""
    assert [(fault.path, fault.line) for fault in faults_of(text)] == [
        ("/name", 1),
        ("/vresion", 2),
        ("/parameters/1/name", 3),
        ("/parameters/2/name", 3),
        ("/parameters/2/nam", 3),
        ("/parameters/3", 3),
        ("/steps/0/action_ref", 5),
        ("/steps/0/timeout", 5),
        ("/steps/0/when", 5),
        ("/steps/1/id", 6),
        ("/steps/1/parameters/title", 6),
        ("/steps/1/parameters/priority", 6),
        ("/steps/2/duration", 7),
        ("/outputs/o", 8),
    ]


def test_too_many_to_be_of_use() -> None:
    """Beyond a hundred faults it is said that there are more."""
    text = json.dumps({"name": "x", "steps": [{"action_ref": "core.echo", "timeout": 0}] * 101})
    faults = faults_of(text, "json")
    assert len(faults) == 101
    assert faults[-1].message == "there are more faults; these are the first 100"
    assert faults_of(text.replace('"timeout": 0', '"timeout": 1', 1), "json")[-1].path == "/steps/100/timeout"


def test_what_cannot_be_reached_is_told_with_the_rest() -> None:
    """A fault elsewhere does not hide it, nor what is wrong with the trigger; a jump that leads nowhere does."""
    end, step = {"action_ref": "core.echo", "on_success": "end"}, {"action_ref": "core.echo"}
    lost = {"id": "jumps", "action_ref": "core.echo", "on_success": "nowhere"}
    inner = {"type": "parallel", "branches": [[{**end, "id": "ends"}, {**step, "id": "never"}], [lost, step]]}
    definition = {
        "name": "Many faults",
        "trigger": {"event": "schedule"},
        "parameters": [{"name": "n", "type": "integer", "options": ["a"]}],
        "steps": [{"type": "condition", "expression": "1 +"}, inner],
    }
    with pytest.raises(DefinitionError) as refused:
        compile_value(definition, CATALOGUE)
    told = {(fault.path, fault.message.split(":")[0]) for fault in refused.value.faults}
    assert told == {
        ("/trigger", "a schedule needs cron"),
        ("/trigger", "a schedule needs the asset that the playbook runs on"),
        ("/parameters/0/options/0", "this option is not of the type integer"),
        ("/steps/0/expression", "column 4"),
        ("/steps/1/branches/0/1", "the step `never` can never be reached"),
        ("/steps/1/branches/1/0/on_success", "there is no step `nowhere`; this is next, end or a later step"),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'{"a": "plain", "b": "x"}', {"a": "plain", "b": "x"}),
        (r'{"a\n": "\u00e9\t\"q\" \\ \/"}', {"a\n": 'é\t"q" \\ /'}),
        (r'{"a": "", "\u0062": "\ud83d\ude00"}', {"a": "", "b": "\N{GRINNING FACE}"}),
    ],
)
def test_texts_of_json_come_out_as_they_were_meant(text: str, value: dict[str, str]) -> None:
    """Names and values, plain and escaped, one after the other."""
    assert load(text.encode(), "json").value == value


@pytest.mark.parametrize(
    ("text", "media", "path"),
    [
        (r'{"a": [1, "\u0000"]}', "json", "/a/1"),
        (r'{"a": {"b": "\ud800"}}', "json", "/a/b"),
        ('a: [1, "\\0"]', "yaml", "/a/1"),
    ],
)
def test_a_text_that_cannot_be_kept_is_told_with_its_place(text: str, media: Any, path: str) -> None:
    """NUL and half a surrogate pair, which no database takes."""
    with pytest.raises(DefinitionError) as caught:
        load(text.encode(), media)
    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        (path, "text may not hold NUL or half a surrogate pair")
    ]
