"""An execution for people: its steps as a table, live on a terminal, line by line in a file."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from cli.output import COLOURS, clean, console, say, table

if TYPE_CHECKING:
    from stanchion_client.models import Execution, Step, Tally, Wait

OTHER_STATES: tuple[Literal["failed", "skipped", "cancelled", "running"], ...] = (
    "failed",
    "skipped",
    "cancelled",
    "running",
)
COLUMNS = ("#", "step", "action", "status", "ms", "")


def headline(execution: Execution) -> str:
    """One line on the whole: what, how and in which state."""
    kind = "dry run" if execution.get("dry_run") else "run"
    error = execution.get("error")
    why = f": {error['code']}: {error['message']}" if error else ""
    return f"{execution['execution_id']}  {kind}  {execution['status']}{why}"


def remark(step: Step) -> str:
    """What there is to say of a step besides its state: its error, why it was skipped, what it waits for."""
    parts = []
    if error := step.get("error"):
        parts.append(f"{error['code']}: {error['message']}")
    if step.get("reason"):
        parts.append(str(step["reason"]))
    if waiting := step.get("waiting_for"):
        parts.append(f"waits for {_waiting(waiting)}")
    if (tally := step.get("iterations") or step.get("runs")) is not None:
        parts.append(_progress(tally))
    if child := step.get("execution_id"):
        parts.append(child)
    if step.get("kept"):
        parts.append("kept")
    if (step.get("attempt") or 0) > 1:
        parts.append(f"attempt {step['attempt']}")
    return "; ".join(parts)


def _progress(tally: Tally) -> str:
    """How far a loop is, or how a step inside of one has ended."""
    total = f" of {tally['total']}" if tally.get("total") is not None else ""
    counts = {name: tally[name] for name in OTHER_STATES}
    others = [f"{count} {name}" for name, count in counts.items() if count]
    return ", ".join([f"{tally['completed']}{total} completed", *others])


def _waiting(waiting: Wait) -> str:
    until = f" until {waiting['until']}" if waiting.get("until") else ""
    return f"{waiting.get('kind')}{until}"


def step_row(step: Step) -> list[Any]:
    """The cells of a step under ``COLUMNS``."""
    return [
        step["index"] + 1,
        ("└ " if step.get("parent") else "") + step["name"],
        step.get("action"),
        step["status"],
        step.get("duration_ms"),
        remark(step),
    ]


def print_execution(execution: Execution) -> None:
    """Prints the whole, its steps, and where the answer has it what went in and out, and what it would do."""
    say(headline(execution))
    console().print(table(COLUMNS, [step_row(step) for step in execution["steps"]]))
    for step in execution["steps"]:
        if would := step.get("would"):
            say(f"{step['index'] + 1} {step['name']}: {would}")
        for side, value in (("input", step.get("input")), ("output", step.get("output"))):
            if value is not None:
                say(f"{step['index'] + 1} {step['name']}, {side}: {value}")


def watch(snapshots: Iterable[Execution], quiet: bool = False) -> Execution:
    """Shows each of ``snapshots`` as it comes and returns the last; nothing is shown when ``quiet``."""
    if quiet:
        return deque(snapshots, maxlen=1)[0]
    return _watch_live(snapshots) if sys.stdout.isatty() else _watch_lines(snapshots)


def _watch_live(snapshots: Iterable[Execution]) -> Execution:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=console(), refresh_per_second=10) as live:
        for last in snapshots:  # there is one at least: whoever tells none raises
            title = Text(clean(headline(last)), style=COLOURS.get(last["status"], ""))
            live.update(Group(title, table(COLUMNS, [step_row(step) for step in last["steps"]])))
    return last


def _watch_lines(snapshots: Iterable[Execution]) -> Execution:
    printer = StepLines()
    for last in snapshots:
        printer.update(last)
    say(headline(last))
    return last


class StepLines:
    """Prints a line for each step whose state has changed since the last snapshot."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, str]] = {}

    def update(self, execution: Execution) -> None:
        """Prints what is new in ``execution``."""
        for step in execution["steps"]:
            now = (step["status"], remark(step))
            if now != self._seen.get(step["index"], ("pending", "")):
                self._seen[step["index"]] = now
                say(line_of(step))


def line_of(step: Step) -> str:
    """One line on a step."""
    took = "" if step.get("duration_ms") is None else f"{step['duration_ms']} ms"
    return f"  {step['index'] + 1:>3}  {step['name']:<32}  {step['status']:<9}  {took:>8}  {remark(step)}".rstrip()
