"""Playbooks, their slugs and their revisions."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from storage_rows import NOW, PLAYBOOK, new_playbook

from storage import playbooks
from storage.database import Database
from storage.errors import NotFound, Taken
from storage.playbooks import PlaybookRow

OTHER = "pb-other"


def listed(database: Database, **filters: object) -> tuple[list[str], int]:
    """The ids of a list and its total."""
    rows, total = database.read_sync(playbooks.list_playbooks, **filters)
    return [row.id for row in rows], total


def test_a_playbook_reads_back_as_it_was_created(database: Database) -> None:
    """create answers the row that get finds, at revision 1."""
    created = database.write_sync(playbooks.create, new_playbook())
    assert created == PlaybookRow(
        id=PLAYBOOK,
        slug="automated-patching",
        name="Automated patching",
        description="Verify, rehearse, patch, prove.",
        trigger={"event": "manual"},
        tags=["patching", "remediation"],
        version="1.2.0",
        revision=1,
        step_count=1,
        created_at=NOW,
        updated_at=NOW,
        deleted_at=None,
    )
    assert database.read_sync(playbooks.get, PLAYBOOK) == created


def test_a_revision_reads_back_with_everything_a_run_is_pinned_to(database: Database) -> None:
    """Definition, text as sent, schema, plan and steps are there."""
    database.write_sync(playbooks.create, new_playbook())
    row = database.read_sync(playbooks.get_revision, PLAYBOOK, 1)
    assert row is not None
    given = dataclasses.asdict(new_playbook())
    names = [field.name for field in dataclasses.fields(row) if field.name in given]
    assert {name: getattr(row, name) for name in names} == {name: given[name] for name in names}
    assert (row.playbook_id, row.revision, row.step_count) == (PLAYBOOK, 1, 1)


def test_a_playbook_is_found_by_its_slug(database: Database) -> None:
    """Wherever an id is taken, the slug is too."""
    created = database.write_sync(playbooks.create, new_playbook())
    assert database.read_sync(playbooks.get, "automated-patching") == created


def test_an_id_goes_before_a_slug(database: Database) -> None:
    """A playbook whose slug is another one's id does not hide it."""
    database.write_sync(playbooks.create, new_playbook())
    database.write_sync(playbooks.create, new_playbook(id=OTHER, slug=PLAYBOOK))
    found = database.read_sync(playbooks.get, PLAYBOOK)
    assert found is not None
    assert found.id == PLAYBOOK


def test_an_unknown_playbook_is_none(database: Database) -> None:
    """Neither id nor slug, nor a revision of it."""
    assert database.read_sync(playbooks.get, "nothing") is None
    assert database.read_sync(playbooks.get_revision, "nothing", 1) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"slug": "other"}, "id"), ({"id": OTHER}, "slug"), ({}, "id")],
)
def test_an_id_and_a_slug_belong_to_one_playbook(database: Database, changes: dict[str, object], field: str) -> None:
    """A second create with either raises Taken, which names it, and stores nothing."""
    database.write_sync(playbooks.create, new_playbook())
    with pytest.raises(Taken) as caught:
        database.write_sync(playbooks.create, new_playbook(**changes))
    assert caught.value.field == field
    assert listed(database)[1] == 1


def test_of_simultaneous_creates_with_one_slug_one_wins(database_url: str) -> None:
    """Eight at once on two pools: one is stored, seven are told that the slug is taken."""
    databases = [Database(database_url), Database(database_url)]
    gate = threading.Barrier(8)

    def create(number: int) -> str:
        gate.wait()
        try:
            databases[number % 2].write_sync(playbooks.create, new_playbook(id=f"pb-{number}"))
        except Taken as error:
            return error.field
        return "created"

    with ThreadPoolExecutor(8) as threads:
        answers = sorted(threads.map(create, range(8)))
    for database in databases:
        database.close()
    assert answers == ["created", *["slug"] * 7]


def test_a_replacement_is_the_next_revision(database: Database) -> None:
    """Name, slug and tags change, the creation's time does not, and the old revision stays as it was."""
    database.write_sync(playbooks.create, new_playbook())
    new = new_playbook(slug="patching", name="Patching", tags=["x"], plan={"format": 2}, created_at=NOW + 5)
    row = database.write_sync(playbooks.replace, PLAYBOOK, new)
    assert (row.revision, row.slug, row.created_at, row.updated_at) == (2, "patching", NOW, NOW + 5)
    assert database.read_sync(playbooks.get, "patching") == row
    assert database.read_sync(playbooks.get, "automated-patching") is None
    plans = [database.read_sync(playbooks.get_revision, PLAYBOOK, number) for number in (1, 2)]
    assert [revision.plan for revision in plans if revision] == [{"format": 1, "steps": []}, {"format": 2}]


def test_a_replacement_may_not_take_another_ones_slug(database: Database) -> None:
    """It raises Taken and leaves the playbook at its revision."""
    database.write_sync(playbooks.create, new_playbook())
    database.write_sync(playbooks.create, new_playbook(id=OTHER, slug="other"))
    with pytest.raises(Taken) as caught:
        database.write_sync(playbooks.replace, OTHER, new_playbook(id=OTHER))
    assert caught.value.field == "slug"
    row = database.read_sync(playbooks.get, OTHER)
    assert row is not None
    assert (row.slug, row.revision) == ("other", 1)


