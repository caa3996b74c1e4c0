"""Ports, tokens and environments of an installation, without starting it."""

from __future__ import annotations

import contextlib
import socket
import stat
from pathlib import Path

import pytest

from cli.installation import Installation, Options, admin_token, claim, given_token
from cli.supervisor import StartError


def test_admin_token_is_made_once(tmp_path: Path) -> None:
    """A second start finds the token of the first."""
    assert admin_token(tmp_path) == admin_token(tmp_path)


def test_admin_token_is_for_its_owner_only(tmp_path: Path) -> None:
    """Nobody else on the machine can read it."""
    admin_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600


def test_taken_port_names_the_option() -> None:
    """A port that is in use is told before anything starts, with the option that changes it."""
    with socket.socket() as taken, contextlib.ExitStack() as held:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"Port {port} of 127\.0\.0\.1 .* give another --port"):
            claim(held, "127.0.0.1", port, "--port")


def test_chosen_ports_differ() -> None:
    """Ports that are chosen together are all different, and none that an outgoing connection may take meanwhile."""
    with contextlib.ExitStack() as held:
        chosen = {claim(held, "127.0.0.1", 0, "--port") for _ in range(50)}
    assert len(chosen) == 50
    assert max(chosen) < 32_768


def test_variables_of_temporal_do_not_reach_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TEMPORAL_ADDRESS of the shell would send API and worker to another server."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere:7233")
    assert "TEMPORAL_ADDRESS" not in Installation(Options(tmp_path))._base


def test_isolated_installation_ignores_the_settings_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo does not touch the database that the shell's settings name."""
    monkeypatch.setenv("STANCHION_DATABASE_URL", "postgresql+psycopg://production")
    assert "STANCHION_DATABASE_URL" not in Installation(Options(tmp_path, isolated=True))._base


def test_token_of_a_file_is_taken(tmp_path: Path) -> None:
    """As Docker and systemd hand secrets over, with a line break at the end."""
    (tmp_path / "token").write_text("stn_secret\n")
    assert given_token({"STANCHION_ADMIN_TOKEN_FILE": str(tmp_path / "token")}) == "stn_secret"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"STANCHION_ADMIN_TOKEN_FILE": "/nonexistent"}, "/nonexistent cannot be read"),
        ({"STANCHION_ADMIN_TOKEN_FILE": "/dev/null"}, "/dev/null is empty"),
        ({"STANCHION_ADMIN_TOKEN_FILE": "/dev/null", "STANCHION_ADMIN_TOKEN": "stn_x"}, "both set: leave one out"),
    ],
)
def test_token_that_cannot_be_had_is_told(given: dict[str, str], fault: str) -> None:
    """Before anything starts: a token that is made instead would be one that nobody knows of."""
    with pytest.raises(StartError, match=fault):
        given_token(given)
