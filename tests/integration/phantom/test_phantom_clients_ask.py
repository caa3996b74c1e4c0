"""What further clients send: Splunk's own apps, scripts of integrations, command lines."""

from __future__ import annotations

import asyncio
import csv
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from api.phantom.wire import time_of
from storage import audit
from storage.audit import NewAudit
from storage.clock import now_ms
from tests.integration.phantom.phantom import PASSWORD, PHANTOM_TOKEN, USER, Phantom


async def test_a_token_finds_who_it_is(phantom: Phantom) -> None:
    """Splunk's app that exports to Phantom asks so before it does anything; no other token is told of."""
    made = await phantom.stack.http.post("/api/tokens", json={"name": "soc", "permissions": ["asset:read"]})
    token = made.json()["token"]
    for own, other, name in ((PHANTOM_TOKEN, token, "automation"), (token, PHANTOM_TOKEN, "soc")):
        async with httpx2.AsyncClient(base_url=phantom.stack.url, headers={"ph-auth-token": own}) as http:
            path = "/rest/ph_user?include_automation=true&_filter_token__key"
            found = (await http.get(f"{path}='{quote(own)}'")).json()
            assert (found["count"], [one["username"] for one in found["data"]]) == (1, [name])
            assert (await http.get(f"{path}='{quote(other)}'")).json()["count"] == 0
    assert (await phantom.get("ph_user", _filter_token__key=f"'{PHANTOM_TOKEN}'"))["count"] == 0


async def test_the_names_of_cef(phantom: Phantom) -> None:
    """What each field holds, as one object and as a list."""
    found = await phantom.get("cef_metadata")
    assert found["cef"]["sourceAddress"] == {"contains": ["ip"]}
    assert {kind for field in found["cef"].values() for kind in field["contains"]} == set(found["all_contains"])
    [field] = (await phantom.get("cef", _filter_name='"requestURL"'))["data"]
    assert (field["data_type"], field["type"]) == (["url"], "default")
    assert (await phantom.get("cef", page_size=0))["count"] == len(found["cef"])
    for asked, count in (
        ({"_filter_data_type__gt": '"["'}, len(found["cef"])),
        ({"_filter_data_type__range": '["a", "b"]'}, 0),
        ({"_filter_data_type__icontains": '"MAC"'}, 6),
    ):
        assert (await phantom.get("cef", **asked))["count"] == count, asked


@pytest.mark.parametrize("path", ["asset", "decided_list", "container_attachment", "workbook_template", "indicator"])
async def test_lists_of_what_is_not_here(phantom: Phantom, path: str) -> None:
    """Empty whatever they are asked for, so that who looks first can go on; nothing can be put there."""
    found = await phantom.get(path, _filter_name__iexact='"x"', page_size=0)
    assert found == {"count": 0, "num_pages": 0, "data": []}
    await phantom.fails("GET", f"{path}/mylist", 404)
    await phantom.fails("POST", path, 405, {"name": "x"})


async def test_several_are_changed_at_once(phantom: Phantom) -> None:
    """In an array an entry with an id changes that record, one without makes another; each is answered in its place."""
    first, second = await phantom.container(), await phantom.container()
    artifact = await phantom.artifact(first)
    answers = await phantom.post("container", [{"id": first, "status": "closed"}, {"id": 99, "status": "closed"},
                                               {"name": "third"}, {"id": str(second), "tags": ["x"]}])  # fmt: skip
    assert [one.get("id") for one in answers] == [first, None, 3, second]
    assert answers[1] == {"failed": True, "message": 'Container "99" not found'}
    assert (await phantom.get("container"))["count"] == 3
    closed = await phantom.get(f"container/{first}")
    assert (closed["status"], closed["close_time"] is not None) == ("closed", True)
    await phantom.post("artifact", [{"id": artifact, "severity": "low"}, {"container_id": second}])
    assert [one["severity"] for one in (await phantom.get("artifact"))["data"]] == ["low", "medium"]


async def test_entries_that_are_no_records(phantom: Phantom) -> None:
    """Whatever an id is, it is refused in its place, and keeps no other from being stored; there is a limit to them."""
    number = await phantom.container()
    wrong: list[Any] = [{"id": one, "name": "x"} for one in (True, [1], {"a": 1}, -1, 1.5, 1e300, 2**40, "x", "9" * 40)]
    answers = await phantom.post("container", [*wrong, None, "x", [], {"id": number, "status": []}, {"name": "y"}])
    assert [one.get("failed", False) for one in answers] == [True] * (len(wrong) + 4) + [False]
    assert [one["name"] for one in (await phantom.get("container"))["data"]] == ["An incident", "y"]
    for path in ("container", "artifact", "note", "container_comment", "container_pin"):
        await phantom.fails("POST", path, 400, [{}] * 1_001)
        assert all(one["failed"] for one in await phantom.post(path, [{"container_id": True}, {"container_id": 1e300}]))


