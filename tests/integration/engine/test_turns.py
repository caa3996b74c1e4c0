"""Runs that need nothing of Temporal for long: two seconds without a word count as a deadlock there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.engine.test_blocks import by_id
from tests.stack import Stack
from workflows.steps import foreach, repeat

CHECK = {"id": "check", "type": "condition", "expression": "index >= 0"}
MANY = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"


async def test_loops_of_conditions(stack: Stack) -> None:
    """Thirty thousand iterations without an action come to their end."""
    inner = {"id": "inner", "type": "while", "expression": "true", "max_iterations": 200, "steps": [CHECK]}
    outer = {"id": "outer", "type": "foreach", "items": list(range(150)), "concurrency": 10}
    execution = await stack.start([{**outer, "steps": [{**inner, "on_failure": "continue"}]}])
    status = await stack.finish(execution, timeout=100, include=None)
    assert (status["status"], by_id(status)["check"]["runs"]["completed"]) == ("completed", 30_000)


async def test_expressions_that_take_long(stack: Stack) -> None:
    """What expressions take counts, not only how many steps there are."""
    heavy = f"{MANY}.all(a, {MANY}.all(b, parameters.numbers.all(c, a + b + c >= 0)))"
    step = {"id": "check", "type": "condition", "expression": heavy}
    loop = {"id": "each", "type": "foreach", "items": list(range(120)), "concurrency": 20, "steps": [step]}
    numbers = {"type": "object", "properties": {"numbers": {"type": "array"}}}
    run = {"parameters": {"numbers": list(range(100))}}
    execution = await stack.start([loop], parameters=numbers, run=run)
    status = await stack.finish(execution, timeout=100, include=None)
    assert (status["status"], by_id(status)["each"]["iterations"]["completed"]) == ("completed", 120)


@pytest.mark.parametrize(
    "inner",
    [
        {"id": "inner", "type": "foreach", "items": list(range(10)), "steps": [CHECK]},
        {"id": "inner", "type": "while", "expression": "index < 10", "steps": [CHECK]},
    ],
    ids=["foreach", "while"],
)
async def test_iterations_have_an_end(stack: Stack, monkeypatch: pytest.MonkeyPatch, inner: dict[str, Any]) -> None:
    """Loops in loops may not fill the worker's memory: the loop that would fails."""
    for module, name in ((foreach, "MAX_ITERATIONS"), (repeat, "MAX_TOGETHER")):
        monkeypatch.setattr(module, name, 50)
    outer = {"id": "outer", "type": "foreach", "items": list(range(10)), "steps": [inner]}
    status = await stack.finish(await stack.start([outer]))
    assert (status["status"], status["error"]["code"]) == ("failed", "too_many_iterations")
    assert by_id(status)["check"]["runs"]["completed"] <= 50
