"""The one activity: what it promises to Temporal and to the interpreter."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import Awaitable, Callable

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from activities import execute
from activities.action import Action, ActionContext, ActionError, Rehearsal
from activities.catalogue import ActionCatalogue, load_catalogue
from activities.core import AnyObject
from activities.execute import OUTPUT_LIMIT
from engine.converter import pydantic_json
from playbooks.fields import MAX_DURATION
from tests.unit.activities.action_support import Stage, make_stage

Body = Callable[[AnyObject, ActionContext], Awaitable[AnyObject]]


def stage_of(body: Body, *, safe: bool = False) -> Stage:
    """A worker whose one action, ``test.action``, runs ``body``."""

    class TestAction(Action[AnyObject, AnyObject]):
        """Runs what the test says."""

        name = "test.action"
        title = "Test"
        rehearsal = "Says so."
        Input = AnyObject
        Output = AnyObject

        async def run(self, inputs: AnyObject, context: ActionContext) -> AnyObject:
            return await body(inputs, context)

        async def rehearse(self, inputs: AnyObject, context: ActionContext) -> Rehearsal:
            return Rehearsal("Would act.", [{"kind": "test"}], AnyObject({"predicted": True}))

    TestAction.safe = safe
    return make_stage(ActionCatalogue([TestAction()]))


async def echo(inputs: AnyObject, context: ActionContext) -> AnyObject:
    return inputs


async def failure_of(stage: Stage, action: str = "test.action", **call: object) -> ApplicationError:
    """The error that a call of ``action`` ends with."""
    with pytest.raises(ApplicationError) as raised:
        await stage.perform(action, **call)  # type: ignore[arg-type]
    return raised.value


async def test_an_unknown_action_is_not_retried(stage: Stage) -> None:
    """An activity type that no action has fails for good, with its own code."""
    error = await failure_of(stage, "no.such")
    assert (error.type, error.non_retryable, error.details[0]["retryable"]) == ("unknown_action", True, False)


async def test_a_payload_that_is_no_call_fails_for_good(stage: Stage) -> None:
    """A worker that is sent nonsense says so, instead of trying again for ever."""
    payload = pydantic_json.payload_converter.to_payload({"nonsense": 1})
    with pytest.raises(ApplicationError) as raised:
        await stage.environment.run(stage.runner.execute, [RawValue(payload)])
    assert (raised.value.type, raised.value.non_retryable) == ("invalid_call", True)


async def test_invalid_input_names_each_field(stage: Stage) -> None:
    """Every parameter that is wrong is named, at once."""
    error = await failure_of(stage, "http.request", parameters={"method": "BREW", "timeout": -1, "colour": "red"})
    assert error.type == "invalid_input"
    assert all(name in error.message for name in ("method", "url: Field required", "timeout", "colour"))


async def test_an_answer_of_the_action_is_never_retried_by_temporal() -> None:
    """A failure keeps its code and says whether a retry may help; the counting is the interpreter's."""

    async def fail(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise ActionError("busy", "come back later", retryable=True, retry_after=7.0)

    error = await failure_of(stage_of(fail))
    assert (error.type, error.message, error.non_retryable) == ("busy", "come back later", True)
    assert error.details[0] == {"retryable": True, "retry_after": 7.0}


async def test_an_unexpected_exception_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of an action is reported with its type and message, and logged with its traceback."""

    async def crash(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise KeyError("gone")

    error = await failure_of(stage_of(crash))
    assert (error.type, error.message) == ("internal", "KeyError: 'gone'")
    assert "in crash" in caplog.text


async def test_the_failure_carries_no_cause() -> None:
    """Nothing of the original exception travels along: it is not scrubbed."""

    async def crash(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise KeyError("gone")

    error = await failure_of(stage_of(crash))
    assert (error.__cause__, error.__context__) == (None, None)


async def test_the_steps_timeout_is_enforced() -> None:
    """An action that does not end in its time is stopped and reported as timed out."""
    stopped = asyncio.Event()

    async def hang(inputs: AnyObject, context: ActionContext) -> AnyObject:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return inputs

    error = await failure_of(stage_of(hang), timeout=0.05)
    assert (error.type, error.details[0]["retryable"]) == ("timed_out", True)
    assert stopped.is_set()


async def test_an_outcome_that_nobody_knows_is_not_repeated() -> None:
    """An action that is stopped by its timeout in the moment when it may have happened already says so."""

    async def doubtful(inputs: AnyObject, context: ActionContext) -> AnyObject:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ActionError("outcome_unknown", "It may have happened.", retryable=False) from None
        return inputs

    error = await failure_of(stage_of(doubtful), timeout=0.05)
    assert (error.type, error.details[0]["retryable"]) == ("outcome_unknown", False)


async def test_an_action_that_ignores_its_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace the step ends as timed out, whatever the action still does."""
    monkeypatch.setattr(execute, "CANCEL_GRACE", 0.05)
    release = asyncio.Event()

    async def stubborn(inputs: AnyObject, context: ActionContext) -> AnyObject:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return inputs

    assert (await failure_of(stage_of(stubborn), timeout=0.05)).type == "timed_out"
    release.set()


async def cancelled(stage: Stage, why: ActivityCancellationDetails) -> float:
    """Cancel ``test.action`` while it runs; the seconds until it has ended as cancelled."""
    call = asyncio.ensure_future(stage.perform("test.action"))
    await asyncio.sleep(0.1)
    stage.environment.cancel(why)
    begun = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await call
    return time.monotonic() - begun


@pytest.mark.parametrize("reason", ["cancel_requested", "worker_shutdown", "timed_out", "not_found"])
async def test_a_cancel_of_temporal_is_passed_on_as_it_is(reason: str) -> None:
    """Whatever Temporal's reason, the action is told and the SDK sees its own CancelledError, to report truly."""
    told = asyncio.Event()

    async def hang(inputs: AnyObject, context: ActionContext) -> AnyObject:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.set()
            raise
        return inputs

    await cancelled(stage_of(hang), ActivityCancellationDetails(**{reason: True}))
    assert told.is_set()


async def test_a_swallowed_cancel_is_still_a_cancel() -> None:
    """An action that answers after it was cancelled does not turn the cancelled step into a completed one."""

    async def swallow(inputs: AnyObject, context: ActionContext) -> AnyObject:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return inputs
        return inputs

    await cancelled(stage_of(swallow), ActivityCancellationDetails(cancel_requested=True))


async def test_a_failure_while_being_cancelled_is_a_cancel() -> None:
    """An action that breaks while it cleans up was cancelled all the same."""

    async def break_down(inputs: AnyObject, context: ActionContext) -> AnyObject:
        try:
            await asyncio.sleep(60)
        finally:
            raise ActionError("broken", "while cleaning up")

    await cancelled(stage_of(break_down), ActivityCancellationDetails(cancel_requested=True))


async def test_an_action_that_cancels_itself_has_failed() -> None:
    """A CancelledError that nobody asked for is a bug of the action, not a cancelled step."""

    async def give_up(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise asyncio.CancelledError

    assert (await failure_of(stage_of(give_up))).type == "internal"


async def test_heartbeats_are_sent_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an action runs the worker tells Temporal that it lives; afterwards it stops."""
    monkeypatch.setattr(execute, "HEARTBEAT_INTERVAL", 0.02)
    beats: list[float] = []

    async def work(inputs: AnyObject, context: ActionContext) -> AnyObject:
        await asyncio.sleep(0.3)
        return inputs

    stage = stage_of(work)
    stage.environment.on_heartbeat = lambda *details: beats.append(time.monotonic())
    await stage.perform("test.action")
    sent = len(beats)
    assert sent >= 3
    await asyncio.sleep(0.1)
    assert len(beats) == sent


async def test_a_local_activity_sends_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local activities have none; an action that sends its own there does no harm."""
    monkeypatch.setattr(execute, "HEARTBEAT_INTERVAL", 0.01)
    beats: list[object] = []

    async def work(inputs: AnyObject, context: ActionContext) -> AnyObject:
        context.heartbeat("half")
        await asyncio.sleep(0.1)
        return inputs

    stage = stage_of(work)
    stage.environment.on_heartbeat = beats.append
    await stage.perform("test.action", local=True)
    assert beats == []


async def test_an_actions_own_heartbeat_details_are_passed_on() -> None:
    """Progress details of an action reach Temporal."""
    beats: list[object] = []

    async def work(inputs: AnyObject, context: ActionContext) -> AnyObject:
        context.heartbeat("half")
        return inputs

    stage = stage_of(work)
    stage.environment.on_heartbeat = beats.append
    await stage.perform("test.action")
    assert beats == ["half"]


async def test_a_large_output_is_refused() -> None:
    """A result that is too large to keep fails for good, with its size."""

    async def flood(inputs: AnyObject, context: ActionContext) -> AnyObject:
        return AnyObject({"text": "x" * (OUTPUT_LIMIT + 1)})

    error = await failure_of(stage_of(flood))
    assert (error.type, error.details[0]["retryable"]) == ("output_too_large", False)
    assert str(OUTPUT_LIMIT) in error.message


def nested(levels: int) -> object:
    """Lists in one another."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


async def test_an_output_that_is_nested_too_deeply_is_refused() -> None:
    """The workflow could not read it, and would wait for ever; an object and 99 lists can still be read."""

    async def nest(inputs: AnyObject, context: ActionContext) -> AnyObject:
        return AnyObject({"deep": nested(inputs.root["levels"])})

    stage = stage_of(nest)
    for levels in (100, 220):
        error = await failure_of(stage, parameters={"levels": levels})
        assert (error.type, error.details[0]["retryable"]) == ("output_too_large", False)
        assert f"{levels + 1} levels" in error.message
    assert (await stage.perform("test.action", parameters={"levels": 99})).output == {"deep": nested(99)}


@pytest.mark.parametrize(
    ("asked", "told"),
    [(3, 3.0), (None, None), (float("inf"), MAX_DURATION), (float("nan"), None), (-1, None), ("soon", None)],
)
async def test_a_wait_that_no_run_could_keep(asked: object, told: float | None) -> None:
    """Whatever an action of others asks for, the interpreter is told a time that it can wait."""

    async def wait(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise ActionError("busy", "Not now.", retry_after=asked)  # type: ignore[arg-type]

    assert (await failure_of(stage_of(wait))).details[0]["retry_after"] == told


async def test_an_output_just_below_the_limit_is_kept() -> None:
    """The limit counts bytes of JSON."""

    async def much(inputs: AnyObject, context: ActionContext) -> AnyObject:
        return AnyObject({"text": "x" * (OUTPUT_LIMIT - 100)})

    assert len((await stage_of(much).perform("test.action")).output["text"]) == OUTPUT_LIMIT - 100


async def test_a_dry_run_rehearses_what_is_not_safe() -> None:
    """The action itself does not run; its rehearsal answers."""

    async def never(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise AssertionError("ran in a dry run")

    result = await stage_of(never).perform("test.action", dry_run=True)
    assert (result.would, result.effects, result.output) == ("Would act.", [{"kind": "test"}], {"predicted": True})


async def test_a_dry_run_runs_what_is_safe() -> None:
    """Reading is no side effect, so it is done for real."""
    result = await stage_of(echo, safe=True).perform("test.action", {"a": 1}, dry_run=True)
    assert (result.output, result.would) == ({"a": 1}, None)


async def test_a_dry_run_without_reads_rehearses_what_is_safe() -> None:
    """dry_run_reads: false rehearses everything."""
    result = await stage_of(echo, safe=True).perform("test.action", {"a": 1}, dry_run=True, dry_run_reads=False)
    assert result.would == "Would act."


async def test_a_live_run_never_rehearses() -> None:
    """dry_run_reads means nothing in a live run."""
    result = await stage_of(echo).perform("test.action", {"a": 1}, dry_run_reads=False)
    assert (result.output, result.would, result.effects) == ({"a": 1}, None, None)


async def test_the_context_tells_the_attempt_of_the_playbook() -> None:
    """An action sees whose step it is, and at which attempt."""

    async def tell(inputs: AnyObject, context: ActionContext) -> AnyObject:
        return AnyObject({"who": [context.execution_id, context.step_id, context.asset_id], "attempt": context.attempt})

    result = await stage_of(tell).perform("test.action", attempt=4)
    assert result.output == {"who": ["exec-1", "act-001", "asset-1"], "attempt": 4}


def test_a_faulty_egress_list_stops_the_worker() -> None:
    """An item that means nothing is named when the worker starts, not when a step fails."""
    with pytest.raises(ValueError, match=r"'10\.0\.0\.0/99'"):
        make_stage(egress_allow="10.0.0.1, 10.0.0.0/99")


async def test_a_slot_that_points_nowhere_fails_for_good() -> None:
    """A secret is never put where the plan did not say."""
    stage = make_stage(environment={"STANCHION_SECRET_A": "value-of-a"})
    slots = [{"pointer": "/no/such", "parts": [{"secret": "a"}]}]
    assert (await failure_of(stage, "core.echo", parameters={}, secrets=slots)).type == "invalid_call"


async def test_failures_are_logged_without_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """A step that fails is the playbook's business; the worker notes it in one line."""

    async def fail(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise ActionError("busy", "come back later")

    with caplog.at_level(logging.INFO):
        await failure_of(stage_of(fail))
    records = [record for record in caplog.records if "busy" in record.getMessage()]
    assert [record.levelname for record in records] == ["INFO"]


async def test_the_result_is_plain_json() -> None:
    """What goes into history can be read by any client."""

    async def nested(inputs: AnyObject, context: ActionContext) -> AnyObject:
        return AnyObject({"a": [1, {"b": None}]})

    result = await stage_of(nested).perform("test.action")
    assert json.loads(result.model_dump_json())["output"] == {"a": [1, {"b": None}]}


async def test_an_action_cannot_end_the_worker() -> None:
    """An action that asks the process to exit has failed, and nothing else happens."""

    async def leave(inputs: AnyObject, context: ActionContext) -> AnyObject:
        raise SystemExit(3)

    assert (await failure_of(stage_of(leave))).type == "internal"


async def test_a_broken_store_of_secrets_is_a_failed_step(stage: Stage) -> None:
    """Whatever a resolver raises is reported like any failure; Temporal does not try for ever."""

    class Broken:
        async def resolve(self, name: str) -> str:
            raise ConnectionError("vault is sealed")

    stage = dataclasses.replace(stage, runner=execute.ActionRunner(load_catalogue(), secrets=Broken()))
    slots = [{"pointer": "/a", "parts": [{"secret": "a"}]}]
    error = await failure_of(stage, "core.echo", parameters={"a": "***"}, secrets=slots)
    assert (error.type, error.message, error.non_retryable) == ("internal", "ConnectionError: vault is sealed", True)
