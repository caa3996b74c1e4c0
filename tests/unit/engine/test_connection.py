"""Where the client connects to."""

from __future__ import annotations

from pathlib import Path

from temporalio.service import TLSConfig

from engine.client import connection
from settings import Settings

SETTINGS = Settings(temporal_address="temporal:7233", temporal_namespace="security")


def test_settings_name_the_server() -> None:
    """Without variables of Temporal's own, the settings decide."""
    assert connection(SETTINGS, {}) == {"target_host": "temporal:7233", "namespace": "security"}


def test_variables_of_temporal_win() -> None:
    """Each of Temporal's own variables goes before the setting it stands for, and only before that."""
    found = connection(SETTINGS, {"TEMPORAL_ADDRESS": "cloud:7233"})
    assert (found["target_host"], found["namespace"]) == ("cloud:7233", "security")


def test_api_key_switches_tls_on() -> None:
    """A key is never sent in the clear."""
    found = connection(SETTINGS, {"TEMPORAL_API_KEY": "k"})
    assert (found["api_key"], found["tls"]) == ("k", True)


def test_tls_of_the_environment_is_taken() -> None:
    """Certificates come from Temporal's own variables."""
    found = connection(SETTINGS, {"TEMPORAL_TLS": "true", "TEMPORAL_TLS_SERVER_NAME": "inner"})
    assert isinstance(found["tls"], TLSConfig)
    assert found["tls"].domain == "inner"


def test_file_is_read_only_when_asked_for(tmp_path: Path) -> None:
    """Temporal's configuration file counts when a variable names it."""
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "file:7233"\n')
    assert connection(SETTINGS, {"TEMPORAL_CONFIG_FILE": str(file)})["target_host"] == "file:7233"


def test_file_of_the_home_folder_is_left_alone(tmp_path: Path) -> None:
    """A file that happens to lie in the home folder sends nothing to another server."""
    place = tmp_path / ".config" / "temporalio"
    place.mkdir(parents=True)
    (place / "temporal.toml").write_text('[profile.default]\naddress = "file:7233"\n')
    assert connection(SETTINGS, {"HOME": str(tmp_path)})["target_host"] == "temporal:7233"
