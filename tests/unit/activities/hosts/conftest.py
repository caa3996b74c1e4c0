"""A host for the tests of a process, and the database in which its key is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from activities.action import ActionContext
from activities.stores import Stores
from engine.host_keys import DatabaseHostKeys
from storage.database import Database
from storage.migrate import migrate
from tests.hosts import Machine, running_machine
from tests.unit.activities.action_support import make_context

USERS = """
useradd --create-home --password '*' plain
useradd --create-home --password '*' shut
printf 'Match User shut\\n  ForceCommand /bin/false\\n' >> /host/sshd_config
"""
"""A user without sudo, and one without SFTP."""


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that tests share: none of them leaves anything changed on it that another one looks at."""
    with running_machine(tmp_path_factory.mktemp("machine") / "host", USERS) as running:
        yield running


@pytest.fixture
def key_database(tmp_path: Path) -> Iterator[Database]:
    """An empty database for trusted host keys."""
    url = f"sqlite:///{tmp_path / 'keys.sqlite'}"
    migrate(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def stored(key_database: Database) -> ActionContext:
    """A context whose host keys are those of ``key_database``."""
    return make_context(stores=Stores(host_keys=DatabaseHostKeys(key_database)))
