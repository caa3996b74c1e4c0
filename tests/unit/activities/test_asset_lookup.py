"""``asset.lookup`` on real databases."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from activities.action import ActionError
from activities.know.assets import AssetLookup, LookupInput, LookupOutput
from activities.stores import AssetQuestion, Stores
from engine.assets import DatabaseAssets
from storage import assets
from storage.assets import NewAsset
from storage.database import Database
from tests.storage_fixtures import (
    database,
    database_url,
    postgres_server,
    postgres_template,
    postgres_url,
    sqlite_template,
    sqlite_url,
)
from tests.unit.activities.action_support import Stage, make_context

__all__ = [
    "database",
    "database_url",
    "postgres_server",
    "postgres_template",
    "postgres_url",
    "sqlite_template",
    "sqlite_url",
]


@pytest.fixture
def stored(database: Database) -> Database:
    """Three assets, of which one was deleted later, on SQLite and on Postgres."""
    for number, hostname, ip, tags in (
        (1, "web-01.example.com", "192.0.2.1", {"env": "prod", "tier": 1}),
        (2, "WEB-02.example.com.", "2001:db8::2", {"env": "prod"}),
        (3, "web-03.example.com", "192.0.2.1", {"env": "test"}),
        (4, "web-01.example.com", "192.0.2.4", {"env": "prod"}),
    ):
        new = NewAsset(
            id=f"asset-{number}",
            name=f"web-0{number}",
            type="host",
            hostname=hostname,
            ip=ip,
            tags=tags,
            attributes={"os": "debian"},
            at=1,
        )
        database.write_sync(assets.create, new)
    database.write_sync(assets.delete, "asset-4", 2)
    return database


async def look_up(database: Database, **inputs: Any) -> LookupOutput:
    context = make_context(stores=Stores(assets=DatabaseAssets(database)))
    return await AssetLookup().run(LookupInput.model_validate(inputs), context)


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ({"id": "asset-1"}, ["web-01"]),
        ({"id": "asset-4"}, []),
        ({"hostname": "Web-01.Example.COM."}, ["web-01"]),
        ({"hostname": "web-02.example.com"}, ["web-02"]),
        ({"hostname": "web-01"}, []),
        ({"ip": "192.0.2.1"}, ["web-01", "web-03"]),
        ({"ip": "2001:0DB8:0::2"}, ["web-02"]),
        ({"tag": "env"}, ["web-01", "web-02", "web-03"]),
        ({"tag": "env=prod"}, ["web-01", "web-02"]),
        ({"tag": "tier=1"}, ["web-01"]),
        ({"tag": "env=prod", "ip": "192.0.2.1", "hostname": "", "id": None}, ["web-01"]),
        ({"id": "asset-1", "tag": "env=test"}, []),
    ],
)
async def test_all_that_is_given_must_match(stored: Database, inputs: dict[str, Any], names: list[str]) -> None:
    """One match stands alone, several are listed, none is no failure."""
    found = await look_up(stored, **inputs)
    assert ([one.name for one in found.assets], found.count) == (names, len(names))
    assert (found.asset is not None) == (len(names) == 1)


async def test_the_asset_is_whole(stored: Database) -> None:
    """With its tags and attributes."""
    found = (await look_up(stored, id="asset-1")).asset
    assert found is not None
    assert found.model_dump() == {
        "id": "asset-1",
        "name": "web-01",
        "type": "host",
        "hostname": "web-01.example.com",
        "ip": "192.0.2.1",
        "url": None,
        "tags": {"env": "prod", "tier": 1},
        "attributes": {"os": "debian"},
    }


async def test_beyond_the_limit_they_are_counted(stored: Database) -> None:
    """One listed of several is not taken for the one."""
    found = await look_up(stored, tag="env", limit=1)
    assert (len(found.assets), found.count, found.asset) == (1, 3, None)


@pytest.mark.parametrize(
    "inputs",
    [{}, {"hostname": " "}, {"ip": "300.0.0.1"}, {"ip": "192.0.2.0/24"}, {"id": "x", "limit": 0}, {"name": "x"}],
)
def test_bad_input_is_refused(inputs: dict[str, Any]) -> None:
    """Nothing would be everything."""
    with pytest.raises(ValidationError):
        LookupInput.model_validate(inputs)


async def test_without_a_store_or_with_one_that_is_gone(stage: Stage) -> None:
    """A code for each."""
    with pytest.raises(ApplicationError) as failed:
        await stage.perform("asset.lookup", {"id": "x"})
    assert failed.value.type == "no_store"
    gone = Database("postgresql+psycopg://nobody@127.0.0.1:9/none", pool_size=1)
    try:
        with pytest.raises(ActionError) as raised:
            await DatabaseAssets(gone).find(AssetQuestion(id="x"))
    finally:
        gone.close()
    assert (raised.value.code, raised.value.retryable) == ("store_unavailable", True)


async def test_a_rehearsal_says_what_it_would_look_for(stage: Stage) -> None:
    """In a sentence."""
    inputs = {"hostname": "web-01", "tag": "env=prod"}
    result = await stage.perform("asset.lookup", inputs, dry_run=True, dry_run_reads=False)
    assert result.would == "Would look for the asset with hostname web-01 and tag env=prod."
