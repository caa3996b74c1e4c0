"""Each page's commands, typed one after the other into a terminal, against a real server that was really started."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import output
from tests.docs.blocks import ROOT, Block, blocks, pages
from tests.docs.terminal import Terminal
from tests.docs.world import PATIENCE_SECONDS, READY, World, wait_for

RUN = [
    page
    for page in pages()
    if any(block.language == "sh" or "against the server" in block.notes for block in blocks(page))
]
BESIDE = {"docs/how-to/patch-over-ssh.md": ("host",), "docs/how-to/deploy.md": ("postgres",)}
"""What else a page takes for granted on the network."""
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # not a secret


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path]]:
    """A world in which ``make up`` runs, and its data folder: for the pages that take it for granted."""
    with World(tmp_path_factory.mktemp("served") / "world") as world:
        checkout = world.checkout("server")
        script = world.next_file("up.sh")
        script.write_text("make up\n")
        process, log = world.start(script, checkout, {"STANCHION_ENCRYPTION_KEY": KEY})
        wait_for(log, READY[0], process)
        yield world, checkout / "data"


def starts_its_own(page: str) -> bool:
    """Whether the page itself has a server started."""
    return any("another terminal" in block.notes for block in blocks(page))


@pytest.mark.slow
@pytest.mark.xdist_group("docs")  # they share the server that runs
@pytest.mark.parametrize("page", [page for page in RUN if not starts_its_own(page)])
def test_commands_against_a_server_that_runs(page: str, served: tuple[World, Path]) -> None:
    """Every command ends as its page says, and prints what its page shows."""
    world, data = served
    read(page, world, world.checkout(page.replace("/", "-"), data))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUN if starts_its_own(page)])
def test_commands_from_nothing(page: str, tmp_path: Path) -> None:
    """The same for a page that begins with an empty machine."""
    with World(tmp_path / "world", *BESIDE.get(page, ())) as world:
        read(page, world, world.checkout("checkout"))


def read(page: str, world: World, folder: Path) -> None:
    """Does what the page says, block by block."""
    variables = {"STANCHION_ENCRYPTION_KEY": KEY, "PATH": world.path(folder)}
    if page.startswith("docs/examples/"):
        folder = world.package(Path(page).parent.name, (ROOT / page).parent)
    terminal = Terminal(world, folder, variables)
    for block in blocks(page):
        if "not run" not in block.notes:
            do(block, terminal)


def do(block: Block, terminal: Terminal) -> None:
    """Runs a block, saves it, or presses Ctrl-C."""
    if "file" in block.notes:
        terminal.save(block)
    elif block.language == "Ctrl-C":
        terminal.interrupt()
    elif block.language == "sh" or "against the server" in block.notes:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while told := difference(block, terminal.run(block)):
            assert "repeat" in block.notes, told
            assert time.monotonic() < deadline, told


def difference(block: Block, printed: str) -> str:
    """What is printed otherwise than shown; empty where nothing is, or nothing is shown."""
    told = None if block.prints is None else output.difference(block.prints, printed)
    return f"{block.place}:\n{told}" if told else ""