def test_simultaneous_replacements_are_revisions_of_their_own(database_url: str) -> None:
    """Six at once on two pools make the revisions 2 to 7."""
    databases = [Database(database_url), Database(database_url)]
    databases[0].write_sync(playbooks.create, new_playbook())

    def replace(number: int) -> int:
        return databases[number % 2].write_sync(playbooks.replace, PLAYBOOK, new_playbook()).revision

    with ThreadPoolExecutor(6) as threads:
        revisions = sorted(threads.map(replace, range(6)))
    for database in databases:
        database.close()
    assert revisions == [2, 3, 4, 5, 6, 7]


def test_replacing_an_unknown_or_deleted_playbook_is_not_found(database: Database) -> None:
    """There is nothing to replace."""
    with pytest.raises(NotFound):
        database.write_sync(playbooks.replace, PLAYBOOK, new_playbook())
    database.write_sync(playbooks.create, new_playbook())
    database.write_sync(playbooks.delete, PLAYBOOK, NOW)
    with pytest.raises(NotFound):
        database.write_sync(playbooks.replace, PLAYBOOK, new_playbook())


def test_a_deleted_playbook_is_gone_but_for_its_revisions(database: Database) -> None:
    """Lookups and lists know it no more; runs still find their revision, and it itself by its id, if asked."""
    database.write_sync(playbooks.create, new_playbook())
    database.write_sync(playbooks.delete, PLAYBOOK, NOW + 9)
    assert database.read_sync(playbooks.get, PLAYBOOK) is None
    assert database.read_sync(playbooks.get, "automated-patching") is None
    assert listed(database) == ([], 0)
    assert database.read_sync(playbooks.get_revision, PLAYBOOK, 1) is not None
    kept = database.read_sync(playbooks.get, PLAYBOOK, include_deleted=True)
    assert kept is not None
    assert kept.deleted_at == NOW + 9


def test_a_deleted_playbooks_slug_is_free_and_its_id_is_not(database: Database) -> None:
    """Executions refer to the id for ever."""
    database.write_sync(playbooks.create, new_playbook())
    database.write_sync(playbooks.delete, PLAYBOOK, NOW)
    with pytest.raises(Taken) as caught:
        database.write_sync(playbooks.create, new_playbook())
    assert caught.value.field == "id"
    assert database.write_sync(playbooks.create, new_playbook(id=OTHER)).slug == "automated-patching"


def test_deleting_twice_is_not_found(database: Database) -> None:
    """The second time there is none."""
    database.write_sync(playbooks.create, new_playbook())
    database.write_sync(playbooks.delete, PLAYBOOK, NOW)
    with pytest.raises(NotFound):
        database.write_sync(playbooks.delete, PLAYBOOK, NOW)


def test_revisions_are_listed_newest_first(database: Database) -> None:
    """In pages, with their total."""
    database.write_sync(playbooks.create, new_playbook())
    for _ in range(2):
        database.write_sync(playbooks.replace, PLAYBOOK, new_playbook())
    rows, total = database.read_sync(playbooks.list_revisions, PLAYBOOK, page=1, per_page=2)
    assert ([row.revision for row in rows], total) == ([3, 2], 3)


def test_playbooks_are_listed_by_name(database: Database) -> None:
    """Whatever the case of the name, in pages."""
    for number, name in enumerate(["beta", "Alpha", "Gamma"]):
        database.write_sync(playbooks.create, new_playbook(id=f"pb-{number}", slug=name, name=name))
    assert listed(database, per_page=2) == (["pb-1", "pb-0"], 3)
    assert listed(database, page=2, per_page=2) == (["pb-2"], 3)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("PATCH", ["pb-0"]),
        ("rehearse", ["pb-0"]),
        ("100%", ["pb-1"]),
        ("a_b", ["pb-1"]),
        ("%", ["pb-1"]),
        ("_", ["pb-1"]),
        ("/", ["pb-1"]),
        ("straße", ["pb-1"]),
        ("STRASSE", ["pb-1"]),
        ("nothing", []),
        ("a\x00b", []),
    ],
)
def test_search_finds_parts_of_texts_whatever_their_case(database: Database, search: str, expected: list[str]) -> None:
    """Name, slug and description are searched; %, _ and / mean themselves."""
    database.write_sync(playbooks.create, new_playbook(id="pb-0", slug="s0", name="Automated patching"))
    database.write_sync(
        playbooks.create, new_playbook(id="pb-1", slug="s1", name="100% of a_b", description="Straße/Weg")
    )
    assert listed(database, search=search) == (expected, len(expected))


@pytest.mark.parametrize(
    ("tag", "expected"), [("prod", ["pb-0"]), ("pro", []), ("PROD", []), (',"prod', ["pb-1"]), ("x" * 300, ["pb-1"])]
)
def test_a_tag_is_matched_exactly(database: Database, tag: str, expected: list[str]) -> None:
    """Neither a part of a tag nor another case, whatever characters it has and however long it is."""
    database.write_sync(playbooks.create, new_playbook(id="pb-0", slug="s0", tags=["prod", "prod", "web"]))
    database.write_sync(playbooks.create, new_playbook(id="pb-1", slug="s1", tags=[',"prod', "x" * 300, "x" * 299]))
    assert listed(database, tag=tag) == (expected, len(expected))


def test_a_replacement_changes_what_is_searched(database: Database) -> None:
    """Old tags and names find nothing any more."""
    database.write_sync(playbooks.create, new_playbook())
    database.write_sync(playbooks.replace, PLAYBOOK, new_playbook(name="Triage", slug="triage", tags=["new"]))
    assert listed(database, tag="patching") == ([], 0)
    assert listed(database, search="automated") == ([], 0)
    assert listed(database, tag="new", search="TRIAGE") == ([PLAYBOOK], 1)
