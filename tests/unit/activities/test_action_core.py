"""The ``core`` family."""

from __future__ import annotations

import time

import pytest
from temporalio.exceptions import ApplicationError

from activities.core import Fail, FailInput
from activities.errors import ActionError
from tests.unit.activities.action_support import Stage, make_context


async def test_echo_answers_with_its_parameters(stage: Stage) -> None:
    """Any object comes back as it was given, type by type."""
    given = {"text": "ä", "n": 1, "f": 1.5, "none": None, "list": [1, {"a": []}], "model_config": True}
    assert given == (await stage.perform("core.echo", given)).output


async def test_echo_refuses_what_is_no_object(stage: Stage) -> None:
    """A list is no set of parameters."""
    with pytest.raises(ApplicationError, match="valid dictionary") as raised:
        await stage.perform("core.echo", [1])
    assert raised.value.type == "invalid_input"


async def test_echo_answers_in_a_dry_run_without_reads_too(stage: Stage) -> None:
    """Later steps of a rehearsal that forbids reads still see the echo."""
    result = await stage.perform("core.echo", {"a": 1}, dry_run=True, dry_run_reads=False)
    assert (result.output, result.would) == ({"a": 1}, "Would answer with its parameters.")


async def test_set_names_the_variables_it_would_set(stage: Stage) -> None:
    """The rehearsal of core.set says which names, and predicts their values."""
    result = await stage.perform("core.set", {"host": "h", "n": 2}, dry_run=True, dry_run_reads=False)
    assert (result.output, result.would) == ({"host": "h", "n": 2}, "Would set host, n.")


async def test_sleep_waits(stage: Stage) -> None:
    """A sleep lasts as long as it was told."""
    begun = time.monotonic()
    result = await stage.perform("core.sleep", {"seconds": 0.2})
    assert time.monotonic() - begun >= 0.19
    assert result.output == {"slept": 0.2}


async def test_sleep_does_not_wait_in_a_dry_run(stage: Stage) -> None:
    """The rehearsal of a sleep of a day answers at once, with the output of a live run."""
    result = await stage.perform("core.sleep", {"seconds": 86400}, dry_run=True)
    assert (result.output, result.would, result.effects) == ({"slept": 86400.0}, "Would wait 86400 s.", [])


@pytest.mark.parametrize("seconds", [-1, "soon", None, float("inf"), 1e9])
async def test_sleep_refuses_senseless_times(stage: Stage, seconds: object) -> None:
    """Negative, endless and non-numeric times are invalid input."""
    with pytest.raises(ApplicationError) as raised:
        await stage.perform("core.sleep", {"seconds": seconds})
    assert raised.value.type == "invalid_input"


async def test_fail_fails_always_by_default() -> None:
    """Without times it fails at every attempt."""
    for attempt in (1, 2, 99):
        with pytest.raises(ActionError, match="no luck"):
            await Fail().run(FailInput(message="no luck"), make_context(attempt=attempt))


async def test_fail_succeeds_after_so_many_attempts(stage: Stage) -> None:
    """times: 2 fails attempts 1 and 2 and succeeds at the third."""
    for attempt in (1, 2):
        with pytest.raises(ApplicationError):
            await stage.perform("core.fail", {"times": 2}, attempt=attempt)
    assert (await stage.perform("core.fail", {"times": 2}, attempt=3)).output == {"attempt": 3}


@pytest.mark.parametrize("retryable", [True, False])
async def test_fail_says_whether_a_retry_may_help(stage: Stage, retryable: bool) -> None:
    """The retryable of the parameters is what the interpreter is told."""
    with pytest.raises(ApplicationError) as raised:
        await stage.perform("core.fail", {"message": "x", "retryable": retryable})
    assert raised.value.details[0]["retryable"] is retryable


async def test_fail_fails_in_a_dry_run_too(stage: Stage) -> None:
    """The rehearsal takes the way through the playbook that the live run would take."""
    with pytest.raises(ApplicationError, match="no luck") as raised:
        await stage.perform("core.fail", {"message": "no luck"}, dry_run=True)
    assert raised.value.type == "failed"
