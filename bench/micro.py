"""Measures what needs no server: storing a definition, expressions, templates, and how long the commands take to begin.

    python -m bench.micro

The floor of each is named beside it, measured in the same run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import jinja2
import yaml

from activities.catalogue import load_catalogue
from playbooks.compile import compile_playbook
from playbooks.evaluation import evaluate
from playbooks.expressions import compile_expression
from playbooks.plan import ActionStep
from playbooks.templates import render

TIMES = 200
STEPS = 1_000
NAMES = {
    "asset": {"name": "web-01", "tags": {"env": "prod", "team": "web"}},
    "parameters": {"level": "high", "ports": [22, 80, 443]},
}
SOURCE = "asset.tags.exists(key, asset.tags[key] == 'prod') && parameters.level in ['high', 'critical']"


def median_us(work: Callable[[], object], times: int = TIMES) -> float:
    """Median microseconds of one call."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6


def definition() -> bytes:
    """A playbook of a thousand steps."""
    step = {"action_ref": "core.echo", "parameters": {"host": "{{ asset.name }}", "level": "{{ parameters.level }}"}}
    steps = [{"id": f"step-{number}", **step} for number in range(STEPS)]
    schema = {"type": "object", "properties": {"level": {"type": "string", "default": "low"}}}
    return json.dumps({"name": "Long", "parameters": schema, "steps": steps}).encode()


def begin_ms(*line: str) -> float:
    """Median ms of a command from its start to its end."""
    return median_us(lambda: subprocess.run(line, check=True, capture_output=True), 7) / 1000


def main() -> None:
    """Prints every row."""
    text, catalogue = definition(), load_catalogue().specs()
    rows = [
        (
            f"a definition of {STEPS:,} steps, checked and compiled, ms",
            median_us(lambda: compile_playbook(text, "application/json", catalogue), 7) / 1000,
            "PyYAML's safe loader alone",
            median_us(lambda: yaml.load(text, yaml.CSafeLoader), 7) / 1000,
        ),
        _expression_row(),
        _template_row(),
        (
            "stanchion --help, ms",
            begin_ms(sys.executable, "-m", "cli.main", "--help"),
            "import typer",
            begin_ms(sys.executable, "-c", "import typer"),
        ),
    ]
    print("| what | Stanchion | floor | floor's figure | ratio |\n| --- | --- | --- | --- | --- |")
    for name, ours, floor, figure in rows:
        print(f"| {name} | {ours:.1f} | {floor} | {figure:.1f} | {ours / figure:.2f} |")


def _expression_row() -> tuple[str, float, str, float]:
    expression = compile_expression(SOURCE, NAMES)
    other = jinja2.Environment().compile_expression(
        "'prod' in asset.tags.values() and parameters.level in ['high', 'critical']"
    )
    assert evaluate(expression.tree, NAMES) == other(**NAMES)
    return (
        "an expression, us",
        median_us(lambda: evaluate(expression.tree, NAMES), 2_000),
        "Jinja2's compiled expression",
        median_us(lambda: other(**NAMES), 2_000),
    )


def _template_row() -> tuple[str, float, str, float]:
    fields = {
        f"field-{number}": f"{{{{ asset.name }}}} at {number}: {{{{ parameters.level }}}}" for number in range(100)
    }
    whole = {"name": "Wide", "steps": [{"action_ref": "core.echo", "parameters": fields}]}
    whole["parameters"] = {"type": "object", "properties": {"level": {"type": "string"}}}
    compiled = compile_playbook(json.dumps(whole).encode(), "application/json", load_catalogue().specs())
    (step,) = compiled.plan.steps
    assert isinstance(step, ActionStep)
    others = [jinja2.Environment().from_string(text) for text in fields.values()]  # what others render with
    assert list(render(step.parameters, NAMES).value.values()) == [other.render(NAMES) for other in others]
    return (
        "a template of 100 fields, us",
        median_us(lambda: render(step.parameters, NAMES)),
        "100 of Jinja2's compiled templates",
        median_us(lambda: [other.render(NAMES) for other in others]),
    )


if __name__ == "__main__":
    main()
