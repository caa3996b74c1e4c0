"""Hostile definitions get a fault with its place, and take neither much memory nor much time to do so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from signal import SIGKILL, SIGXCPU

import pytest

from playbooks.compile import MAX_PLAN
from tests.unit.playbooks.bounded import Bounds, started

STEP = "steps: [{action_ref: core.echo}]\n"


@pytest.fixture(scope="module")
def bounds() -> Iterator[Bounds]:
    """Processes with little memory and little time."""
    with started() as running:
        yield running


def told(bounds: Bounds, text: str | bytes, media: str = "yaml") -> tuple[str, str, int | None, int | None]:
    """The one fault of a text: pointer, message, line and column."""
    [fault] = bounds.compile(text, media)
    return fault.path, fault.message, fault.line, fault.column


def when(expression: str) -> str:
    """A definition in JSON with one step, which has that expression."""
    return json.dumps({"name": "x", "steps": [{"action_ref": "core.echo", "when": expression}]})


def test_the_bounds_are_real(bounds: Bounds) -> None:
    """What takes too much time is ended, and what takes too much memory fails: these tests can see harm."""
    assert bounds.run("check_values", None, {"a": [[]] * 10}).signal == 0
    slow = bounds.run("spin")
    assert slow.signal in (SIGXCPU, SIGKILL)
    assert bounds.run("swell").crash.startswith("MemoryError")


@pytest.mark.parametrize(
    ("text", "path", "message", "place"),
    [
        ("name: x\na: &b [1]\n", "/a", "anchors are not allowed", (2, 4)),
        ("name: &n x\nversion: *n\n", "/name", "anchors are not allowed", (1, 7)),
        ("name: x\n&k a: 1\n", "", "anchors are not allowed", (2, 1)),
        ("name: *x\n", "/name", "aliases are not allowed", (1, 7)),
        ("name: !!python/object/apply:os.system [id]\n", "/name", "tags are not allowed", (1, 7)),
        ("name: !!str x\n", "/name", "tags are not allowed", (1, 7)),
        ("!!map {name: x}\n", "", "tags are not allowed", (1, 1)),
        ("!!str name: x\n", "", "tags are not allowed", (1, 1)),
        ("name: x\nsteps: []\nname: y\n", "/name", "this key stands twice", (3, 1)),
        ("steps: [{id: a, id: a}]\n", "/steps/0/id", "this key stands twice", (1, 17)),
        ('{name: x, "name": y}\n', "/name", "this key stands twice", (1, 11)),
        ("? [a]\n: b\n", "", "a key must be text: put it in quotes", (1, 3)),
        ("1: a\n", "", "a key must be text: put it in quotes", (1, 1)),
        ("~: a\n", "", "a key must be text: put it in quotes", (1, 1)),
        ("name: x\n---\nname: y\n", "", "there is more than one document", (2, 1)),
        ("name: x\n...\n---\n", "", "there is more than one document", (3, 1)),
    ],
)
def test_yaml_is_plain(bounds: Bounds, text: str, path: str, message: str, place: tuple[int, int]) -> None:
    """No anchors, aliases, tags, keys that stand twice or are no text, and one document only."""
    assert told(bounds, text) == (path, message, *place)


@pytest.mark.parametrize(
    ("text", "path", "message", "place"),
    [
        ('{"name": "x", "name": "y"}', "/name", "this key stands twice", (1, 15)),
        ('{"name": "x",\n "n\\u0061me": "y"}', "/name", "this key stands twice", (2, 2)),
        ('{"steps": [{"id": "a", "id": "a"}]}', "/steps/0/id", "this key stands twice", (1, 24)),
        ('{"a": 1} {}', "", "there is more text after the value", (1, 10)),
        ('{"a": 1,}', "", "a key in quotes is expected", (1, 9)),
        ('{"a": [1,]}', "/a/1", "a value is expected", (1, 10)),
        ("{'a': 1}", "", "a key in quotes is expected", (1, 2)),
        ('{"a" 1}', "", "':' is expected, not '1'", (1, 6)),
        ('{"a": 1', "", "',' is expected, not the end of the text", (1, 8)),
        ('{"a": 01}', "", "',' is expected, not '1'", (1, 8)),
        ('{"a": +1}', "/a", "a value is expected", (1, 7)),
        ('{"a": "b', "/a", "unterminated string", (1, 7)),
        ('{"a": "b\nc"}', "/a", "invalid control character", (1, 9)),
        ('{"a": "\\x"}', "/a", "invalid \\escape", (1, 8)),
        ("/* */ {}", "", "a value is expected", (1, 1)),
    ],
)
def test_json_is_strict(bounds: Bounds, text: str, path: str, message: str, place: tuple[int, int]) -> None:
    """JSON is that of RFC 8259, with no key twice; a key that is written with escapes is the same key."""
    assert told(bounds, text, "json") == (path, message, *place)


@pytest.mark.parametrize(
    ("text", "media", "line"),
    [
        ("steps: " + "[" * 10_000 + "]" * 10_000, "yaml", 1),
        ("[" * 1_000_000, "yaml", 1),
        ("{a: " * 10_000, "yaml", 1),
        ("- " * 10_000 + "a", "yaml", 1),
        ("\n".join(" " * depth + "a:" for depth in range(1_500)), "yaml", 66),
        ("[" * 10_000 + "]" * 10_000, "json", 1),
        ("[" * 1_000_000, "json", 1),
        ('{"a":' * 10_000, "json", 1),
    ],
)
def test_depth_is_bounded(bounds: Bounds, text: str, media: str, line: int) -> None:
    """However deep a text is nested, reading stops at the first value that is too deep."""
    path, message, *place = told(bounds, text, media)
    assert (message, place[0]) == ("nested deeper than 64 levels", line)
    assert path.count("/") == 65


@pytest.mark.parametrize("media", ["yaml", "json"])
def test_depth_within_the_bound(bounds: Bounds, media: str) -> None:
    """What is 64 levels deep is read: the fault is another one."""
    [fault] = bounds.compile("[" * 64 + "1" + "]" * 64, media)
    assert fault.message == "a definition is an object"


@pytest.mark.parametrize(
    ("text", "media"),
    [
        ("a: [" + "1," * 1_000_000 + "]", "yaml"),
        (STEP + "".join(f"k{number}: 1\n" for number in range(90_000)), "yaml"),
        ("steps:\n" + "- {action_ref: core.echo}\n" * 70_000, "yaml"),
        ("[" + "1," * 1_000_000 + "1]", "json"),
        ("[" + "[]," * 600_000 + "[]]", "json"),
    ],
)
def test_values_are_counted(bounds: Bounds, text: str, media: str) -> None:
    """Two megabytes of small values are refused before they fill the memory."""
    path, message, line, column = told(bounds, text, media)
    assert (path, message) == ("", "more than 100000 values")
    assert line is not None
    assert column is not None


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (f"name: x\ndescription: {'a' * 2_000_000}\n{STEP}", "/description", "this must have at most 10000 characters"),
        ('name: "' + "a" * 2_000_000, "", "the YAML is wrong while scanning a quoted scalar"),
        ("#" * 2_000_000, "", "the text is empty"),
        (f"name: x\nmax_retries: {'9' * 1_000_000}\n", "/max_retries", "an integer must fit in 64 bits"),
        (f"name: x\n{STEP}{'a' * 500}: 1\n", "/" + "a" * 500, "this field is unknown"),
    ],
)
def test_long_texts(bounds: Bounds, text: str, path: str, message: str) -> None:
    """One long scalar, comment, number or key is told like a short one."""
    found, said, _, _ = told(bounds, text)
    assert found == path
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ("9223372036854775808", "an integer must fit in 64 bits"),
        ("-9223372036854775809", "an integer must fit in 64 bits"),
        ("0x8000000000000000", "an integer must fit in 64 bits"),
        ("0x" + "f" * 100_000, "an integer must fit in 64 bits"),
        (".inf", "a number must be finite"),
        ("-.Inf", "a number must be finite"),
        (".NaN", "a number must be finite"),
        ("1e400", "a number must be finite"),
        ('"a\\0b"', "text may not hold NUL or half a surrogate pair"),
    ],
)
def test_scalars_of_yaml(bounds: Bounds, literal: str, message: str) -> None:
    """Integers have 64 bits, numbers are finite, text is Unicode without NUL."""
    assert told(bounds, f"name: x\n{STEP}version: {literal}\n") == ("/version", message, 3, 10)


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ("9223372036854775808", "an integer must fit in 64 bits"),
        ("-9223372036854775809", "an integer must fit in 64 bits"),
        ("9" * 1_000_000, "an integer must fit in 64 bits"),
        ("1e400", "a number must be finite"),
        ("NaN", "a value is expected"),
        ("-Infinity", "a value is expected"),
        ('"\\ud800"', "text may not hold NUL or half a surrogate pair"),
        ('"\\udc00\\ud800"', "text may not hold NUL or half a surrogate pair"),
        ('"a\\u0000"', "text may not hold NUL or half a surrogate pair"),
    ],
)
def test_scalars_of_json(bounds: Bounds, literal: str, message: str) -> None:
    """The same of JSON, where NaN and Infinity are no values at all."""
    assert told(bounds, f'{{"version":\n {literal}}}', "json") == ("/version", message, 2, 2)


@pytest.mark.parametrize("media", ["yaml", "json"])
def test_the_last_integers_that_fit(bounds: Bounds, media: str) -> None:
    """The smallest and the largest integer of 64 bits are taken."""
    parameters = '{"action_ref": "core.echo", "parameters": {"a": [9223372036854775807, -9223372036854775808]}}'
    assert bounds.compile(f'{{"name": "x", "steps": [{parameters}]}}', media) == []


@pytest.mark.parametrize("media", ["yaml", "json"])
@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (b"", "the text is empty", (None, None)),
        (b" \n\n", "the text is empty", (None, None)),
        (b"\xef\xbb\xbf", "the text is empty", (None, None)),
        (b'{"name":\n"\xff"}', "the text is not UTF-8", (2, 2)),
        (b'\xef\xbb\xbf{"name": "\xc3\xa9\xe9"}', "the text is not UTF-8", (1, 12)),
        (b'{"name": "\xed\xa0\x80"}', "the text is not UTF-8", (1, 11)),
        ('{"name": "x"}'.encode("utf-16"), "the text is not UTF-8", (1, 1)),
        (b'{"name": "a\x00"}', "the text holds a NUL character", (1, 12)),
    ],
)
def test_bytes_that_are_no_text(
    bounds: Bounds, media: str, text: bytes, message: str, place: tuple[int | None, int | None]
) -> None:
    """Empty text, NUL and what is not UTF-8 are told with the place of the first wrong character."""
    assert told(bounds, text, media) == ("", message, *place)


@pytest.mark.parametrize("media", ["yaml", "json"])
def test_a_byte_order_mark_is_passed_over(bounds: Bounds, media: str) -> None:
    """A mark at the beginning is no part of the text, and moves no place."""
    text = '\ufeff{"name": "x", "steps": [{"action_ref": "core.echo"}], "a": 1}'
    assert told(bounds, text, media) == ("/a", "this field is unknown", 1, 55)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("+".join(["1"] * 100_000), "an expression has at most 4096 characters"),
        ("+".join(["1"] * 2_000), "the expression is nested too deeply: at most 32 levels"),
        ("(" * 2_000 + "1" + ")" * 2_000, "the expression is nested too deeply: at most 32 levels"),
        ("parameters" + ".a" * 2_000, "the expression is nested too deeply: at most 32 levels"),
        ("[" * 2_000 + "]" * 2_000, "the expression is nested too deeply: at most 32 levels"),
        (".map(a, [1].map(b, [1].map(c, [1].map(d, 1))))".join(["[1]", ""]), "macros are nested deeper than 3"),
        (
            "[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [" + "1," * 1_900 + "1].map(c, 1)))",
            "the expression takes too many steps",
        ),
        (
            f"['{'a' * 3_000}'].map(a, {'+'.join('a' * 20)}).map(b, {'+'.join('b' * 20)}) == []",
            "the expression makes values that are too large",
        ),
        ("'" + "\\" * 3_000, "Syntax error"),
    ],
)
def test_expressions_that_take_too_much(bounds: Bounds, expression: str, message: str) -> None:
    """Long, deep, repeating and swelling expressions are refused when they are stored."""
    fault = bounds.compile(when(expression), "json")[0]
    assert (fault.path, fault.line) == ("/steps/0/when", 1)
    assert fault.message.startswith(message)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            f"[p].map(a, {'+'.join('a' * 20)}).map(b, {'+'.join('b' * 20)}).map(c, {'+'.join('c' * 20)}) == []",
            "the expression makes values that are too large",
        ),
        ("l.map(a, l.map(b, l.map(c, 1)))", "the expression takes too many steps"),
        ("l.exists(a, l.exists(b, l.exists(c, false))) || true", "the expression takes too many steps"),
    ],
)
def test_expressions_that_swell_with_their_data(bounds: Bounds, expression: str, message: str) -> None:
    """What only the data make large is stopped when it is evaluated, and no `||` absorbs that."""
    [fault] = bounds.faults("evaluate_source", expression, {"p": "a" * 10_000, "l": [1] * 1_000})
    assert fault.message == message


def test_a_catastrophic_pattern_in_an_expression(bounds: Bounds) -> None:
    """`matches` takes linear time."""
    data = {"p": "a" * 100_000 + "!"}
    assert bounds.faults("evaluate_source", "p.matches('^(a+)+$')", data) == []
    [fault] = bounds.faults("evaluate_source", "p.matches('(a)\\\\1')", data)
    assert fault.message.startswith("invalid regular expression: ")


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1 }}" * 150_000,
        "{{" * 500_000,
        "{{" + "{" * 500_000,
        "{{ '" * 250_000,
        "{{ r''' " * 125_000,
        "{{ 1 + }}" * 100_000,
    ],
)
def test_templates_without_end(bounds: Bounds, text: str) -> None:
    """A megabyte of templates, or of what looks like them, is refused in linear time."""
    definition = {"name": "x", "steps": [{"action_ref": "core.echo", "parameters": {"a": text}}]}
    faults = bounds.compile(json.dumps(definition), "json")
    assert 1 <= len(faults) <= 101
    assert faults[0].path == "/steps/0/parameters/a"


def test_a_plan_that_is_too_large(bounds: Bounds) -> None:
    """It travels with every run, so it is bounded, whatever it is made of."""
    definition = {"name": "x", "steps": [{"action_ref": "core.echo", "parameters": {"a": "a" * MAX_PLAN}}]}
    path, message, _, _ = told(bounds, json.dumps(definition), "json")
    assert path == ""
    assert message.endswith(f"bytes; {MAX_PLAN} is the most")


def test_expressions_that_are_too_large_together(bounds: Bounds) -> None:
    """Thousands of small expressions count together."""
    steps = [{"action_ref": "core.echo", "when": f"{n} == parameters.a{n}"} for n in range(9_000)]
    faults = bounds.compile(json.dumps({"name": "x", "steps": steps}), "json")
    assert faults[0].message == "the expressions of this playbook are too large together"
    assert faults[-1].message == "there are more faults; these are the first 100"