async def test_several_notes_at_once(phantom: Phantom) -> None:
    """As Phantom's manual shows it, with one that is refused; comments and pins too."""
    container = await phantom.container()
    notes = await phantom.post("note", [{"container_id": container, "title": "a"}, {"title": "b"}])
    assert ([one.get("success") for one in notes], notes[1]["failed"]) == ([True, None], True)
    await phantom.post("note", [{"id": notes[0]["id"], "title": "changed"}])
    assert [one["title"] for one in (await phantom.get("note"))["data"]] == ["changed"]
    for path in ("container_comment", "container_pin"):
        both = await phantom.post(path, [{"container_id": container}, {"container_id": container}])
        assert [one["success"] for one in both] == [True, True]
        assert (await phantom.get(path))["count"] == 2


async def test_the_first_name_of_notes(phantom: Phantom) -> None:
    """``container_note``, by which older clients write them."""
    container = await phantom.container()
    body = {"container_id": container, "title": "t", "content": "c", "phase_id": None}
    note = await phantom.post("container_note", body)
    assert await phantom.get(f"container_note/{note['id']}") == await phantom.get(f"note/{note['id']}")
    assert (await phantom.get("container_note", _filter_container=container))["count"] == 1
    await phantom.post(f"container_note/{note['id']}", {"title": "changed"})
    assert (await phantom.get(f"note/{note['id']}/title")) == {"title": "changed"}
    assert (await phantom.http.delete(f"/rest/container_note/{note['id']}")).status_code == 200
    await phantom.fails("POST", f"note/{note['id']}", 404, {"title": "u"})
    assert (await phantom.post("note", [{"id": note["id"], "title": "u"}]))[0]["failed"]


async def test_statuses_and_severities_have_numbers(phantom: Phantom) -> None:
    """Those of their lists, in what is written and in filters."""
    number = await phantom.container(status=2, severity_id="3")
    assert (await phantom.get(f"container/{number}"))["status"] == "open"
    await phantom.post(f"container/{number}", {"status_id": 3, "severity": 1})
    found = await phantom.get(f"container/{number}")
    assert (found["status"], found["severity"]) == ("closed", "high")
    artifact = await phantom.artifact(number, severity=3)
    for params, count in (
        ({"_filter_status": "3"}, 1),
        ({"_filter_status__in": "[1, 2]"}, 0),
        ({"_filter_status_id__in": "[1, 3]", "_filter_severity": '"1"'}, 1),
        ({"_exclude_status": "3"}, 0),
        ({"_filter_status": "4"}, 0),
        ({"_filter_artifact__severity": "3"}, 1),
    ):
        assert (await phantom.get("container", **params))["count"] == count, params
    found = await phantom.get("artifact", _filter_container__status="3", _filter_severity_id="3")
    assert [one["id"] for one in found["data"]] == [artifact]
    for body in ({"status": 4}, {"status": 0}, {"severity_id": 9}, {"status": 2**40}, {"severity": 1.5}, {"status": -1},
                 {"status": True}, {"severity": [1]}):  # fmt: skip
        await phantom.fails("POST", f"container/{number}", 400, body)


async def test_what_has_nothing_that_belongs_to_it(phantom: Phantom) -> None:
    """A field of nothing is null: containers on which no playbook ran, and those without an artifact."""
    name = (await phantom.stack.playbook([{"id": "a", "action_ref": "core.echo"}]))["name"]
    ran, fresh = await phantom.container(artifacts=[{"cef": {"a": 1}}]), await phantom.container()
    await phantom.run(name, ran)
    for field, values in (("playbookrun__container", (fresh, ran)), ("artifact__cef__a", (fresh, ran))):
        for value, number in zip(("True", "False"), values, strict=True):
            found = await phantom.get("container", **{f"_filter_{field}__isnull": value})
            assert [one["id"] for one in found["data"]] == [number], (field, value)
    assert (await phantom.get("container", _exclude_playbookrun__container__isnull="True"))["count"] == 1


async def test_other_names_of_fields(phantom: Phantom) -> None:
    """Each field that names a record may end in ``_id`` in filters too."""
    await phantom.artifact(await phantom.container(ingest_app_id=7, role_id=3), ingest_app_id=7, playbook_run_id=5)
    for path, names in (
        ("container", {"ingest_app_id": 7, "role_id": 3}),
        ("artifact", {"ingest_app_id": 7, "playbook_run_id": 5}),
    ):
        assert (await phantom.get(path, **{f"_filter_{name}": value for name, value in names.items()}))["count"] == 1
    for name in ("current_phase_id", "parent_container_id"):
        assert (await phantom.get("container", **{f"_filter_{name}__isnull": "True"}))["count"] == 1


