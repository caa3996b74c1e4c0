"""Filters of the Phantom interface on both databases: what they find, and that no input reaches SQL as text."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from starlette.requests import Request

from api.phantom.given import new_artifact, new_container
from api.phantom.query import list_query
from executions.errors import BadRequest
from storage.database import Database
from storage.phantom import runs
from storage.phantom.containers import ARTIFACTS, CONTAINERS, NOTES, add_artifact, source_of, tags_in_use
from storage.phantom.filters import OPERATORS, BadFilter, Fields, where
from storage.phantom.records import Query
from storage.phantom.users import USERS

NOW = 1_777_374_000_000
LISTS = {"container": CONTAINERS.fields, "artifact": ARTIFACTS.fields, "note": NOTES.fields, "user": USERS.fields,
         "playbook_run": runs.RUN_FIELDS, "playbook": runs.PLAYBOOK_FIELDS}  # fmt: skip
MARK = "zq9'\";--"
"""Stands in every value: it must never be found in a statement."""


def asked(*pairs: tuple[str, str]) -> Request:
    """A request with these parameters."""
    from urllib.parse import urlencode

    return Request({"type": "http", "query_string": urlencode(pairs).encode(), "headers": [], "method": "GET"})


def page(database: Database, *pairs: tuple[str, str], fields: Fields = CONTAINERS.fields) -> list[str]:
    """The names that a query finds."""
    query = list_query(asked(*pairs), fields)
    rows, _ = database.read_sync(CONTAINERS.page, query)
    return [str(row["name"]) for row in rows]


@pytest.fixture
def stored(database: Database) -> Database:
    """Three containers, the first with an artifact."""

    def store(connection: Any) -> None:
        for name in ("Alpha_1", "alpha%2", "Ünïcode 3"):
            number = CONTAINERS.create(connection, new_container({"name": name, "tags": [name]}, NOW))
            if name == "Alpha_1":
                add_artifact(connection, new_artifact({"cef": {"a": 1}}, number, NOW))

    database.write_sync(store)
    return database


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("name__contains", "_", ["Alpha_1"]),
        ("name__contains", "%", ["alpha%2"]),
        ("name__contains", "lpha", ["Alpha_1", "alpha%2"]),
        ("name__contains", "Alpha", ["Alpha_1"]),
        ("name__icontains", "ALPHA", ["Alpha_1", "alpha%2"]),
        ("name__startswith", "Ü", ["Ünïcode 3"]),
        ("name__endswith", "%2", ["alpha%2"]),
        ("name__endswith", "a much longer text than any name", []),
        ("artifact__cef__a__isnull", "True", ["alpha%2", "Ünïcode 3"]),
        ("artifact__cef__a__isnull", "False", ["Alpha_1"]),
        ("playbookrun__container__isnull", "True", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("playbookrun__id__gt", "0", []),
        ("status__in", "[1, 2]", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("status", "2", []),
        ("name__contains", '""', ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("name__regex", "^.lpha.\\d$", ["Alpha_1", "alpha%2"]),
        ("name__iregex", "^ALPHA", ["Alpha_1", "alpha%2"]),
        ("name__in", '["Alpha_1", "nobody"]', ["Alpha_1"]),
        ("name__in", "[]", []),
        ("artifact_count__gte", "1", ["Alpha_1"]),
        ("owner__isnull", "True", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("owner__username", "nobody", []),
        ("id__range", "(1, 2)", ["Alpha_1", "alpha%2"]),
        ("id__gt", "1.5", ["alpha%2", "Ünïcode 3"]),
        ("id", "99999999999999999", []),
        ("owner", "99999999999", []),
        ("parent_container__in", "[99999999999, 1]", []),
        ("artifact_count__lt", "99999999999", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("artifact_count__in", "[5, 1.4]", []),
        ("playbookrun__container", "99999999999", []),
        ("name__contains", '"\\u0000"', []),
        ("name__icontains", "\0", []),
        ("name__startswith", '"\\ud800"', []),
        ("custom_fields__x", '"\\ud800"', []),
        ("create_time__gte", "2026-01-01", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("in_case", "false", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("severity__exact", "medium", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("id__in", "1,2", ["Alpha_1", "alpha%2"]),
        ("name__in", "Alpha_1,alpha%2", ["Alpha_1", "alpha%2"]),
        ("owner__isnull", "1", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("owner__id__isnull", "true", ["Alpha_1", "alpha%2", "Ünïcode 3"]),
        ("parent_container__pk", "1", []),
    ],
)
def test_both_databases_find_the_same(stored: Database, name: str, value: str, found: list[str]) -> None:
    """Case, wildcards and numbers mean the same on both."""
    assert page(stored, (f"_filter_{name}", value), ("sort", "id")) == found
    kept = [one for one in ("Alpha_1", "alpha%2", "Ünïcode 3") if one not in found]
    assert page(stored, (f"_exclude_{name}", value), ("sort", "id")) == kept


CEF = [{"sourceAddress": "10.0.0.1", "port": 443, "on": True, "deep": {"a": 'q"x'}}, {"port": "443", "none": None}, {}]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("cef__sourceAddress", '"10.0.0.1"', [1]),
        ("cef__sourceAddress", "'10.0.0.1'", [1]),
        ("cef__sourceAddress__startswith", '"10."', [1]),
        ("cef__sourceAddress__isnull", "False", [1]),
        ("cef__sourceAddress__isnull", "True", [2, 3]),
        ("cef__none__isnull", "True", [1, 2, 3]),
        ("cef__port", "443", [1, 2]),
        ("cef__port", '"443"', [1, 2]),
        ("cef__port__in", "[443, 80]", [1, 2]),
        ("cef__on", "True", [1]),
        ("cef__deep__a", "'q\"x'", [1]),
        ("cef__deep__a__icontains", "Q", [1]),
        ("cef__icontains", "'10.0.0'", [1]),
        ("cef__icontains", "'\"10.0.0.1\"'", [1]),
        ("cef__a b-c.$[0]", "x", []),
        ('cef__a"b', "x", []),
    ],
)
def test_fields_inside_of_cef(database: Database, name: str, value: str, found: list[int]) -> None:
    """Each key of ``cef``, however deep, is a field; so clients look for an address."""

    def store(connection: Any) -> None:
        number = CONTAINERS.create(connection, new_container({"name": "x"}, NOW))
        for cef in CEF:
            add_artifact(connection, new_artifact({"cef": cef}, number, NOW))

    database.write_sync(store)
    query = list_query(asked((f"_filter_{name}", value), ("sort", "id")), ARTIFACTS.fields)
    rows, _ = database.read_sync(ARTIFACTS.page, query)
    assert [row["id"] for row in rows] == found


@pytest.mark.parametrize("name", ["cef__port__gt", "cef__port__range", "cef__", "cef____x", "name__x", "data__x"])
def test_what_is_no_field_inside_is_refused(name: str) -> None:
    """What it holds has no order, and only objects hold fields."""
    with pytest.raises(BadRequest):
        list_query(asked((f"_filter_{name}", "(1,2)")), ARTIFACTS.fields)


def test_a_long_identifier_is_kept_and_found(database: Database) -> None:
    """Mail ids are longer than an index holds; they read back whole."""
    for identifier in ("s" * 201, "€" * 50_000):
        values = new_container({"name": "x", "source_data_identifier": identifier}, NOW)
        number = database.write_sync(CONTAINERS.create, values)
        row = database.read_sync(CONTAINERS.get, number)
        assert row is not None
        assert row["source_data_identifier"] == identifier
        assert database.write_sync(source_of, identifier, None) == number
    found, _ = database.read_sync(
        CONTAINERS.page, list_query(asked(("_filter_source_data_identifier", "s" * 201)), CONTAINERS.fields)
    )
    assert [row["id"] for row in found] == [1]


def test_every_field_can_be_sorted_and_compared(stored: Database) -> None:
    """No field of any list ends in an error of the database."""
    samples = {"text": "x", "number": "1", "time": "2026-01-01", "flag": "true", "json": "x"}
    for name, field in CONTAINERS.fields.items():
        if field.on is None:  # of several that belong to a container none gives it its place
            page(stored, ("sort", name), ("order", "desc"))
        for operator in ("exact", "in", "gt", "isnull", "icontains"):
            value = "true" if operator == "isnull" else samples[field.kind]
            if operator != "gt" or field.kind not in ("flag", "json"):
                page(stored, (f"_filter_{name}__{operator}", value))
    for name in runs.RUN_FIELDS:
        stored.read_sync(runs.page, Query(sort=name))
    for name in runs.PLAYBOOK_FIELDS:
        stored.read_sync(runs.list_playbooks, Query(sort=name))
    for name in ARTIFACTS.fields:
        stored.read_sync(ARTIFACTS.page, Query(sort=name))
        if name in (CONTAINERS.fields["artifact"].of or {}):
            page(stored, (f"_filter_artifact__{name}__isnull", "false"))


def test_tags_in_use(stored: Database) -> None:
    """Each once, in order."""
    assert stored.read_sync(tags_in_use) == ["Alpha_1", "alpha%2", "Ünïcode 3"]


def test_a_source_is_found_by_its_asset(stored: Database) -> None:
    """The same identifier of another asset is another thing."""
    values = new_container({"name": "x", "source_data_identifier": "s", "asset_id": 3}, NOW)
    number = stored.write_sync(CONTAINERS.create, values)
    assert stored.write_sync(source_of, "s", 3) == number
    assert stored.write_sync(source_of, "s", None) is None


@given(
    which=st.sampled_from(sorted(LISTS)),
    names=st.lists(
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(sorted(CONTAINERS.fields)),
            st.text(max_size=10).map(lambda key: f"cef__{key}{MARK}"),
            st.text(max_size=10).map(lambda key: f"custom_fields__{key}zq9';--"),
        ),
        max_size=3,
    ),
    operators=st.lists(st.one_of(st.sampled_from(OPERATORS), st.text(max_size=8)), min_size=3, max_size=3),
    values=st.lists(st.text(max_size=40), min_size=3, max_size=3),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_input_reaches_sql_as_text(which: str, names: list[str], operators: list[str], values: list[str]) -> None:
    """Whatever is asked is refused, or becomes a statement of known words with parameters."""
    fields = LISTS[which]
    pairs = [
        (f"_filter_{name}__{operator}", f'"{value}{MARK}"')
        for name, operator, value in zip(names, operators, values, strict=False)
    ]
    try:
        query = list_query(asked(*pairs, ("sort", names[0] if names else "id")), fields)
    except BadRequest:
        return
    statement = select(CONTAINERS.table.c.id).where(*where(fields, query.conditions))
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        compiled = str(statement.compile(dialect=dialect))
        assert MARK not in compiled
        assert "zq9" not in compiled
        assert "--" not in compiled


@pytest.mark.parametrize("text", ["[" * 4000, "(" * 2000 + ")" * 2000, "[" * 2000 + "]" * 2000, '"' + "[" * 4000 + '"'])
def test_nesting_is_no_way_to_break_a_list(text: str) -> None:
    """Values are lists of plain values at the most."""
    for name in ("name", "name__in", "id__in"):
        with contextlib.suppress(BadRequest):
            list_query(asked((f"_filter_{name}", text)), CONTAINERS.fields)


@given(name=st.text(max_size=20), value=st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
def test_no_value_ends_in_an_error_of_the_database(stored: Database, name: str, value: str) -> None:
    """Neither on SQLite nor on Postgres: it finds something, nothing, or is refused."""
    plain = ("name", "id", "create_time", "tags", "name__regex", "name__in", "id__in", "data", "custom_fields__x")
    for field in (name, *plain, f"custom_fields__{name}"):
        try:
            page(stored, (f"_filter_{field}", value))
        except BadRequest:
            continue


@pytest.mark.parametrize(("name", "value"), [("status", "\0"), ("cancelled", '"\\u0000"'), ("container", "9" * 18)])
def test_fields_that_are_computed_take_any_value(stored: Database, name: str, value: str) -> None:
    """Whatever there is no column of its own for."""
    query = list_query(asked((f"_filter_{name}", value), (f"_filter_{name}__in", value)), runs.RUN_FIELDS)
    assert stored.read_sync(runs.page, query) == ([], 0)


def test_letters_of_any_script_in_either_case(stored: Database) -> None:
    """Case is no matter, on either database, beyond ASCII too."""
    assert page(stored, ("_filter_name__icontains", '"ÜNÏ"')) == ["Ünïcode 3"]
    assert page(stored, ("_filter_name__iexact", '"ünÏCODE 3"')) == ["Ünïcode 3"]


@pytest.mark.parametrize("pattern", ["Al{1,300}pha", r"(?P<first>A)lpha", r"^\p{Lu}lpha"])
def test_a_pattern_that_only_one_database_reads(stored: Database, pattern: str) -> None:
    """It finds what it means, or is refused; it is no fault of ours."""
    found: list[str] = ["Alpha_1"]
    with contextlib.suppress(BadFilter):
        found = page(stored, ("_filter_name__regex", f"'{pattern}'"))
    assert found == ["Alpha_1"]
