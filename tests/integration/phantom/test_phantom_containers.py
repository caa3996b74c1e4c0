"""Containers, artifacts and what people write beside them."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.parse

import pytest

from tests.integration.engine.test_blocks import echo
from tests.integration.phantom.phantom import Phantom

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


async def test_a_container_reads_back(phantom: Phantom) -> None:
    """With its defaults, and the fields that were given."""
    number = await phantom.container(
        severity="high", tags=["a", "b"], data={"raw": 1}, custom_fields={"region": "eu"},
        due_time="2030-01-01T00:00:00Z", owner_id="admin", unknown_field=1,
    )  # fmt: skip
    found = await phantom.get(f"container/{number}")
    expected = {
        "id": number, "name": "An incident", "label": "events", "status": "new", "severity": "high",
        "sensitivity": "amber", "container_type": "default", "tags": ["a", "b"], "data": {"raw": 1},
        "custom_fields": {"region": "eu"}, "due_time": "2030-01-01T00:00:00.000000Z", "owner_name": "admin",
        "artifact_count": 0, "close_time": None, "version": 1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert TIME.fullmatch(found["create_time"])
    assert isinstance(found["owner"], int)
    assert found["source_data_identifier"]
    assert found["hash"]


async def test_a_container_comes_with_its_artifacts(phantom: Phantom) -> None:
    """In one request; the answer names their ids."""
    made = await phantom.post("container", {"name": "x", "artifacts": [{"cef": {"a": 1}}, {"name": "second"}]})
    assert (made["success"], len(made["new_artifact_ids"])) == (True, 2)
    found = await phantom.get(f"container/{made['id']}/artifacts", sort="id")
    assert [one["name"] for one in found["data"]] == ["artifact", "second"]
    assert found["data"][0]["cef"] == {"a": 1}
    assert (await phantom.get(f"container/{made['id']}"))["artifact_count"] == 2
    body = {"name": "y", "artifacts": [{"cef": "no object"}]}
    await phantom.fails("POST", "container", 400, body)
    assert (await phantom.get("container"))["count"] == 1


async def test_many_at_once(phantom: Phantom) -> None:
    """An array is answered with an array; what is wrong in one does not touch the others."""
    body = [{"name": "a"}, {"label": "nameless"}, {"name": "b", "source_data_identifier": "sdi"}, 7,
            {"name": "c", "source_data_identifier": "sdi"}]  # fmt: skip
    answers = await phantom.post("container", body)
    assert [one.get("success", False) for one in answers] == [True, False, True, False, False]
    assert answers[4]["existing_container_id"] == answers[2]["id"]
    container = answers[0]["id"]
    answers = await phantom.post("artifact", [{"container_id": container}, {"container_id": 999}, {}])
    assert [one.get("success", False) for one in answers] == [True, False, False]


async def test_a_duplicate_is_refused(phantom: Phantom) -> None:
    """The same ``source_data_identifier`` names the container that is there, also when many come at once."""
    body = {"name": "x", "source_data_identifier": "same"}
    answers = await asyncio.gather(*(phantom.http.post("/rest/container", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    [made] = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer.status_code == 400:
            assert answer.json()["existing_container_id"] == made
    other = await phantom.post("container", {**body, "asset_id": 5})
    assert other["success"]


async def test_a_long_source_reads_back(phantom: Phantom) -> None:
    """Whole, by any of its ends; it is known as a duplicate too."""
    source = "inbox : " + "AAMk" * 200
    number = await phantom.container(source_data_identifier=source)
    assert await phantom.get(f"container/{number}/source_data_identifier") == {"source_data_identifier": source}
    for name in ("", "__exact", "__startswith", "__icontains"):
        found = await phantom.get("container", **{f"_filter_source_data_identifier{name}": json.dumps(source)})
        assert [one["id"] for one in found["data"]] == [number]
    told = await phantom.fails("POST", "container", 400, {"name": "x", "source_data_identifier": source})
    assert told["existing_container_id"] == number
    assert "source_key" not in await phantom.get(f"container/{number}")


async def test_an_update_makes_no_duplicate(phantom: Phantom) -> None:
    """Neither by the identifier nor by the asset; a container may say its own again."""
    first = await phantom.container(source_data_identifier="a")
    second = await phantom.container(source_data_identifier="b")
    other = await phantom.container(source_data_identifier="b", asset_id=5)
    for number, body in ((second, {"source_data_identifier": "a"}), (other, {"asset_id": None})):
        told = await phantom.fails("POST", f"container/{number}", 400, body)
        assert told["existing_container_id"] in (first, second)
    before = await phantom.get(f"container/{second}")
    await phantom.post(f"container/{second}", {"source_data_identifier": "b"})
    await phantom.post(f"container/{second}", {"source_data_identifier": "c"})
    after = await phantom.get(f"container/{second}")
    assert (after["source_data_identifier"], after["hash"] != before["hash"]) == ("c", True)
    await phantom.container(source_data_identifier="b")


@pytest.mark.parametrize(
    "body",
    [{"name": "  "}, {"name": ""}, {"due_time": "9999-12-31T23:59:59-12:00"}, {"custom_fields": "[" * 50_000}],
)
async def test_an_update_that_would_do_harm(phantom: Phantom, body: dict[str, str]) -> None:
    """400, and the list can still be read."""
    number = await phantom.container()
    await phantom.fails("POST", f"container/{number}", 400, body)
    await phantom.fails("POST", "container", 400, {"name": "x", **body})
    assert (await phantom.get("container", page_size=0))["count"] == 1


async def test_artifacts_are_found_by_what_they_hold(phantom: Phantom) -> None:
    """As the app of Phantom for itself asks it, and the scripts of many."""
    container = await phantom.container()
    number = await phantom.artifact(container, cef={"sourceAddress": "10.0.0.1", "headers": {"Subject": "Hello"}})
    await phantom.artifact(container, cef={"sourceAddress": "10.0.0.2"})
    for name, value in (
        ("sourceAddress", "'10.0.0.1'"),
        ("headers__Subject", '"Hello"'),
        ("headers__isnull", "False"),
        ("icontains", "'\"10.0.0.1\"'"),
    ):
        query = (
            f"_filter_cef__{name}={urllib.parse.quote(value)}&page_size=0&pretty&_filter_container__in=[{container}]"
        )
        for path in ("artifact", "artifact/", f"container/{container}/artifacts"):
            found = (await phantom.http.get(f"/rest/{path}?{query}")).json()
            assert [one["id"] for one in found["data"]] == [number], name


async def test_a_container_is_updated(phantom: Phantom) -> None:
    """Only what is given; closing it sets the time."""
    number = await phantom.container(description="before")
    before = await phantom.get(f"container/{number}")
    answer = await phantom.post(f"container/{number}", {"status": "closed", "severity_id": "low", "owner_id": None})
    assert answer == {"success": True, "id": number}
    found = await phantom.get(f"container/{number}")
    assert (found["status"], found["severity"], found["description"]) == ("closed", "low", "before")
    assert found["close_time"]
    assert found["create_time"] == before["create_time"]
    await phantom.fails("POST", "container/999", 404, {"status": "open"})
    await phantom.fails("POST", f"container/{number}", 400, {"due_time": "soon"})
    await phantom.fails("POST", f"container/{number}", 400, {"owner_id": "nobody"})


async def test_an_artifact_is_updated(phantom: Phantom) -> None:
    """Only the fields that are given; what ``cef`` held before is gone, so that a key can be taken out of it."""
    container = await phantom.container()
    number = await phantom.artifact(container, cef={"a": 1, "b": 2}, type="network", severity="low")
    await phantom.post(f"artifact/{number}", {"cef": {"b": 3}, "name": "other", "tags": ["x"]})
    found = await phantom.get(f"artifact/{number}")
    assert (found["cef"], found["name"], found["type"], found["tags"]) == ({"b": 3}, "other", "network", ["x"])
    found["cef"] |= {"c": 4}
    await phantom.post(f"artifact/{number}", found)
    assert (await phantom.get(f"artifact/{number}"))["cef"] == {"b": 3, "c": 4}
    assert found["container"] == container
    assert found["update_time"] >= found["create_time"]


async def test_one_field(phantom: Phantom) -> None:
    """``/rest/container/<id>/<field>``; an unknown one names those that there are."""
    container = await phantom.container()
    artifact = await phantom.artifact(container, cef={"a": 1})
    assert await phantom.get(f"container/{container}/name") == {"name": "An incident"}
    assert await phantom.get(f"artifact/{artifact}/cef") == {"cef": {"a": 1}}
    told = await phantom.fails("GET", f"container/{container}/colour", 404)
    assert "severity" in told["message"]


async def test_deleting_takes_everything_along(phantom: Phantom) -> None:
    """Artifacts, notes, comments and pins; a run on it stays readable."""
    made = await phantom.stack.playbook([echo("a")])
    container = await phantom.container()
    artifact = await phantom.artifact(container)
    run = await phantom.run(made["name"], container)
    await phantom.ended(run)
    note = (await phantom.post("note", {"container_id": container, "title": "t", "content": "c"}))["id"]
    await phantom.post("container_comment", {"container_id": container, "comment": "hm"})
    await phantom.post("container_pin", {"container_id": container, "message": "m", "data": "d"})
    answer = await phantom.http.delete(f"/rest/container/{container}")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    for path in (f"container/{container}", f"artifact/{artifact}", f"note/{note}", f"container/{container}/comments"):
        await phantom.fails("GET", path, 404)
    assert (await phantom.get(f"playbook_run/{run}"))["status"] == "success"
    await phantom.fails("DELETE", f"container/{container}", 404)


async def test_several_are_deleted_at_once(phantom: Phantom) -> None:
    """By ``ids`` in the query, repeated or as a list, or in the body; all or none."""
    numbers = [await phantom.container() for _ in range(5)]
    answer = await phantom.http.delete("/rest/container", params={"ids": numbers[:2]})
    assert answer.status_code == 200
    answer = await phantom.http.delete("/rest/container", params={"ids": json.dumps([numbers[2], 999])})
    assert answer.status_code == 404
    answer = await phantom.http.request("DELETE", "/rest/container/", content=json.dumps({"ids": numbers[2:4]}))
    assert answer.status_code == 200
    assert [one["id"] for one in (await phantom.get("container"))["data"]] == numbers[4:]
    artifacts = [await phantom.artifact(numbers[4]) for _ in range(2)]
    assert (await phantom.http.delete("/rest/artifact", params={"ids": [*artifacts, artifacts[0]]})).status_code == 200


async def test_what_names_nothing_deletes_nothing(phantom: Phantom) -> None:
    """Ids that are no numbers, or of no record, whatever they are; digits in a text are numbers, as anywhere."""
    number = await phantom.container()
    await phantom.artifact(number)
    numbers = (
        [True],
        [number, None],
        [number, "x"],
        [[number]],
        [10**11],
        [2**62],
        [-1],
        [1.5],
        {},
        [],
        [number] * 1_001,
    )
    for ids in numbers:
        for path in ("container", "artifact"):
            await phantom.fails("DELETE", path, 400, {"ids": ids})
    for text in (f"{number},x", "true", "99999999999", "[null]", f"[{number}, [1]]"):
        await phantom.fails("DELETE", "container", 400, ids=text)
    answer = await phantom.http.request("DELETE", "/rest/container", content=json.dumps({"ids": [str(number)]}))
    assert answer.status_code == 200


async def test_notes_comments_and_pins(phantom: Phantom) -> None:
    """Written, listed beside their container, changed, taken away."""
    container = await phantom.container()
    note = await phantom.post("note", {"container_id": container, "title": "t", "content": "c", "attachments": []})
    other = await phantom.post(f"container/{container}/notes", {"title": "u", "note_format": "markdown"})
    await phantom.post(f"note/{note['id']}", {"content": "changed"})
    found = await phantom.get("note", _filter_container_id=container, sort="modified_time", order="desc", pretty="true")
    assert [(one["title"], one["content"]) for one in found["data"]] == [("t", "changed"), ("u", "")]
    assert found["data"][0]["_pretty_author"] == "admin"
    await phantom.http.delete(f"/rest/note/{other['id']}")
    assert (await phantom.get(f"container/{container}/notes"))["count"] == 1
    await phantom.post("container_comment", {"container": container, "comment": "hm"})
    [comment] = (await phantom.get(f"container/{container}/comments"))["data"]
    assert (comment["comment"], TIME.fullmatch(comment["time"]) is not None) == ("hm", True)
    pin = await phantom.post("container_pin", {"container_id": container, "message": "m", "data": "d"})
    assert [one["message"] for one in (await phantom.get(f"container/{container}/pins"))["data"]] == ["m"]
    assert (await phantom.http.delete(f"/rest/container_pin/{pin['id']}")).status_code == 200
    assert (await phantom.get(f"container/{container}/pins"))["data"] == []
    await phantom.fails("POST", "note", 404, {"container_id": 999, "title": "t"})


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"_filter_name": '"Alpha one"'}, ["Alpha one"]),
        ({"_filter_name": "'Alpha one'"}, ["Alpha one"]),
        ({"_filter_name": "Alpha one"}, ["Alpha one"]),
        ({"_filter_name__iexact": '"ALPHA ONE"'}, ["Alpha one"]),
        ({"_filter_name__contains": '"lpha"'}, ["Alpha one", "alpha two"]),
        ({"_filter_name__contains": '"Alpha"'}, ["Alpha one"]),
        ({"_filter_name__icontains": '"ALPHA"'}, ["Alpha one", "alpha two"]),
        ({"_filter_name__startswith": '"alpha"'}, ["alpha two"]),
        ({"_filter_name__endswith": '"one"'}, ["Alpha one"]),
        ({"_filter_name__regex": '"^[Aa]lpha"'}, ["Alpha one", "alpha two"]),
        ({"_filter_name__iregex": '"^ALPHA t"'}, ["alpha two"]),
        ({"_filter_name__in": '["Alpha one", "Beta, \\"x\\""]'}, ["Alpha one", 'Beta, "x"']),
        ({"_filter_name__in": "('Alpha one','alpha two')"}, ["Alpha one", "alpha two"]),
        ({"_filter_id__in": "[1,3]"}, ["Alpha one", 'Beta, "x"']),
        ({"_filter_id__in": "(1, 3)"}, ["Alpha one", 'Beta, "x"']),
        ({"_filter_id__gt": "1"}, ["alpha two", 'Beta, "x"']),
        ({"_filter_id__gte": '"2"'}, ["alpha two", 'Beta, "x"']),
        ({"_filter_id__lt": "2"}, ["Alpha one"]),
        ({"_filter_id__lte": "2"}, ["Alpha one", "alpha two"]),
        ({"_filter_id__range": "(2,3)"}, ["alpha two", 'Beta, "x"']),
        ({"_filter_close_time__isnull": "True"}, ["Alpha one", "alpha two"]),
        ({"_filter_close_time__isnull": "false"}, ['Beta, "x"']),
        ({"_filter_in_case": "True"}, []),
        ({"_filter_in_case": "false", "_filter_id": "1"}, ["Alpha one"]),
        ({"_exclude_name": '"Alpha one"'}, ["alpha two", 'Beta, "x"']),
        ({"_exclude_name__icontains": '"alpha"'}, ['Beta, "x"']),
        ({"_exclude_owner": "1"}, ["alpha two", 'Beta, "x"']),
        ({"_filter_owner__username": '"admin"'}, ["Alpha one"]),
        ({"_filter_artifact_count": "1"}, ["Alpha one"]),
        ({"_filter_artifact__cef__address__isnull": "False"}, ["Alpha one"]),
        ({"_filter_artifact__cef__address": '"10.0.0.1"', "_filter_artifact__name__icontains": "ONE"}, ["Alpha one"]),
        ({"_exclude_artifact__cef__address": '"10.0.0.1"'}, ["alpha two", 'Beta, "x"']),
        ({"_filter_artifact__id__gt": "0"}, ["Alpha one"]),
        ({"_filter_artifact_count__gt": "0"}, ["Alpha one"]),
        ({"_filter_create_time__gt": '"2016-01-15"'}, ["Alpha one", "alpha two", 'Beta, "x"']),
        ({"_filter_create_time__lt": '"2016-01-15T22:15:55.171000Z"'}, []),
        ({"_filter_severity": '"high"', "_filter_label": '"events"'}, ["Alpha one"]),
        ({"_annotation_whatever": "1", "_special": "x", "unknown": "y"}, ["Alpha one", "alpha two", 'Beta, "x"']),
        ({"sort": "name", "order": "desc"}, None),
        ({"page_size": '"200"', "page": "0"}, ["Alpha one", "alpha two", 'Beta, "x"']),
    ],
)
async def test_filters(phantom: Phantom, params: dict[str, str], names: list[str] | None) -> None:
    """Every operator, with values as clients write them."""
    await phantom.container(
        name="Alpha one", severity="high", owner_id="admin", artifacts=[{"name": "one", "cef": {"address": "10.0.0.1"}}]
    )
    await phantom.container(name="alpha two")
    await phantom.container(name='Beta, "x"', status="closed", close_time="2020-01-01T00:00:00Z")
    found = await phantom.get("container", **params)
    told = [one["name"] for one in found["data"]]
    if names is not None:
        assert (told, found["count"]) == (names, len(names))
    else:
        assert told in (["alpha two", 'Beta, "x"', "Alpha one"], ['Beta, "x"', "alpha two", "Alpha one"])


@pytest.mark.parametrize(
    "params",
    [
        {"_filter_colour": '"red"'}, {"_exclude_colour__in": "[1]"}, {"sort": "colour"}, {"order": "up"},
        {"_filter_id": '"x"'}, {"_filter_name__isnull": '"x"'}, {"_filter_id__range": "(1)"},
        {"_filter_create_time__gt": '"soon"'}, {"_filter_name__regex": '"("'}, {"page": "-1"}, {"page_size": "x"},
        {"_filter_name": "[1,2]"}, {"_filter_data": '"x"'}, {"_filter_name__sounds": '"x"'},
        {"_filter_artifact__colour": '"red"'}, {"sort": "artifact__name"}, {"_filter_artifact__": "1"},
    ],
)  # fmt: skip
async def test_filters_that_are_refused(phantom: Phantom, params: dict[str, str]) -> None:
    """Never a list of everything for a filter that says nothing."""
    await phantom.fails("GET", "container", 400, **params)


async def test_artifacts_by_their_container(phantom: Phantom) -> None:
    """By its number, quoted as some clients do, and by its fields."""
    first, second = await phantom.container(name="one"), await phantom.container(name="two")
    for container in (first, second):
        await phantom.artifact(container, source_data_identifier=f"sdi-{container}")
    for params in (
        {"_filter_container": f'"{first}"'},
        {"_filter_container__exact": str(first)},
        {"_filter_container_id": str(first)},
        {"_filter_container__name__icontains": '"ONE"'},
        {"_filter_source_data_identifier": f'"sdi-{first}"'},
    ):
        found = await phantom.get("artifact", **params)
        assert [one["container"] for one in found["data"]] == [first], params
    pretty = await phantom.get("artifact", _filter_container=second, pretty="")
    assert pretty["data"][0]["_pretty_container"] == "two"
    assert (await phantom.get("search", query='"one"'))["count"] == 1


async def test_search(phantom: Phantom) -> None:
    """By what the artifacts hold too; a client takes the number of the container from the link, as Polarity does."""
    container = await phantom.container(name="Port scan", description="from 10.9.8.7")
    artifact = await phantom.artifact(container, name="source", cef={"sourceAddress": "10.9.8.7"})
    found = await phantom.get("search", query='"10.9.8.7"')
    told = [(one["category"], one["id"], int(one["url"].split("/")[4])) for one in found["results"]]
    assert told == [("container", container, container), ("artifact", artifact, container)]
    assert (found["count"], found["num_pages"]) == (2, 1)
    assert (await phantom.get("search", query="10.9.8.8"))["results"] == []
    await phantom.fails("GET", "search", 400)


async def test_simultaneous_changes_of_one_artifact_are_all_kept(phantom: Phantom) -> None:
    """Each changes its own field."""
    number = await phantom.artifact(await phantom.container(), cef={"first": "0"})
    names = ("name", "label", "type", "description", "kill_chain", "source_data_identifier")
    await asyncio.gather(*(phantom.post(f"artifact/{number}", {name: "changed"}) for name in names))
    found = await phantom.get(f"artifact/{number}")
    assert ({found[name] for name in names}, found["cef"]) == ({"changed"}, {"first": "0"})


async def test_every_change_beside_a_container_is_audited(phantom: Phantom) -> None:
    """Notes and pins, also when they are changed and taken away."""
    container = await phantom.container()
    note = (await phantom.post("note", {"container_id": container, "title": "t", "content": "c"}))["id"]
    pin = (await phantom.post("container_pin", {"container_id": container, "message": "m", "data": "d"}))["id"]
    await phantom.post(f"note/{note}", {"title": "other"})
    for path in (f"note/{note}", f"container_pin/{pin}"):
        assert (await phantom.http.delete(f"/rest/{path}")).status_code == 200
    found = (await phantom.stack.http.get("/api/audit", params={"per_page": 100})).json()["data"]
    done = {(one["action"], one["object_id"]) for one in found if one["object_type"] in ("note", "pin")}
    expected = {("note.create", str(note)), ("note.update", str(note)), ("note.delete", str(note))}
    assert done == expected | {("pin.create", str(pin)), ("pin.delete", str(pin))}