async def test_artifacts_by_the_words_in_cef(phantom: Phantom) -> None:
    """``search_cef``, which holds a list of texts."""
    container = await phantom.container()
    number = await phantom.artifact(container, cef={"cve": "CVE-2021-44228", "host": "web-07"})
    other = await phantom.artifact(container, cef={"cve": "CVE-2014-0160", "path": r"C:\new\"a", "version": "1.10"})
    for text, ids in (
        ('["cve-2021"]', [number]),
        ('["cve", "web-07"]', [number]),
        ('["cve-1999"]', []),
        (r'["c:\\NEW\\\"a"]', [other]),
        ("1.10", [other]),
        ("1.1,cve-2014", [other]),
        ("1.100", []),
        ("\0", []),
    ):
        found = await phantom.get("artifact", search_cef=text, _filter_severity='"medium"')
        assert [one["id"] for one in found["data"]] == ids, text
    assert [one["id"] for one in (await phantom.get("search", query=r"C:\new"))["results"]] == [other]
    await phantom.fails("GET", "artifact", 400, search_cef="a," * 2_000)


async def test_steps_by_what_they_were_given_and_gave(phantom: Phantom) -> None:
    """A pattern over ``result_data``, by which Splunk's app looks for what an action has found before."""
    step = {"id": "a", "action_ref": "core.echo", "parameters": {"ip": "1.2.3.4", "city": "Köln"}}
    run = await phantom.run((await phantom.stack.playbook([step]))["name"], await phantom.container())
    await phantom.ended(run)
    asked = {"_filter_action": '"core.echo"', "include_expensive": "", "sort": "start_time", "order": "desc"}
    for address, count in (("1.2.3.4", 1), ("4.3.2.1", 0)):
        pattern = f'"parameter.*\\"ip\\": \\"{address}\\""'
        assert (await phantom.get("app_run", _filter_result_data__regex=pattern, **asked))["count"] == count
    for operator, value in (("icontains", "KÖLN"), ("gt", "["), ("range", '["[", "z"]')):
        assert (await phantom.get("app_run", **{f"_filter_result_data__{operator}": value}))["count"] == 1, operator


async def test_a_user_beside_the_token_may_delete(phantom: Phantom) -> None:
    """Clients add user and password to a session whose header has the token."""
    number = await phantom.container()
    async with httpx2.AsyncClient(base_url=phantom.stack.url, headers={"ph-auth-token": PHANTOM_TOKEN}) as http:
        path = f"/rest/container/{number}"
        assert (await http.delete(path)).status_code == 403
        assert (await http.delete(path, auth=("", PHANTOM_TOKEN))).status_code == 403
        assert (await http.delete(path, auth=(USER, "wrong"))).status_code == 401
        assert (await http.get("/rest/user_info", auth=(USER, PASSWORD))).json()["username"] == "automation"
        assert (await http.delete(path, auth=(USER, PASSWORD))).status_code == 200


def entry(**fields: Any) -> NewAudit:
    """An entry of the trail."""
    made: dict[str, Any] = {
        "actor_id": "a", "actor_name": "a", "action": "container.update", "object_type": "container",
        "object_id": "1", "outcome": "ok", "address": None,
    }  # fmt: skip
    return NewAudit(**{**made, **fields})


async def trail(phantom: Phantom, path: str = "audit", **params: Any) -> list[str]:
    """The actions in a trail."""
    return [entry["action"] for entry in await phantom.get(path, **params)]


