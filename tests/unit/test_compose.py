"""``docker-compose.yml``, the Dockerfile and ``deploy/`` against the code that they start.  No image is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from engine.codec import parse_keys
from engine.embedded import DYNAMIC_CONFIG, binary
from settings import Settings
from tests import compose
from tests.compose import ROOT

OURS = ("migrate", "api", "worker")
ONE_SHOT = {"temporal-schema", "temporal-namespace", "migrate"}
SETTINGS = {f"STANCHION_{name.upper()}" for name in Settings.model_fields}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()

every_service = pytest.mark.parametrize("name", sorted(compose.services()))
our_service = pytest.mark.parametrize("name", OURS)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """A ``.env`` as ``deploy/make-env.sh`` writes it."""
    path = tmp_path / ".env"
    subprocess.run([ROOT / "deploy/make-env.sh", path], check=True, capture_output=True)
    return path


@pytest.fixture
def variables(env_file: Path) -> dict[str, str]:
    """The variables in a fresh ``.env``."""
    return read_env(env_file)


def read_env(path: Path) -> dict[str, str]:
    """The variables that docker compose reads from ``path``."""
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def pins(file: str) -> dict[str, str]:
    """The versions in a lock file, by name."""
    found = re.findall(r"^([\w.-]+)==([^ ;\\]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


def copied() -> list[str]:
    """What the Dockerfile copies out of the repository."""
    lines = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY") and "--from" not in line]
    return [part for line in lines for part in line[:-1] if not part.startswith("--")]


def test_the_parts_of_the_production_shape() -> None:
    """There are a database, Temporal with its schema, namespace and Web UI, the migration, API and worker."""
    others = {"postgres", "temporal", "temporal-schema", "temporal-namespace", "temporal-ui"}
    assert set(compose.services()) == others | set(OURS)


@our_service
def test_our_variables_are_settings(name: str) -> None:
    """Each STANCHION_ variable that a service of ours gets is one that settings.py reads."""
    given = {variable for variable in compose.services()[name]["environment"] if variable.startswith("STANCHION_")}
    assert given <= SETTINGS


@our_service
def test_the_settings_of_a_service_are_valid(
    name: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of each service of ours makes settings, with Postgres as the database."""
    for variable in SETTINGS:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in compose.environment(name, variables).items():
        monkeypatch.setenv(variable, value)
    url = make_url(Settings().database)
    assert (url.host, url.password) == ("postgres", variables["DATABASE_PASSWORD"])


def test_only_the_api_knows_the_admin_token() -> None:
    """No other container is given the token with every permission."""
    knowing = [name for name, service in compose.services().items() if "ADMIN_TOKEN" in json.dumps(service)]
    assert knowing == ["api"]


def test_secrets_of_playbooks_reach_workers_only() -> None:
    """The file with the secrets of playbooks is given to the workers and to nobody else."""
    given = {name: service["env_file"] for name, service in compose.services().items() if "env_file" in service}
    assert given == {"worker": [{"path": "deploy/secrets.env", "required": False}]}


def test_everything_dangerous_is_asked_for(variables: dict[str, str]) -> None:
    """The variables without a default are exactly those that make-env.sh writes."""
    assert compose.required_variables() == set(variables)


def test_no_password_is_written_down() -> None:
    """Every variable that holds a password, token or key is filled in from outside."""
    for service in compose.services().values():
        for variable, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|PWD|TOKEN|KEY|DATABASE_URL", variable):
                assert re.search(r"\$\{\w+:\?", value), variable


def test_make_env_writes_for_the_owner_only(env_file: Path) -> None:
    """Nobody but the owner can read the file with the secrets."""
    assert env_file.stat().st_mode & 0o077 == 0


def test_make_env_never_overwrites(env_file: Path) -> None:
    """A second run fails and leaves the key that stored runs were encrypted with."""
    before = env_file.read_text()
    again = subprocess.run([ROOT / "deploy/make-env.sh", env_file], capture_output=True, check=False)
    assert again.returncode != 0
    assert env_file.read_text() == before


def test_make_env_makes_a_usable_key(variables: dict[str, str]) -> None:
    """The encryption key is one that the codec takes."""
    assert len(parse_keys(variables["STANCHION_ENCRYPTION_KEY"])) == 1


def test_make_env_makes_another_secret_each_time(variables: dict[str, str], tmp_path: Path) -> None:
    """No two secrets are the same, in one file or in two."""
    other = tmp_path / "other"
    subprocess.run([ROOT / "deploy/make-env.sh", other], check=True, capture_output=True)
    secrets = [*variables.values(), *read_env(other).values()]
    assert len(set(secrets)) == len(secrets)


def test_secrets_stay_out_of_the_repository() -> None:
    """Git ignores the files that hold secrets."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/.env", "/deploy/secrets.env"} <= set(ignored)


@every_service
def test_mounted_files_exist(name: str) -> None:
    """Each file of the repository that a container gets to see is there."""
    paths = re.findall(r"\./[\w./-]+", " ".join(compose.strings(compose.services()[name])))
    assert all((ROOT / path).is_file() for path in paths)


@every_service
def test_commands_name_mounted_scripts(name: str) -> None:
    """A script that a command names is mounted in the same service."""
    service = compose.services()[name]
    named = {part for part in service.get("command", []) if part.startswith("/deploy/")}
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
    assert not {"privileged", "cap_add", "pid", "network_mode"} & set(service)


@every_service
def test_nothing_is_published_beyond_the_host(name: str) -> None:
    """Each published port is one of the loopback."""
    assert all(port.startswith("127.0.0.1:") for port in compose.services()[name].get("ports", []))


@our_service
def test_our_containers_cannot_write_to_their_image(name: str) -> None:
    """The root file system of our containers is read-only."""
    assert compose.services()[name]["read_only"] is True


def test_the_worker_may_drain_before_it_is_killed(variables: dict[str, str]) -> None:
    """Docker waits longer than the worker lets its running actions end."""
    grace = int(compose.services()["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace > float(compose.environment("worker", variables)["STANCHION_DRAIN_SECONDS"])


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
    """Both servers have the same settings, but for the poll rates, which count for each shard."""
    rates = {name for name in DYNAMIC_CONFIG if name.endswith("MaxPollRPS")}
    expected = {name: 200 if name in rates else value for name, value in DYNAMIC_CONFIG.items()}
    assert dynamic_config() == expected


def test_temporal_reads_the_file_that_is_mounted() -> None:
    """The dynamic configuration stands where the server is told to look."""
    temporal = compose.services()["temporal"]
    assert temporal["volumes"] == [
        f"./deploy/temporal-dynamic.yaml:{temporal['environment']['DYNAMIC_CONFIG_FILE_PATH']}:ro"
    ]


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
