"""``docker-compose.yml``, the Dockerfile and ``deploy/`` against the code that they start.  No image is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from engine.codec import parse_keys
from engine.embedded import DYNAMIC_CONFIG, binary
from settings import Settings, may_be_a_file
from tests import compose
from tests.compose import ROOT

OURS = ("migrate", "api", "worker")
ONE_SHOT = {"temporal-schema", "temporal-namespace", "migrate"}
SETTINGS = {f"STANCHION_{name.upper()}" for name in Settings.model_fields}
FILES = {
    f"STANCHION_{name.upper()}_FILE" for name, field in Settings.model_fields.items() if may_be_a_file(name, field)
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()

every_service = pytest.mark.parametrize("name", sorted(compose.services()))
our_service = pytest.mark.parametrize("name", OURS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Secrets as ``deploy/make-secrets.sh`` writes them."""
    return make_secrets(tmp_path_factory.mktemp("made") / "secrets")


def make_secrets(path: Path) -> Path:
    """Runs the script."""
    subprocess.run([ROOT / "deploy/make-secrets.sh", path], check=True, capture_output=True)
    return path


def given(service: str, folder: Path) -> dict[str, str]:
    """The environment of ``service``, its secrets where ``folder`` has them."""
    return {
        name: value.replace("/run/secrets", str(folder)) for name, value in compose.environment(service, {}).items()
    }


