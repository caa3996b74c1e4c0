"""What is told of a dependency that does not answer."""

from __future__ import annotations

import pytest

from engine.probes import reason


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "no answer in time"),
        (RuntimeError("refused\nin detail"), "refused"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_reason_is_one_line(error: Exception, told: str) -> None:
    """Also of an error that says nothing: `/readyz` must not fail for it."""
    assert reason(error) == told
