"""What docker-compose.yml starts of ours, as processes: the very commands, scripts and variables, without the images.

Postgres is a real one, made ready by ``deploy/postgres-init.sh``.  Temporal is the session's server, in a namespace
that ``deploy/temporal-namespace.sh`` makes.  Only addresses and ports differ from the file.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import ssl
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

PATIENCE_SECONDS = 120


@dataclass
class Site:
    """One host: its Postgres by a socket, Temporal's address, and what the services get instead of the file's names."""

    folder: Path
    socket: str
    secrets: Path
    host: str = "127.0.0.1"
    worker_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    namespace: str = field(default_factory=lambda: f"production-{uuid.uuid4()}")

    def environment(self, service: str) -> dict[str, str]:
        """The environment of ``service`` in docker-compose.yml, with the addresses of this machine."""
        given = {
            name: value.replace("/run/secrets", str(self.secrets))
            for name, value in compose.environment(service, {}).items()
        }
        here = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "STANCHION_DATA_DIR": str(self.folder)}
        there = {
            "STANCHION_WORKER_ADDRESS": f"127.0.0.1:{self.worker_port}",
            "STANCHION_TEMPORAL_ADDRESS": os.environ[TEMPORAL_VARIABLE],
            "STANCHION_TEMPORAL_NAMESPACE": self.namespace,
            "STANCHION_PORT": str(self.port),
            "STANCHION_HOST": self.host,
            "TEMPORAL_ADDRESS": os.environ[TEMPORAL_VARIABLE],
            "TEMPORAL_NAMESPACE": self.namespace,
        }
        return here | given | {name: value for name, value in there.items() if name in given}

    def secret(self, name: str) -> str:
        """A secret as ``deploy/make-secrets.sh`` made it."""
        return (self.secrets / name).read_text()

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
        test = [
            part.replace("127.0.0.1:8080/", f"{self.host}:{self.port}/")
            for part in compose.services()[service]["healthcheck"]["test"]
        ]
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
def secrets(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets that ``deploy/make-secrets.sh`` makes; only the address in the URL of the database differs."""
    folder = tmp_path_factory.mktemp("made") / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets.sh", folder], check=True, capture_output=True)
    url = folder / "database_url"
    url.chmod(0o644)
    socket = server.url("postgres").partition("?host=")[2]
    url.write_text(url.read_text().replace("@postgres:5432/", "@/") + f"?host={socket}")
    return folder


@pytest.fixture(scope="module")
def socket(server: PostgresServer, secrets: Path) -> str:
    """The folder of its socket, once ``deploy/postgres-init.sh`` has run."""
    folder = server.url("postgres").partition("?host=")[2]
    files = {
        name: value.replace("/run/secrets", str(secrets)) for name, value in compose.environment("postgres", {}).items()
    }
    environment = {"PATH": os.environ["PATH"], "PGHOST": folder, **files}
    subprocess.run([ROOT / "deploy/postgres-init.sh"], env=environment, check=True, capture_output=True)
    with connected(folder, "postgres", "postgres", "") as connection:
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        Path(row[0]).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    return folder