def pins(file: str) -> dict[str, str]:
    """The versions in a lock file, by name."""
    found = re.findall(r"^([\w.-]+)==([^ ;\\]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


def copied() -> list[str]:
    """What the Dockerfile copies out of the repository."""
    lines = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY") and "--from" not in line]
    return [part for line in lines for part in line[:-1] if not part.startswith("--")]


def test_the_parts_of_the_production_shape() -> None:
    """There are a database, Temporal with its schema, namespace and Web UI, the migration, API, worker and proxy."""
    others = {"postgres", "temporal", "temporal-schema", "temporal-namespace", "temporal-ui", "proxy"}
    monitoring = {"prometheus", "grafana"}
    asked_for = {name for name, service in compose.services().items() if service.get("profiles") == ["monitoring"]}
    assert asked_for == monitoring
    assert set(compose.services()) == others | monitoring | set(OURS)


@our_service
def test_our_variables_are_settings(name: str) -> None:
    """Each STANCHION_ variable that a service of ours gets is one that settings.py reads."""
    given = {variable for variable in compose.services()[name]["environment"] if variable.startswith("STANCHION_")}
    assert given <= SETTINGS | FILES


@our_service
def test_the_settings_of_a_service_are_valid(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of each service of ours makes settings, with Postgres as the database."""
    for variable in SETTINGS:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in given(name, folder).items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    url = make_url(settings.database)
    assert (url.host, url.password) == ("postgres", (folder / "database_password").read_text())
    assert settings.encryption_key is not None
    assert len(parse_keys(settings.encryption_key.get_secret_value())) == 1


def test_only_the_api_knows_the_admin_token() -> None:
    """No other container is given the token with every permission."""
    knowing = [name for name, service in compose.services().items() if "admin_token" in json.dumps(service).lower()]
    assert knowing == ["api"]


def test_the_file_is_one_of_compose(tmp_path: Path) -> None:
    """The published schema of compose files takes it, and would not take a word that it does not know."""
    line = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*line, compose.FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(compose.FILE.read_text().replace("read_only: true", "readonly: true"))
    assert subprocess.run([*line, broken], capture_output=True, check=False).returncode == 1


def test_everything_that_is_referred_to_is_there(folder: Path) -> None:
    """Secrets, volumes and networks of the services are declared and used, and each secret is made by the script."""
    document, services = compose.load(), compose.services().values()
    secrets = {name for service in services for name in service.get("secrets", [])}
    assert secrets == set(document["secrets"]) == {path.name for path in folder.iterdir()}
    assert {entry["file"] for entry in document["secrets"].values()} == {f"./secrets/{name}" for name in secrets}
    volumes = {volume.partition(":")[0] for service in services for volume in service.get("volumes", [])}
    assert {name for name in volumes if not name.startswith(".")} == set(document["volumes"])
    assert {name for service in services for name in service["networks"]} == set(document["networks"])
    waited = {other for service in services for other in service.get("depends_on", {})}
    assert waited <= set(compose.services())


@every_service
def test_a_secret_that_is_read_is_given(name: str) -> None:
    """Each file of /run/secrets that a service reads is one of its secrets, and none is given for nothing."""
    service = compose.services()[name]
    text = json.dumps(service) + ((ROOT / "deploy/Caddyfile").read_text() if name == "proxy" else "")
    assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(service.get("secrets", []))


@every_service
def test_everything_has_its_limits(name: str) -> None:
    """No container takes all memory, processors or processes of the host."""
    assert set(compose.services()[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


def test_there_are_two_of_what_serves() -> None:
    """Two APIs behind the proxy and two workers."""
    assert {name: compose.services()[name]["deploy"]["replicas"] for name in ("api", "worker")} == {
        "api": 2,
        "worker": 2,
    }


@our_service
def test_our_commands_exist(name: str) -> None:
    """Each command is one of the command line."""
    program, command = compose.services()[name]["command"]
    done = subprocess.run(
        [Path(sys.executable).parent / program, command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_traces_are_passed_on() -> None:
    """OpenTelemetry's variables reach API and worker, and only where they are set."""
    for service in ("api", "worker"):
        variables = compose.environment(service, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
        assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
        assert not any(name.startswith("OTEL_") for name in compose.environment(service, {}))


def test_prometheus_asks_where_they_listen() -> None:
    """Names and ports of the scrape configuration are those of the services."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    found = {
        name: sd["port"] for job in config["scrape_configs"] for sd in job["dns_sd_configs"] for name in sd["names"]
    }
    api, worker = (compose.environment(name, {}) for name in ("api", "worker"))
    assert found == {
        "api": int(api["STANCHION_PORT"]),
        "worker": int(worker["STANCHION_WORKER_ADDRESS"].rpartition(":")[2]),
    }


def test_secrets_of_playbooks_reach_workers_only() -> None:
    """The file with the secrets of playbooks is given to the workers and to nobody else."""
    given = {name: service["env_file"] for name, service in compose.services().items() if "env_file" in service}
    assert given == {"worker": [{"path": "deploy/secrets.env", "required": False}]}


def test_nothing_has_a_default_password() -> None:
    """Every variable that holds a password, token or key names a file, and none is asked for or written down."""
    assert compose.required_variables() == set()
    for service in compose.services().values():
        for variable, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|PWD|TOKEN|_KEY|DATABASE_URL", variable):
                assert variable.endswith("_FILE"), variable
                assert value.startswith("/run/secrets/")


def test_the_secrets_are_for_the_owner_only(folder: Path) -> None:
    """Nobody but the owner can reach them; a container, which has a user of its own, can read those that it gets."""
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def test_make_secrets_never_overwrites(folder: Path) -> None:
    """A second run fails and leaves the key that stored runs were encrypted with."""
    before = {path.name: path.read_text() for path in folder.iterdir()}
    again = subprocess.run([ROOT / "deploy/make-secrets.sh", folder], capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "must not be replaced" in again.stderr
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_make_secrets_makes_another_each_time(folder: Path, tmp_path: Path) -> None:
    """No two secrets are the same, in one folder or in two."""
    secrets = [path.read_text() for made in (folder, make_secrets(tmp_path / "other")) for path in made.iterdir()]
    assert len(set(secrets)) == len(secrets)


def test_secrets_stay_out_of_the_repository() -> None:
    """Git ignores the files that hold secrets."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/.env", "/deploy/secrets.env", "/secrets/"} <= set(ignored)


@every_service
def test_mounted_files_exist(name: str) -> None:
    """Each file of the repository that a container gets to see is there."""
    paths = re.findall(r"\./[\w./-]+", " ".join(compose.strings(compose.services()[name])))
    assert all((ROOT / path).is_file() for path in paths)


@every_service
def test_commands_name_mounted_scripts(name: str) -> None:
    """A script that a command names is mounted in the same service."""
    service = compose.services()[name]
    line = [*service.get("entrypoint", []), *service.get("command", [])]
    named = {part for part in line if part.startswith("/deploy/")}
    assert named <= {volume.split(":")[1] for volume in service.get("volumes", [])}


@every_service
def test_every_service_tells_how_it_is(name: str) -> None:
    """A service that stays has a health check; one that ends is started again only when it failed."""
    service = compose.services()[name]
    if name in ONE_SHOT:
        assert service["restart"] == "on-failure:5"
        assert "healthcheck" not in service
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@every_service
def test_services_wait_for_the_right_thing(name: str) -> None:
    """What ends is waited for until it has ended well, what stays until it is healthy."""
    for other, how in compose.services()[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how == {"condition": wanted}


@every_service
def test_nothing_has_privileges(name: str) -> None:
    """Every container has dropped all capabilities and can gain none."""
    service = compose.services()[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert not {"privileged", "pid", "network_mode"} & set(service)


@every_service
def test_nothing_is_published_beyond_the_host(name: str) -> None:
    """Each published port is one of the loopback, but for that of the proxy."""
    assert name == "proxy" or all(port.startswith("127.0.0.1:") for port in compose.services()[name].get("ports", []))


@every_service
def test_containers_cannot_write_to_their_image(name: str) -> None:
    """The root file system is read-only; Temporal's Web UI alone writes its configuration there."""
    assert compose.services()[name]["read_only"] is (name != "temporal-ui")


def test_the_worker_may_drain_before_it_is_killed() -> None:
    """Docker waits longer than the worker lets its running actions end."""
    grace = int(compose.services()["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace > float(compose.environment("worker", {})["STANCHION_DRAIN_SECONDS"])


def test_postgres_takes_all_connections_of_temporal() -> None:
    """Temporal's four parts may each hold 20 and 10 connections (the image's defaults), and ours must fit too."""
    command = compose.services()["postgres"]["command"]
    connections = next(int(part.split("=")[1]) for part in command if part.startswith("max_connections="))
    assert connections >= 4 * (20 + 10) + 100


def test_the_shards_are_fixed() -> None:
    """The number of history shards, which can never change, cannot be changed by a variable either."""
    assert compose.services()["temporal"]["environment"]["NUM_HISTORY_SHARDS"] == "512"


def test_temporal_is_the_version_that_the_tests_run() -> None:
    """Server, admin-tools and Web UI are the versions that the embedded server is made of."""
    shown = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout
    server, ui = re.findall(r"(?:Server|UI) (\d+\.\d+\.\d+)", shown)
    images = {name: compose.fill_in(service["image"], {}) for name, service in compose.services().items()}
    assert images["temporal"] == f"temporalio/server:{server}"
    assert images["temporal-schema"] == images["temporal-namespace"] == f"temporalio/admin-tools:{server}"
    assert images["temporal-ui"] == f"temporalio/ui:{ui}"


def dynamic_config() -> dict[str, Any]:
    """Temporal's settings in ``deploy/temporal-dynamic.yaml``, by name."""
    document = yaml.safe_load((ROOT / "deploy/temporal-dynamic.yaml").read_text())
    return {name: entry["value"] for name, (entry,) in document.items()}


def test_temporal_is_tuned_as_the_embedded_one() -> None:
    """Both servers have the same settings, but for the poll rates, which count for each shard, and the small cache."""
    rates = {name for name in DYNAMIC_CONFIG if name.endswith("MaxPollRPS")}
    expected = {name: 200 if name in rates else value for name, value in DYNAMIC_CONFIG.items()}
    del expected["history.hostLevelCacheMaxSize"]
    assert dynamic_config() == expected


def test_temporal_reads_the_file_that_is_mounted() -> None:
    """The dynamic configuration stands where the server is told to look."""
    temporal = compose.services()["temporal"]
    mounted = f"./deploy/temporal-dynamic.yaml:{temporal['environment']['DYNAMIC_CONFIG_FILE_PATH']}:ro"
    assert mounted in temporal["volumes"]


def test_the_sandbox_gets_what_it_needs() -> None:
    """The worker's seccomp profile refuses nothing that bubblewrap and prlimit call."""
    profile = json.loads((ROOT / "deploy/worker-seccomp.json").read_text())
    refused = {name for rule in profile["syscalls"] for name in rule["names"]}
    needed = {"clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "sethostname", "prctl"}
    assert not refused & (needed | {"prlimit64", "memfd_create", "seccomp", "capset", "chroot"})
    assert {"bpf", "ptrace", "kexec_load", "init_module", "io_uring_setup"} <= refused


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_shell(script: Path) -> None:
    """Every script parses as POSIX shell and stops at its first error."""
    shell = shutil.which("dash") or "sh"
    assert subprocess.run([shell, "-n", script], capture_output=True, check=False).returncode == 0
    assert "\nset -eu\n" in script.read_text()


def test_the_image_holds_every_package() -> None:
    """What the Dockerfile copies is all that pyproject.toml installs."""
    setuptools = PROJECT["tool"]["setuptools"]
    folders = {package.split(".")[0] for package in setuptools["packages"]}
    modules = {f"{module}.py" for module in setuptools["py-modules"]}
    locks = {"requirements-build.txt", "requirements-runtime.txt"}
    assert set(copied()) == folders | modules | locks | {"pyproject.toml", "README.md", "deploy/worker_health.py"}


def test_the_build_context_holds_what_is_copied() -> None:
    """.dockerignore lets through exactly what the Dockerfile copies."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())
    assert "*" in lines


def test_the_image_does_not_run_as_root() -> None:
    """The last user that the Dockerfile names has no privileges."""
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1] == "stanchion"


def test_the_health_check_is_in_the_image() -> None:
    """The worker's health check calls the file that the Dockerfile puts there."""
    program = compose.services()["worker"]["healthcheck"]["test"][-1]
    assert f"COPY --chmod=0644 deploy/worker_health.py {program}\n" in DOCKERFILE


def test_the_image_runs_the_tested_versions() -> None:
    """Every version in the image's locks is the one that the tests ran with."""
    tested = pins("requirements.txt")
    for file in ("requirements-runtime.txt", "requirements-build.txt"):
        assert pins(file).items() <= tested.items()


def test_the_image_holds_every_dependency() -> None:
    """Each dependency of pyproject.toml is locked for the image."""
    named = {re.split(r"[\[=<>]", line)[0].lower() for line in PROJECT["project"]["dependencies"]}
    assert named <= set(pins("requirements-runtime.txt"))


def test_the_image_holds_no_tools() -> None:
    """Nothing that only tests or builds is in the image."""
    assert not {"pytest", "mypy", "ruff", "setuptools", "uv", "pip"} & set(pins("requirements-runtime.txt"))
