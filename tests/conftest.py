"""Shared fixtures: one Temporal server for the whole session, and a whole Stanchion of its own for a test."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.stack import Stack, running_stack, stack_settings

PLUGINS = Path(__file__).parent / "plugins"
"""A folder with an installed package that adds actions by entry point, like a third party's."""

sys.path.append(str(PLUGINS))

# The same examples each time: a run that fails does so for a change in the code.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

TEMPORAL_VARIABLE = "STANCHION_TEST_TEMPORAL"

SUGGESTED_EVENTS = 100
"""Events after which the session's server suggests to continue as new: 4,096 would take a test too long to reach."""

_SERVER = pytest.StashKey[tuple[subprocess.Popen[bytes], Path]]()


def pytest_configure(config: pytest.Config) -> None:
    """Starts the session's Temporal server, in the process that the workers of xdist share."""
    if hasattr(config, "workerinput") or os.environ.get(TEMPORAL_VARIABLE) or _only_unit_tests(config):
        return
    from engine.embedded import EmbeddedOptions, command

    folder = Path(tempfile.mkdtemp(prefix="stanchion-temporal-"))
    options = EmbeddedOptions(data_dir=folder, port=free_port())
    with (folder / "server.log").open("wb") as log:
        suggested = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED_EVENTS}"]
        server = subprocess.Popen([*command(options), *suggested], stdout=log, stderr=log)
    os.environ[TEMPORAL_VARIABLE] = options.address
    config.stash[_SERVER] = (server, folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the session's Temporal server."""
    if _SERVER not in config.stash:
        return
    server, folder = config.stash[_SERVER]
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(folder, ignore_errors=True)
    os.environ.pop(TEMPORAL_VARIABLE, None)


def _only_unit_tests(config: pytest.Config) -> bool:
    return bool(config.args) and all("tests/unit" in str(argument) for argument in config.args)


def free_port() -> int:
    """A TCP port that nobody listens on.

    It lies below the range from which the system takes the ports of outgoing connections (32768 and more): one of
    those may be gone again by the time that a server has started.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """A whole Stanchion of its own, with a worker."""
    async with running_stack(stack_settings(tmp_path)) as running:
        yield running


@pytest.fixture
async def idle_stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """A whole Stanchion of its own, without a worker yet."""
    async with running_stack(stack_settings(tmp_path), worker=False) as running:
        yield running
