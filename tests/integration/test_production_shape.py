"""What docker-compose.yml starts of ours, as processes: the very commands, scripts and variables, without the images.

Postgres is a real one, made ready by ``deploy/postgres-init.sh``.  Temporal is the session's server, in a namespace
that ``deploy/temporal-namespace.sh`` makes.  Only addresses and ports differ from the file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg import sql

from engine.embedded import binary
from tests import compose, postgres
from tests.compose import ROOT
from tests.conftest import TEMPORAL_VARIABLE, free_port
from tests.postgres import PostgresServer

PATIENCE_SECONDS = 60
VARIABLES = {
    "POSTGRES_PASSWORD": "postgres-password",
    "DATABASE_PASSWORD": "stanchion-password",
    "TEMPORAL_DATABASE_PASSWORD": "temporal-password",
    "STANCHION_ADMIN_TOKEN": "stn_an_admin_token_for_the_test",
    "STANCHION_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",  # not a secret
}


@dataclass
class Site:
    """One host: its Postgres by a socket, Temporal's address, and what the services get instead of the file's names."""

    folder: Path
    socket: str
    port: int = field(default_factory=free_port)
    namespace: str = field(default_factory=lambda: f"production-{uuid.uuid4()}")

    def environment(self, service: str) -> dict[str, str]:
        """The environment of ``service`` in docker-compose.yml, with the addresses of this machine."""
        given = compose.environment(service, VARIABLES)
        here = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "STANCHION_DATA_DIR": str(self.folder)}
        there = {
            "STANCHION_DATABASE_URL": self.url("stanchion", given.get("STANCHION_DATABASE_URL", "")),
            "STANCHION_TEMPORAL_ADDRESS": os.environ[TEMPORAL_VARIABLE],
            "STANCHION_TEMPORAL_NAMESPACE": self.namespace,
            "STANCHION_PORT": str(self.port),
            "STANCHION_HOST": "127.0.0.1",
            "TEMPORAL_ADDRESS": os.environ[TEMPORAL_VARIABLE],
            "TEMPORAL_NAMESPACE": self.namespace,
        }
        return here | given | {name: value for name, value in there.items() if name in given}

    def url(self, database: str, written: str = "") -> str:
        """URL of a database of this Postgres, with the user and the password of the URL in the file."""
        return written.replace("@postgres:5432/", "@/") + f"?host={self.socket}" if written else database

    def run(self, service: str) -> subprocess.CompletedProcess[str]:
        """Runs a service that ends."""
        return subprocess.run(
            self.command(service),
            env=self.environment(service),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    @contextmanager
    def running(self, service: str) -> Iterator[None]:
        """Runs a service that stays, until the block ends; it must then stop in order."""
        with (self.folder / f"{service}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(service), env=self.environment(service), cwd=self.folder, stdout=log, stderr=log
            )
            try:
                yield
            finally:
                process.terminate()
                code = process.wait(PATIENCE_SECONDS)
            # uvicorn ends in order and then by the signal itself, for whoever started it.
            assert code in (0, -signal.SIGTERM), (self.folder / f"{service}.log").read_text()[-2000:]

    def healthy(self, service: str) -> bool:
        """What the health check of ``service`` says."""
        test = [part.replace(":8080/", f":{self.port}/") for part in compose.services()[service]["healthcheck"]["test"]]
        command = [part.replace("/opt/stanchion/", f"{ROOT}/deploy/") for part in test[1:]]
        done = subprocess.run(command, env=self.environment(service), capture_output=True, check=False)
        return done.returncode == 0

    def until_healthy(self, service: str) -> None:
        """Waits for the health check of ``service``.  Raises TimeoutError with the end of its log."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.healthy(service):
            if time.monotonic() > deadline:
                raise TimeoutError((self.folder / f"{service}.log").read_text()[-2000:])
            time.sleep(0.2)

    def command(self, service: str) -> list[str]:
        """The command of ``service``, with its script where the repository has it."""
        return [part.replace("/deploy/", f"{ROOT}/deploy/") for part in compose.services()[service]["command"]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A Postgres as the image makes it: the superuser is ``postgres``, and others need their password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "USER", "postgres")
        running = PostgresServer()
        try:
            running.start()
            yield running
        finally:
            running.remove()


@pytest.fixture(scope="module")
def socket(server: PostgresServer) -> str:
    """The folder of its socket, once ``deploy/postgres-init.sh`` has run."""
    folder = server.url("postgres").partition("?host=")[2]
    environment = {"PATH": os.environ["PATH"], "PGHOST": folder, **VARIABLES}
    subprocess.run([ROOT / "deploy/postgres-init.sh"], env=environment, check=True, capture_output=True)
    with connected(folder, "postgres", "postgres", "") as connection:
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        Path(row[0]).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    return folder