@pytest.fixture(scope="module")
def site(socket: str, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A host whose namespace exists and whose database has been migrated by the services of the file."""
    made = Site(tmp_path_factory.mktemp("site"), socket, secrets)
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
def test_each_owner_may_make_tables(socket: str, secrets: Path, user: str, database: str) -> None:
    """The owner of a database reaches it with its password and may create what a schema needs."""
    password = (secrets / ("database_password" if user == "stanchion" else "temporal_database_password")).read_text()
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
def test_no_owner_reaches_the_other(socket: str, secrets: Path, user: str, database: str) -> None:
    """Stanchion's role cannot connect to Temporal's databases, nor the other way round."""
    password = (secrets / ("database_password" if user == "stanchion" else "temporal_database_password")).read_text()
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
        headers = {"Authorization": "Bearer " + site.secret("admin_token")}
        client = httpx2.Client(base_url=f"http://{site.host}:{site.port}/api", headers=headers)
        execution = run_a_playbook(stack.enter_context(client))
        assert execution["status"] == "completed"
        assert execution["steps"][0]["output"] == {"secret": "plain-words"}
        assert "plain-words" not in history(site, execution)
    with connected(site.socket, "stanchion", "stanchion", site.secret("database_password")) as connection:
        query = "SELECT state FROM executions WHERE id = %s"
        assert connection.execute(query, [execution["execution_id"]]).fetchone() == ("completed",)


def run_a_playbook(client: httpx2.Client) -> dict[str, Any]:
    """Stores a playbook and an asset, runs one on the other, and waits for the end."""
    steps = [{"action_ref": "core.echo", "parameters": {"secret": "{{ parameters.word }}"}}]
    parameters = {"type": "object", "properties": {"word": {"type": "string"}}}
    definition = {"name": f"Production {uuid.uuid4()}", "parameters": parameters, "steps": steps}
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


def test_two_of_each_behind_the_proxy(site: Site, tmp_path: Path) -> None:
    """The proxy of the file speaks TLS for two APIs, passes over one that is gone, and tells nobody the metrics."""
    second = dataclasses.replace(site, folder=tmp_path, host="127.0.0.2", worker_port=free_port())
    port = free_port()
    with ExitStack() as stack:
        for one in (site, second):
            stack.enter_context(one.running("worker"))
        stack.enter_context(site.running("api"))
        leaving = stack.enter_context(ExitStack())
        leaving.enter_context(second.running("api"))
        for one in (site, second):
            one.until_healthy("api")
        stack.enter_context(proxy(tmp_path, port, site, second))
        trusted = ssl.create_default_context(cafile=site.secrets / "tls_certificate")
        headers = {"Authorization": "Bearer " + site.secret("admin_token")}
        base = f"https://localhost:{port}"
        with httpx2.Client(base_url=f"{base}/api", headers=headers, verify=trusted, timeout=30) as client:
            until_served(client, f"{base}/healthz")
            assert run_a_playbook(client)["status"] == "completed"
            assert client.get(f"{base}/metrics").status_code == 404
            answer = client.get("/audit", params={"action": "execution.run"}).raise_for_status().json()
            (entries,) = [value for value in answer.values() if isinstance(value, list)]
            assert "127.0.0.1" in {entry["address"] for entry in entries}
            for _ in range(20):
                client.get(f"{base}/readyz").raise_for_status()
            assert all(served(one) > 0 for one in (site, second))
            leaving.close()
            for _ in range(10):
                client.get(f"{base}/readyz").raise_for_status()
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            httpx2.get(f"{base}/healthz")


@contextmanager
def proxy(folder: Path, port: int, *sites: Site) -> Iterator[None]:
    """The real Caddy with deploy/Caddyfile; only port and addresses of the APIs differ."""
    text = (ROOT / "deploy/Caddyfile").read_text().replace(":8443 {", f":{port} {{")
    upstreams = " ".join(f"{site.host}:{site.port}" for site in sites)
    text, count = re.subn(r"dynamic a api 8080 \{.*?\}", f"to {upstreams}", text, flags=re.DOTALL)
    assert count == 1
    (folder / "Caddyfile").write_text(text)
    secrets = sites[0].secrets
    given = {
        "TLS_CERTIFICATE": str(secrets / "tls_certificate"),
        "TLS_KEY": str(secrets / "tls_key"),
        "HOME": str(folder),
    }
    with (folder / "caddy.log").open("wb") as log:
        line = ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
        process = subprocess.Popen(line, env={**os.environ, **given}, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def until_served(client: httpx2.Client, url: str) -> None:
    """Waits until something answers well."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if client.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, "nobody serves"
        time.sleep(0.1)


def served(site: Site) -> float:
    """How many requests the API of ``site`` has answered."""
    text = httpx2.get(f"http://{site.host}:{site.port}/metrics").text
    return sum(float(value) for value in re.findall(r"^stanchion_http_requests_total\{.*\} (\S+)$", text, re.MULTILINE))
