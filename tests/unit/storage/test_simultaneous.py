"""Two processes that store the same thing at the same moment: the second is told, or finds the first's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text
from storage_rows import PLAYBOOK, new_audit, new_execution, new_playbook

from api.phantom.containers import _store_artifact as store_artifact
from api.phantom.containers import _update_artifact as update_artifact
from api.phantom.given import new_artifact, new_container
from api.routes.playbooks import _delete as delete_playbook
from executions import errors as executions_errors
from executions.starting import _insert as insert_execution
from storage import host_keys, playbooks
from storage.database import Database
from storage.errors import Taken
from storage.host_keys import HostKeyRow
from storage.phantom import users
from storage.phantom.containers import ARTIFACTS, CONTAINERS, delete_container
from storage.phantom.records import Query

NOW = 1_777_374_000_000
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def key(number: int) -> HostKeyRow:
    """The same key, asked for once more."""
    return host_keys.new_host_key("web-01", 22, KEY, created_at=NOW + number, created_by="t")


Work = Callable[[Connection], Any]


async def meanwhile(database: Database, url: str, first: Work, second: Work) -> Any:
    """What comes of ``second`` when it begins while ``first`` is done, but not yet committed."""
    free = asyncio.Event()
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> Any:
        result = first(connection)
        loop.call_soon_threadsafe(done.set)
        asyncio.run_coroutine_threadsafe(free.wait(), loop).result(60)
        return result

    holding = asyncio.create_task(database.write(hold))
    await asyncio.wait_for(done.wait(), 60)
    other = Database(url, pool_size=1)
    try:
        trying = asyncio.create_task(other.write(second))
        async with asyncio.timeout(60):
            while not trying.done() and not await database.read(lambda c: c.execute(text(WAITING)).scalar()):
                await asyncio.sleep(0.02)
        free.set()
        first_result = await holding
        return first_result, await asyncio.wait_for(trying, 60)
    finally:
        free.set()
        other.close()


@pytest.fixture
def database(postgres_url: str) -> Any:
    """Postgres: writers of a SQLite file take turns."""
    opened = Database(postgres_url, pool_size=4)
    yield opened
    opened.close()


async def test_users_of_one_name(database: Database, postgres_url: str) -> None:
    """The second is told that the name is taken."""
    with pytest.raises(Taken):
        await meanwhile(
            database,
            postgres_url,
            lambda c: users.create(c, "ada", "hash", [], NOW),
            lambda c: users.create(c, "ada", "other", [], NOW),
        )


async def test_numbers_of_two_tokens_of_one_name(database: Database, postgres_url: str) -> None:
    """Each has a number of its own."""
    one, other = await meanwhile(
        database,
        postgres_url,
        lambda c: users.number_of(c, "token-1", "robot", NOW),
        lambda c: users.number_of(c, "token-2", "robot", NOW),
    )
    assert one != other


async def test_one_key_trusted_twice(database: Database, postgres_url: str) -> None:
    """There is one, and both are answered with it."""
    (one, _), (other, _) = await meanwhile(
        database,
        postgres_url,
        lambda c: host_keys.trust(c, key(1)),
        lambda c: host_keys.trust(c, key(2)),
    )
    assert one == other


async def test_a_start_while_its_playbook_is_deleted(database: Database, postgres_url: str) -> None:
    """The start finds no playbook any more."""
    await database.write(playbooks.create, new_playbook())
    with pytest.raises(executions_errors.NotFound):
        await meanwhile(
            database,
            postgres_url,
            lambda c: delete_playbook(c, PLAYBOOK, new_audit()),
            lambda c: insert_execution(c, new_execution(), None, new_audit()),
        )


async def test_a_playbook_is_deleted_while_a_run_of_it_starts(database: Database, postgres_url: str) -> None:
    """The playbook stays: an execution of it is under way."""
    await database.write(playbooks.create, new_playbook())
    with pytest.raises(executions_errors.Conflict):
        await meanwhile(
            database,
            postgres_url,
            lambda c: insert_execution(c, new_execution(), None, new_audit()),
            lambda c: delete_playbook(c, PLAYBOOK, new_audit()),
        )
    assert await database.read(playbooks.get, PLAYBOOK) is not None


async def test_an_artifact_for_a_container_that_is_deleted(database: Database, postgres_url: str) -> None:
    """The artifact finds no container any more."""
    container = await database.write(CONTAINERS.create, new_container({"name": "Alpha"}, NOW))
    with pytest.raises(executions_errors.NotFound):
        await meanwhile(
            database,
            postgres_url,
            lambda c: delete_container(c, container),
            lambda c: store_artifact(c, new_artifact({}, container, NOW), {}, new_audit()),
        )


async def test_a_container_is_deleted_while_an_artifact_is_put_into_it(database: Database, postgres_url: str) -> None:
    """Both are gone."""
    container = await database.write(CONTAINERS.create, new_container({"name": "Alpha"}, NOW))
    _, deleted = await meanwhile(
        database,
        postgres_url,
        lambda c: store_artifact(c, new_artifact({}, container, NOW), {}, new_audit()),
        lambda c: delete_container(c, container),
    )
    assert deleted
    assert await database.read(CONTAINERS.get, container) is None
    assert await database.read(ARTIFACTS.page, Query()) == ([], 0)


async def test_an_artifact_is_changed_while_its_container_is_deleted(database: Database, postgres_url: str) -> None:
    """It waits for the container and holds nothing that the other needs, so that neither has to be tried again."""
    container = await database.write(CONTAINERS.create, new_container({"name": "Alpha"}, NOW))
    artifact = await database.write(ARTIFACTS.create, new_artifact({}, container, NOW))
    held, is_waited_for = threading.Event(), threading.Event()
    tried = []

    def delete(connection: Connection) -> bool:
        tried.append("delete")
        CONTAINERS.locked(connection, container)
        held.set()
        is_waited_for.wait(60)
        return delete_container(connection, container)

    def change(connection: Connection) -> None:
        tried.append("change")
        update_artifact(connection, artifact, {"name": "changed", "update_time": NOW}, new_audit())

    deleting = asyncio.create_task(database.write(delete))
    await asyncio.to_thread(held.wait, 60)
    other = Database(postgres_url, pool_size=1)
    try:
        changing = asyncio.create_task(other.write(change))
        async with asyncio.timeout(60):
            while not await database.read(lambda c: c.execute(text(WAITING)).scalar()):
                await asyncio.sleep(0.02)
        is_waited_for.set()
        with pytest.raises(executions_errors.NotFound):
            await asyncio.wait_for(changing, 60)
        assert await asyncio.wait_for(deleting, 60)
        assert tried == ["delete", "change"]
    finally:
        is_waited_for.set()
        other.close()