@pytest.fixture(scope="module")
def site(socket: str, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A host whose namespace exists and whose database has been migrated by the services of the file."""
    made = Site(tmp_path_factory.mktemp("site"), socket)
    for service in ("temporal-namespace", "migrate"):
        done = made.run(service)
        assert done.returncode == 0, done.stderr
    return made


@contextmanager
def connected(folder: str, database: str, user: str, password: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to the Postgres whose socket is in ``folder``."""
    with psycopg.connect(host=folder, dbname=database, user=user, password=password, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    ("user", "database"), [("stanchion", "stanchion"), ("temporal", "temporal"), ("temporal", "temporal_visibility")]
)
def test_each_owner_may_make_tables(socket: str, user: str, database: str) -> None:
    """The owner of a database reaches it with its password and may create what a schema needs."""
    password = VARIABLES["DATABASE_PASSWORD" if user == "stanchion" else "TEMPORAL_DATABASE_PASSWORD"]
    with connected(socket, database, user, password) as connection:
        # Temporal's visibility schema begins with this extension.
        connection.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
        connection.execute("CREATE TABLE IF NOT EXISTS probe (id int)")
        assert connection.execute("SELECT count(*) FROM probe").fetchone() == (0,)
        connection.execute("DROP TABLE probe")


def test_a_wrong_password_is_refused(socket: str) -> None:
    """The passwords of the file are in force."""
    with pytest.raises(psycopg.OperationalError, match="password"), connected(socket, "stanchion", "stanchion", "no"):
        pass


@pytest.mark.parametrize(("user", "database"), [("stanchion", "temporal"), ("temporal", "stanchion")])
def test_no_owner_reaches_the_other(socket: str, user: str, database: str) -> None:
    """Stanchion's role cannot connect to Temporal's databases, nor the other way round."""
    password = VARIABLES["DATABASE_PASSWORD" if user == "stanchion" else "TEMPORAL_DATABASE_PASSWORD"]
    with (
        pytest.raises(psycopg.OperationalError, match="permission denied"),
        connected(socket, database, user, password),
    ):
        pass


def test_no_owner_is_a_superuser(socket: str) -> None:
    """Neither role may do more than own its databases."""
    query = sql.SQL(
        "SELECT rolname FROM pg_roles WHERE rolname IN ('stanchion', 'temporal') "
        "AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)"
    )
    with connected(socket, "postgres", "postgres", "") as connection:
        assert connection.execute(query).fetchall() == []


@pytest.mark.parametrize("service", ["temporal-namespace", "migrate"])
def test_one_shots_may_be_repeated(site: Site, service: str) -> None:
    """A service that prepares something does nothing, and succeeds, when it runs again."""
    done = site.run(service)
    assert done.returncode == 0, done.stderr


def test_the_namespace_is_prepared(site: Site) -> None:
    """The namespace has Stanchion's search attributes and keeps closed runs for the setting's thirty days."""
    at = ["--address", os.environ[TEMPORAL_VARIABLE], "--namespace", site.namespace]
    attributes = subprocess.run(
        [binary(), "operator", "search-attribute", "list", *at], capture_output=True, text=True, check=True
    )
    assert {"PlaybookId", "AssetId", "ExecutionId", "DryRun", "Outcome"} <= set(attributes.stdout.split())
    described = subprocess.run(
        [binary(), "operator", "namespace", "describe", *at], capture_output=True, text=True, check=True
    )
    assert "720h0m0s" in described.stdout


def test_nobody_is_healthy_before_it_runs(site: Site) -> None:
    """The health checks fail while there is no API and no worker."""
    assert (site.healthy("api"), site.healthy("worker")) == (False, False)


def test_a_run_on_the_production_shape(site: Site) -> None:
    """API and worker become healthy, run a playbook with encrypted payloads on Postgres, and stop in order."""
    with ExitStack() as stack:
        for service in ("api", "worker"):
            stack.enter_context(site.running(service))
        for service in ("api", "worker"):
            site.until_healthy(service)
        headers = {"Authorization": f"Bearer {VARIABLES['STANCHION_ADMIN_TOKEN']}"}
        client = httpx2.Client(base_url=f"http://127.0.0.1:{site.port}/api", headers=headers)
        execution = run_a_playbook(stack.enter_context(client))
        assert execution["status"] == "completed"
        assert execution["steps"][0]["output"] == {"secret": "plain-words"}
        assert "plain-words" not in history(site, execution)
    with connected(site.socket, "stanchion", "stanchion", VARIABLES["DATABASE_PASSWORD"]) as connection:
        query = "SELECT state FROM executions WHERE id = %s"
        assert connection.execute(query, [execution["execution_id"]]).fetchone() == ("completed",)


def run_a_playbook(client: httpx2.Client) -> dict[str, Any]:
    """Stores a playbook and an asset, runs one on the other, and waits for the end."""
    steps = [{"action_ref": "core.echo", "parameters": {"secret": "{{ parameters.word }}"}}]
    parameters = {"type": "object", "properties": {"word": {"type": "string"}}}
    definition = {"name": "Production", "parameters": parameters, "steps": steps}
    playbook = client.post("/playbooks", json=definition).raise_for_status().json()
    asset = client.post("/assets", json={"name": "host", "type": "host"}).raise_for_status().json()
    body = {"target_asset_id": asset["id"], "parameters": {"word": "plain-words"}}
    started = client.post(f"/playbooks/{playbook['id']}/run", json=body).raise_for_status().json()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        path = f"/playbooks/executions/{started['execution_id']}"
        found: dict[str, Any] = client.get(path, params={"include": "io"}).raise_for_status().json()
        if found["status"] not in ("pending", "running") or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def history(site: Site, execution: dict[str, Any]) -> str:
    """What Temporal has kept of a run, as text."""
    command = [binary(), "workflow", "show", "--address", os.environ[TEMPORAL_VARIABLE], "--namespace", site.namespace]
    command += ["--workflow-id", execution["temporal"]["workflow_id"], "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
