"""Throws input at the readers of ``scripts.fuzz``, led by coverage: ``python -m scripts.fuzz_guided SECONDS [TARGET]``.

atheris watches which branches of ``playbooks`` an input reaches, and goes on from those that reach new ones: it finds
what random input meets too seldom.  Hypothesis makes input out of its bytes, so the targets are the same; ``bytes``
gets them as they are.  An input that fails, swells or takes too long ends the process, and is left beside it as
``build/fuzz/crash-…``.  ``make fuzz`` runs it with the tools' own environment, since atheris needs to be there first.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["playbooks"]):
    from scripts.fuzz import INPUT_SECONDS, TARGETS, Target

from hypothesis import HealthCheck, given, settings

MEMORY_MB = 2048
FOUND = Path("build/fuzz")


def main(arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process, with 0 after the time."""
    if not arguments or not arguments[0].isdigit() or len(arguments) > 2 or set(arguments[1:]) - set(TARGETS):
        sys.exit(f"python -m scripts.fuzz_guided SECONDS [{' | '.join(TARGETS)}]")
    name = arguments[1] if arguments[1:] else "yaml"
    corpus = FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={arguments[0]}",
        f"-timeout={INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={FOUND}/",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], reader(name, TARGETS[name]))
    atheris.Fuzz()


def reader(name: str, target: Target) -> Callable[[bytes], object]:
    """What reads the bytes of one input: only what is no answer of the target is raised."""

    def read(value: object) -> None:
        with contextlib.suppress(target.answers):
            target.read(value)

    if name == "bytes":
        return read
    quiet = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
    made: Callable[[bytes], object] = quiet(given(target.inputs)(read)).hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    return made


if __name__ == "__main__":
    main(sys.argv[1:])
