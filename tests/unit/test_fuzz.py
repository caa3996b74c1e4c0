"""A few hundred generated inputs for everything that reads what others write; ``scripts.fuzz`` goes on from there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import strategies as st

from scripts import fuzz
from scripts.fuzz import TARGETS, Target

INPUTS = 250
SECONDS = 60


@pytest.fixture(scope="module")
def told() -> dict[str, tuple[int, str | None]]:
    """What each target did, from a process without threads, since it forks."""
    script = (
        "import json; from scripts.fuzz import TARGETS, fuzz; "
        f"print(json.dumps({{name: fuzz(target, {SECONDS}, {INPUTS}) for name, target in TARGETS.items()}}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[int, str | None]] = __import__("json").loads(done.stdout)
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_does_harm(told: dict[str, tuple[int, str | None]], name: str) -> None:
    """Each is read, or refused as the reader refuses; none takes the memory or the time."""
    assert list(told[name]) == [INPUTS, None]


def _swell(_: int) -> None:
    bytearray(2 * fuzz.MEMORY)


def _spin(_: int) -> None:
    while True:
        pass


def _break(_: int) -> None:
    raise KeyError("of the target's own")


@pytest.mark.parametrize(
    ("read", "how"), [(_swell, "MemoryError"), (_spin, "signal 27"), (_break, "KeyError: 'of the target's own'")]
)
def test_harm_is_found(monkeypatch: pytest.MonkeyPatch, read: object, how: str) -> None:
    """The bounds are real, and the input is told."""
    monkeypatch.setattr(fuzz, "INPUT_SECONDS", 0.2)
    count, fault = fuzz.fuzz(Target(read, (), st.just(7)), SECONDS, 5)  # type: ignore[arg-type]
    assert count == 0
    assert fault is not None
    assert how.replace("'of the target's own'", "") in fault
    assert "7" in fault
