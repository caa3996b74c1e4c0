"""Templates: where they begin and end, what they become, and where secrets go."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.expressions import Expression, compile_expression
from playbooks.parsing import compile_template
from playbooks.templates import Rendered, constant, render
from playbooks.text import UnclosedTemplate, braces_to_parentheses, find_templates
from playbooks.values import Budget, BudgetError, EvaluationError

NAMES: dict[str, Any] = {"asset": {"name": "web-07", "tags": {"env": "prod"}}, "n": 3, "items": [1, "a", None]}


def compiler(source: str) -> Expression:
    """Compiles an expression over ``NAMES`` and secrets."""
    return compile_expression(source, (*NAMES, "secrets"))


def rendered(value: Any, budget: Budget | None = None) -> Rendered:
    """What the value becomes over ``NAMES``."""
    parsed = compile_template(value, compiler, secrets_allowed=True)
    assert parsed.problems == []
    return render(parsed.template, NAMES, budget)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ n }}", 3),
        ("{{n}}", 3),
        ("{{ asset.tags }}", {"env": "prod"}),
        ("{{ items }}", [1, "a", None]),
        ("{{ null }}", None),
        ("{{ n == 3 }}", True),
        (" {{ n }}", " 3"),
        ("{{ n }}\n", "3\n"),
        ("{{ n }}{{ n }}", "33"),
        ("n={{ n }}, {{ asset.name }}!", "n=3, web-07!"),
        ("a {{ null }} b", "a  b"),
        ("a {{ true }} {{ 1.5 }}", "a true 1.5"),
        ("a {{ items }}", 'a [1, "a", null]'),
        ("a {{ {'é': 1} }}", 'a {"é": 1}'),
        ("{{ '{{' }}", "{{"),
        ("{{ '}}' }} x", "}} x"),
        ("{{ {'a': {'b': n}} }}", {"a": {"b": 3}}),
        ("{{ {'a': {'b': n}}.a.b }}", 3),
        ('{{ "it\'s }}" }}', "it's }}"),
        ("{{ r'\\d}}' }}", "\\d}}"),
        ("{{ '''a'}}''' }}", "a'}}"),
        ("{{ n // }}\n }}", 3),
        ("no } template { } here }}", "no } template { } here }}"),
        ("", ""),
    ],
)
def test_what_a_template_becomes(text: str, value: Any) -> None:
    """One whole template keeps the type of its value; otherwise values are put in as text."""
    assert rendered(text) == Rendered(value)
    assert type(rendered(text).value) is type(value)


def test_templates_anywhere_in_a_value() -> None:
    """In lists and objects, at any depth; names of fields are no templates."""
    value = {"a": ["{{ n }}", {"{{ n }}": "x{{ n }}"}], "b": 1}
    assert rendered(value).value == {"a": [3, {"{{ n }}": "x3"}], "b": 1}


def test_a_template_stays_as_it_is() -> None:
    """Rendering changes neither the compiled template nor the names."""
    template = compile_template({"a": ["{{ items }}"]}, compiler).template
    before = copy.deepcopy((template, NAMES))
    assert render(template, NAMES).value == {"a": [[1, "a", None]]}
    assert (template, NAMES) == before


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("ab{} "),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
        max_leaves=8,
    )
)
def test_values_without_templates_are_constant(value: Any) -> None:
    """Whatever holds no two braces in a row comes out as it went in."""
    if "{{" not in repr(value):
        assert compile_template(value, compiler).template == constant(value)
        assert render(constant(value), {}).value == value


@given(st.text())
def test_data_cannot_make_a_template(text: str) -> None:
    """What is put in is not looked at again, braces or not."""
    template = compile_template({"whole": "{{ n }}", "part": "<{{ n }}>"}, compiler).template
    assert render(template, {"n": text}) == Rendered({"whole": text, "part": f"<{text}>"})


def test_secrets_are_told_by_their_place() -> None:
    """A mask stands where the worker puts a secret; beside it are the pieces of the text."""
    result = rendered({"h": ["Bearer {{ secrets.token }} for {{ n }}"], "a/b": "{{ secrets['k-1'] }}"})
    assert result.value == {"h": ["Bearer *** for 3"], "a/b": "***"}
    assert [slot.model_dump(exclude_none=True) for slot in result.secrets] == [
        {
            "pointer": "/h/0",
            "parts": [{"text": "Bearer "}, {"secret": "token"}, {"text": " for "}, {"text": "3"}],
        },
        {"pointer": "/a~1b", "parts": [{"secret": "k-1"}]},
    ]


def test_data_cannot_forge_a_secret() -> None:
    """Text that looks like a secret, or like the mask, is text."""
    template = compile_template("{{ n }} {{ secrets.token }}", compiler, secrets_allowed=True).template
    result = render(template, {"n": "{{ secrets.other }} ***"})
    assert [part.secret for part in result.secrets[0].parts] == [None, None, "token"]
    assert result.value == "{{ secrets.other }} *** ***"


@pytest.mark.parametrize(
    ("source", "allowed", "message"),
    [
        ("{{ secrets.token }}", False, "secrets may be used only in the parameters of an action"),
        ("{{ secrets }}", True, "a secret stands alone in its braces: {{ secrets.name }}"),
        ("{{ secrets.a.b }}", True, "a secret stands alone in its braces: {{ secrets.name }}"),
        ("{{ secrets.a + secrets.b }}", True, "a secret stands alone in its braces: {{ secrets.name }}"),
        ("{{ has(secrets.a) }}", True, "a secret stands alone in its braces: {{ secrets.name }}"),
        ("{{ secrets[asset.name] }}", True, "a secret stands alone in its braces: {{ secrets.name }}"),
        ("{{ items.map(i, secrets.a) }}", True, "a secret stands alone in its braces: {{ secrets.name }}"),
    ],
)
def test_secrets_have_one_form(source: str, allowed: bool, message: str) -> None:
    """No expression sees a secret, so none can turn it into something that is kept."""
    problems = compile_template({"a": source}, compiler, secrets_allowed=allowed).problems
    assert [(problem.path, problem.message) for problem in problems] == [(("a",), message)]


def test_what_a_template_refers_to() -> None:
    """Each use with its place in the string that it stands in."""
    value = ["x", "one {{ n }}\ntwo {{ asset.name }}"]
    uses = compile_template(value, compiler).references
    assert [(use.path, use.reference.root, use.place(value)) for use in uses] == [
        ((1,), "n", (1, 8)),
        ((1,), "asset", (2, 8)),
    ]


def test_all_problems_of_a_template() -> None:
    """Each with its place; one wrong template does not hide the next."""
    value = {"a": "{{ x }} {{ }}\n{{ y }}", "b": "{{ 1"}
    problems = compile_template(value, compiler).problems
    assert [(problem.path, problem.place(value), problem.message) for problem in problems] == [
        (("a",), (1, 4), "unknown name 'x'"),
        (("a",), (1, 11), "the template is empty"),
        (("a",), (2, 4), "unknown name 'y'"),
        (("b",), (1, 1), "this {{ has no }}"),
    ]


def test_an_error_names_the_place() -> None:
    """The pointer of the string, within the value that is rendered."""
    template = compile_template({"a": ["ok", "{{ asset.ip }}"]}, compiler).template
    with pytest.raises(EvaluationError) as caught:
        render(template, NAMES)
    assert str(caught.value) == "/a/1: no such key: ip"


def test_one_budget_for_all_of_a_value() -> None:
    """Many templates that are small each may be too large together."""
    budget = Budget(size=1_000)
    assert len(rendered(["{{ asset.name }}"] * 10, budget).value) == 10
    with pytest.raises(BudgetError):
        rendered(["{{ asset.name }}"] * 1_000, budget)
    with pytest.raises(BudgetError):
        rendered(["x" * 100 + "{{ n }}"] * 10, Budget(size=1_000))


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("{{a}}", [(0, 5)]),
        ("{{a}}}", [(0, 5)]),
        ("{{{a}}}", [(0, 7)]),
        ("{{ {} }}", [(0, 8)]),
        ("{{ '}}' }}{{ \"}}\" }}", [(0, 10), (10, 20)]),
        ("{{ '\\'}}' }}", [(0, 12)]),
        ("{ {a} }", []),
    ],
)
def test_where_templates_begin_and_end(text: str, spans: list[tuple[int, int]]) -> None:
    """Braces of maps and in strings do not end a template."""
    assert [(span.start, span.end) for span in find_templates(text)] == spans


@pytest.mark.parametrize(("text", "position"), [("{{", 0), ("a {{ '}}'", 2), ("{{a}} {{ { }}", 6), ("{{ // }}", 0)])
def test_templates_without_an_end(text: str, position: int) -> None:
    """The place is that of the braces that open it."""
    with pytest.raises(UnclosedTemplate) as caught:
        find_templates(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("'prod' in {{ asset.tags }}", "'prod' in  ( asset.tags ) "),
        ("{{a}} && {{b}}", " (a)  &&  (b) "),
        ("'{{ a }}' == b", "'{{ a }}' == b"),
        ("{'a': {'b': 1}}.a", "{'a': {'b': 1}}.a"),
        ("{{ {'a': 1}.a }}", " ( {'a': 1}.a ) "),
        ("a || b", "a || b"),
    ],
)
def test_braces_in_an_expression_are_parentheses(source: str, result: str) -> None:
    """As S4E writes them; every character keeps its place, for the faults."""
    assert braces_to_parentheses(source) == result
    assert len(result) == len(source)


def test_the_levels_of_a_value_are_bounded() -> None:
    """Those of the value that a template fills in, and those around it, together: what is deeper nobody can read."""
    deep: Any = 1
    for _ in range(98):
        deep = {"a": deep}
    names = {**NAMES, "asset": deep}
    template = compile_template([["{{ asset }}"]], compiler).template
    assert render(template, names).value == [[deep]]
    for around in ([[["{{ asset }}"]]], {"a": [["{{ [asset] }}"]]}):
        with pytest.raises(EvaluationError, match="nested deeper than 100"):
            render(compile_template(around, compiler).template, names)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("n > 1.5", True),
        ("n < 1.5", False),
        ("-0.5 > n", False),
        ("n == 1.5", False),
        ("n in [1.5]", False),
        ("double(n) > 1e308", True),
    ],
)
def test_integers_of_json_that_are_beyond_every_double(source: str, value: bool) -> None:
    """They compare like any number; a service may answer with one."""
    template = compile_template("{{ " + source + " }}", compiler).template
    assert render(template, {"n": 10**400}).value is value
