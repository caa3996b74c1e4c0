"""Assets."""

from __future__ import annotations

import pytest
from storage_rows import ASSET, NOW, new_asset

from storage import assets
from storage.assets import AssetRow
from storage.database import Database
from storage.errors import NotFound, Taken


def listed(database: Database, **filters: object) -> list[str]:
    """The ids of a list, whose total must agree."""
    rows, total = database.read_sync(assets.list_assets, **filters)
    assert total == len(rows)
    return [row.id for row in rows]


def test_an_asset_reads_back_as_it_was_created(database: Database) -> None:
    """create answers the row that get finds."""
    created = database.write_sync(assets.create, new_asset())
    assert created == AssetRow(
        id=ASSET,
        name="web-1",
        type="host",
        hostname="web-1.example.org",
        ip="192.0.2.7",
        url=None,
        tags={"env": "prod", "tier": 1},
        attributes={"os": "debian"},
        created_at=NOW,
        updated_at=NOW,
    )
    assert database.read_sync(assets.get, ASSET) == created


def test_an_unknown_asset_is_none(database: Database) -> None:
    """There is none."""
    assert database.read_sync(assets.get, ASSET) is None


def test_an_id_belongs_to_one_asset(database: Database) -> None:
    """Also after it was deleted: executions refer to it."""
    database.write_sync(assets.create, new_asset())
    with pytest.raises(Taken):
        database.write_sync(assets.create, new_asset())
    database.write_sync(assets.delete, ASSET, NOW)
    with pytest.raises(Taken):
        database.write_sync(assets.create, new_asset())


def test_a_replaced_asset_keeps_only_its_creation(database: Database) -> None:
    """Every other field is the new one."""
    database.write_sync(assets.create, new_asset())
    new = new_asset(name="db-1", hostname=None, tags={}, attributes={}, at=NOW + 7)
    row = database.write_sync(assets.replace, ASSET, new)
    assert (row.name, row.hostname, row.tags, row.created_at, row.updated_at) == ("db-1", None, {}, NOW, NOW + 7)
    assert database.read_sync(assets.get, ASSET) == row
    assert listed(database, tag="env") == []


def test_a_deleted_asset_is_gone(database: Database) -> None:
    """From lookups, lists, and for a second delete or a replacement."""
    database.write_sync(assets.create, new_asset())
    database.write_sync(assets.delete, ASSET, NOW)
    assert database.read_sync(assets.get, ASSET) is None
    assert listed(database) == []
    with pytest.raises(NotFound):
        database.write_sync(assets.delete, ASSET, NOW)
    with pytest.raises(NotFound):
        database.write_sync(assets.replace, ASSET, new_asset())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["a", "b"]),
        ({"search": "WEB"}, ["b"]),
        ({"search": "192.0.2.8"}, ["a"]),
        ({"search": "https://"}, ["a"]),
        ({"type": "host"}, ["b"]),
        ({"tag": "env"}, ["a", "b"]),
        ({"tag": "env=prod"}, ["b"]),
        ({"tag": "env=pro"}, []),
        ({"tag": "formula=a=b"}, ["a"]),
        ({"tag": "tier=1"}, ["b"]),
        ({"type": "host", "tag": "env=test"}, []),
    ],
)
def test_assets_are_found(database: Database, filters: dict[str, object], expected: list[str]) -> None:
    """By part of a text, by type, by a tag's key or its exact value; listed by name."""
    database.write_sync(assets.create, new_asset(id="b"))
    database.write_sync(
        assets.create,
        new_asset(
            id="a",
            name="API",
            type="service",
            hostname=None,
            ip="192.0.2.8",
            url="https://api.example.org",
            tags={"env": "test", "formula": "a=b"},
        ),
    )
    assert listed(database, **filters) == expected
