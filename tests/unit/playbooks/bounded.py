"""Runs hostile input in processes of their own, each with little memory and little time, so that harm shows as a death.

The processes are forked off one that has read the modules already, so that each costs milliseconds.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playbooks.compile import compile_playbook
from playbooks.evaluation import evaluate
from playbooks.expressions import ExpressionError, compile_expression
from playbooks.faults import DefinitionError, Fault
from playbooks.parameters import ParameterErrors, to_schema, validate_parameters
from playbooks.values import EvaluationError
from tests.unit.playbooks.catalogue import CATALOGUE

CPU_SECONDS = 3
"""Generous: a busy machine must not fail a test, and a hang or an explosion takes far more."""

MEMORY = 256 * 1024 * 1024
"""Bytes of address space beyond what the modules take themselves."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: by ``signal``, with a ``crash``, or with the faults that it found; and what it took."""

    faults: list[Fault]
    signal: int
    crash: str
    seconds: float


def compile_text(media: Any, text: str) -> None:
    """Compiles a whole definition; the text comes as base64."""
    compile_playbook(base64.b64decode(text), media, CATALOGUE)


def check_values(parameters: Any, values: Any) -> None:
    """Holds the values of a run to the parameters of a playbook, which must be sound."""
    schema, problems = to_schema(parameters)
    assert problems == [], problems
    validate_parameters(schema, values)


def evaluate_source(source: str, names: dict[str, Any]) -> None:
    """Compiles an expression and evaluates it over ``names``."""
    try:
        evaluate(compile_expression(source, names).tree, names)
    except (ExpressionError, EvaluationError) as error:
        raise DefinitionError([Fault("", str(error))]) from None


def spin() -> None:
    """Never ends."""
    while True:
        pass


def swell() -> None:
    """Takes twice the memory that there is."""
    bytearray(2 * MEMORY)


TASKS: dict[str, Callable[..., None]] = {
    "compile_text": compile_text,
    "check_values": check_values,
    "evaluate_source": evaluate_source,
    "spin": spin,
    "swell": swell,
}


class Bounds:
    """Gives tasks to the process that forks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def run(self, task: str, *arguments: Any) -> Ending:
        """How the ``task`` of that name ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([task, *arguments]) + "\n")
        self.process.stdin.flush()
        faults, *rest = json.loads(self.process.stdout.readline())
        return Ending([Fault(*fault) for fault in faults], *rest)

    def faults(self, task: str, *arguments: Any) -> list[Fault]:
        """What the task complains of; it may neither die of its bounds nor fail in another way."""
        ending = self.run(task, *arguments)
        assert (ending.signal, ending.crash) == (0, "")
        return ending.faults

    def compile(self, text: str | bytes, media: str = "yaml") -> list[Fault]:
        """The faults of a definition."""
        raw = text.encode() if isinstance(text, str) else text
        return self.faults("compile_text", media, base64.b64encode(raw).decode())


@contextmanager
def started() -> Iterator[Bounds]:
    """The process that forks, for as long as it is needed."""
    command = [sys.executable, "-m", __name__]
    folder = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Bounds(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve() -> None:
    for line in sys.stdin:
        print(json.dumps(_in_child(json.loads(line))), flush=True)


def _in_child(request: list[Any]) -> list[Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _bound()
        with os.fdopen(writing, "w") as answer:
            json.dump(_attempt(*request), answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    _, status, used = os.wait4(child, 0)
    signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    faults, crash = json.loads(told) if told else ([], "" if signal else "nothing was told")
    return [faults, signal, crash, used.ru_utime + used.ru_stime]


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _attempt(task: str, *arguments: Any) -> list[Any]:
    try:
        TASKS[task](*arguments)
    except (DefinitionError, ParameterErrors) as error:
        return [[[fault.path, fault.message, fault.line, fault.column] for fault in error.faults], ""]
    except BaseException as error:
        return [[], f"{type(error).__name__}: {error}"[:500]]
    return [[], ""]


if __name__ == "__main__":
    _serve()