async def test_the_trail_is_an_array(phantom: Phantom) -> None:
    """With the names of Phantom, from a time to a time, in either order, of all or of one container, and as CSV."""
    number = await phantom.container()
    await phantom.container()
    await phantom.post(f"container/{number}", {"status": "open"})
    [updated, created] = await phantom.get(f"container/{number}/audit")
    assert (created["AUDIT SOURCE"], created["USER"], created["TIME"]) == ("container", "admin", created["time"])
    assert {"NOTE", "OLD VALUE", "NEW VALUE"} <= set(created)
    assert await trail(phantom, sort="asc") == ["container.create", "container.create", "container.update"]
    assert await trail(phantom, container=number, sort="TIME") == ["container.update", "container.create"]
    everything = {"user": "", "role": "", "authentication": "*", "container": ""}
    assert await trail(phantom, format="json", **everything) == await trail(phantom)
    assert await trail(phantom, start=updated["time"]) == ["container.update"]
    assert await trail(phantom, end=created["time"]) == ["container.create"]
    assert await trail(phantom, end=created["time"][:10], start=created["time"][:10]) == await trail(phantom)
    assert await trail(phantom, end="2017-07-07", start="2017-07-06") == []
    answer = await phantom.http.get(f"/rest/container/{number}/audit", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert [row["action"] for row in csv.DictReader(answer.text.splitlines())] == [
        "container.update",
        "container.create",
    ]
    for params in ({"user": 1}, {"container": "x"}, {"start": "soon"}):
        await phantom.fails("GET", "audit", 400, **params)


async def test_the_trail_up_to_a_time(phantom: Phantom) -> None:
    """It begins 30 days before its end, where no beginning is given."""
    day = 24 * 3_600_000
    for days in (40, 80):
        await phantom.stack.database.write(audit.append, entry(at=now_ms() - days * day, action=f"{days}"))
    assert await trail(phantom) == []
    assert await trail(phantom, end=time_of(now_ms() - 30 * day)) == ["40"]
    assert await trail(phantom, end="9999-12-31", start="0001-01-01") == ["80", "40"]


async def test_entries_that_are_refused_stand_in_the_trail(phantom: Phantom) -> None:
    """As every refusal does, though the answer to their array is a success."""
    await phantom.post("container", [{"name": ""}, {"id": 99}, {"name": "x"}])
    async with asyncio.timeout(30):
        while len(found := await phantom.get("audit", sort="asc")) < 3:
            await asyncio.sleep(0.05)
    told = sorted((one["action"], one["outcome"]) for one in found)
    refused = ("phantom.write_containers", "refused")
    assert told == [("container.create", "ok"), refused, refused]


async def test_cells_that_a_spreadsheet_would_run(phantom: Phantom) -> None:
    """Whoever names a token or a user gets no formula into somebody's table; in JSON a name is as it is."""
    for name in ("=1+1", "@SUM(A1)", "+1", "-1", "a=b"):
        await phantom.stack.database.write(audit.append, entry(at=now_ms(), actor_name=name))
    table = await phantom.http.get("/rest/audit", params={"format": "csv", "sort": "asc"})
    told = [row["USER"] for row in csv.DictReader(table.text.splitlines())]
    assert told == ["'=1+1", "'@SUM(A1)", "'+1", "'-1", "a=b"]
    assert (await phantom.get("audit", sort="asc"))[0]["USER"] == "=1+1"


async def test_who_may_read_the_trail_of_a_container(phantom: Phantom) -> None:
    """Who reads containers sees what was done to one, and by whom, but not from where."""
    number = await phantom.container()
    [whole] = await phantom.get(f"container/{number}/audit")
    assert whole["ip_address"] == "127.0.0.1"
    made = await phantom.stack.http.post("/api/tokens", json={"name": "reader", "permissions": ["asset:read"]})
    headers = {"ph-auth-token": made.json()["token"]}
    async with httpx2.AsyncClient(base_url=phantom.stack.url, headers=headers) as http:
        assert (await http.get(f"/rest/container/{number}/audit")).json() == [{**whole, "ip_address": None}]
        assert (await http.get("/rest/audit")).status_code == 403


async def test_what_waits_in_a_container(phantom: Phantom) -> None:
    """Its approvals and its phases, of which there are none."""
    made = await phantom.stack.playbook([{"id": "ask", "type": "approval"}])
    asked, other = await phantom.container(), await phantom.container()
    run = await phantom.run(made["name"], asked)
    async with asyncio.timeout(30):
        while not (await phantom.get(f"container/{asked}/approvals"))["count"]:
            await asyncio.sleep(0.05)
    [one] = (await phantom.get(f"container/{asked}/approvals"))["data"]
    assert (one["playbook_run"], one["container"]) == (run, asked)
    assert (await phantom.get(f"container/{other}/approvals"))["data"] == []
    assert (await phantom.get(f"container/{asked}/phases"))["data"] == []
    await phantom.fails("GET", "container/99/phases", 404)


async def test_what_may_be_chosen(phantom: Phantom) -> None:
    """With what clients read of it: tags in use, colours, what cannot be changed; containers are of tenant 0."""
    number = await phantom.container(tags=["b", "a"])
    await phantom.container(tags=["b"])
    assert await phantom.get("container_options/tags") == {"tags": ["a", "b"]}
    made = await phantom.stack.http.post("/api/tokens", json={"name": "reader", "permissions": ["playbook:read"]})
    headers = {"ph-auth-token": made.json()["token"]}
    async with httpx2.AsyncClient(base_url=phantom.stack.url, headers=headers) as http:
        assert (await http.get("/rest/container_options/tags")).json() == {"tags": []}
    assert [one["color"] for one in (await phantom.get("severity"))["data"]] == ["red", "yellow", "green"]
    assert {one["is_mutable"] for one in (await phantom.get("container_status"))["data"]} == {False}
    assert {one["immutable"] for one in (await phantom.get("role"))["data"]} == {True}
    tenant = (await phantom.get(f"container/{number}"))["tenant"]
    assert (await phantom.get(f"tenant/{tenant}"))["id"] == tenant
