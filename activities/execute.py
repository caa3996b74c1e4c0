"""Runs any action as a Temporal activity: the activity's type is the action's name."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from structlog.contextvars import bind_contextvars
from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.action import ActionContext, AnyAction, Rehearsal
from activities.artifacts import GuardedArtifacts
from activities.catalogue import ActionCatalogue
from activities.egress import EgressPolicy
from activities.error_advice import with_advice
from activities.errors import ActionError
from activities.metrics import UNKNOWN, ActionMetrics, Attempt
from activities.scrub import Scrubber, scrub_logs, scrubber_of, scrubbing
from activities.secrets import EnvironmentSecrets, SecretChain, SecretResolver, fill_in, look_up
from activities.stores import Stores
from playbooks.contract import ActionCall, ActionResult
from playbooks.fields import MAX_DURATION
from playbooks.record import MAX_NESTING, nesting

HEARTBEAT_INTERVAL = 1.0
"""Seconds between heartbeats."""

CANCEL_GRACE = 5.0
"""Seconds that a cancelled or timed-out action has to clean up before it is left behind."""

OUTPUT_LIMIT = 32 * 1024 * 1024
"""Bytes of JSON that a result may have; beyond 256 KiB it is kept outside of Temporal's history."""

log = logging.getLogger(__name__)


class ActionRunner:
    """The one activity of a worker: finds the action, fills in secrets, runs or rehearses it, reports truly.

    Every failure of an action leaves as an ``ApplicationError`` whose ``type`` is the code, non-retryable for
    Temporal, with ``{"retryable": bool, "retry_after": seconds | null}`` as its first detail: the interpreter counts
    and does the playbook's retries; Temporal retries only crashes.

    ``egress_allow`` is ``STANCHION_EGRESS_ALLOW``; raises ``ValueError`` naming an item of it that means nothing.
    """

    def __init__(
        self,
        catalogue: ActionCatalogue,
        *,
        egress_allow: str = "",
        secrets: SecretResolver | None = None,
        stores: Stores | None = None,
        metrics: ActionMetrics | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._metrics = metrics if metrics is not None else ActionMetrics()
        self._secrets = secrets if secrets is not None else SecretChain([EnvironmentSecrets()])
        self._egress = EgressPolicy.parse(egress_allow)
        self._stores = stores if stores is not None else Stores()
        scrub_logs()

    @activity.defn(dynamic=True)
    async def execute(self, args: Sequence[RawValue]) -> ActionResult:
        """The dynamic activity.  Takes one ``ActionCall``.

        Raises ``ApplicationError`` as the class says, and ``asyncio.CancelledError`` when Temporal cancels it:
        requested, worker stopping or timed out, the SDK tells them apart by ``activity.cancellation_details()``.
        """
        name = activity.info().activity_type
        with self._metrics.attempt(UNKNOWN if self._catalogue.get(name) is None else name) as attempt:
            return await self._attempt(name, args, attempt)

    async def _attempt(self, name: str, args: Sequence[RawValue], attempt: Attempt) -> ActionResult:
        scrubber = scrubber_of(())
        try:
            call = _decode(args)
            _bind(call)
            secrets = await look_up(call.secrets, self._secrets)
            scrubber = scrubber_of(tuple(secrets.values()))
            with scrubbing(scrubber):
                result = await self._perform(name, call, secrets, scrubber)
            log.info("Action %s completed", name)
            attempt.outcome = "completed" if result.would is None else "rehearsed"
            return result
        except ActionError as error:
            failure = _failure(name, error, scrubber)
        except Exception as error:
            failure = _unexpected(name, error, scrubber)
        # Raised outside the handlers: a context chained to it would carry the original, unscrubbed message away.
        raise failure

    async def _perform(self, name: str, call: ActionCall, secrets: dict[str, str], scrubber: Scrubber) -> ActionResult:
        action = self._catalogue.get(name)
        if action is None:
            raise ActionError("unknown_action", f"This worker has no action {name!r}.", retryable=False)
        inputs = _validate(action, fill_in(call.parameters, call.secrets, secrets))
        context = ActionContext(
            execution_id=call.execution_id,
            playbook_id=call.playbook_id,
            asset_id=call.asset_id,
            step_id=call.step_id,
            attempt=call.attempt,
            dry_run=call.dry_run,
            dry_run_reads=call.dry_run and call.dry_run_reads,
            egress=self._egress,
            stores=_guarded(self._stores, scrubber),
            scrub=scrubber.value,
            heartbeat=_no_heartbeat if activity.info().is_local else _scrubbed_heartbeat(scrubber),
        )
        return await _supervise(_answer(action, inputs, context, call, scrubber), call.timeout)


async def _answer(
    action: AnyAction, inputs: BaseModel, context: ActionContext, call: ActionCall, scrubber: Scrubber
) -> ActionResult:
    rehearsed = call.dry_run and not (call.dry_run_reads and action.traits(_dump(inputs)).safe)
    try:
        if rehearsed:
            result = _rehearsed(await action.rehearse(inputs, context), scrubber)
        else:
            result = ActionResult(output=scrubber.value(_dump(await action.run(inputs, context))))
    except SystemExit as error:  # it would end the whole worker, and every other run on it
        raise RuntimeError(f"the action asked the worker to exit ({error.code})") from error
    levels = max(nesting(result.output), nesting(result.effects))
    if levels > MAX_NESTING:
        message = f"The result is nested {levels} levels deep; at most {MAX_NESTING} are kept."
        raise ActionError("output_too_large", message, retryable=False)
    size = len(result.model_dump_json().encode())
    if size > OUTPUT_LIMIT:
        raise ActionError(
            "output_too_large", f"The result has {size} bytes; at most {OUTPUT_LIMIT} are kept.", retryable=False
        )
    return result


def _rehearsed(rehearsal: Rehearsal, scrubber: Scrubber) -> ActionResult:
    output = None if rehearsal.output is None else _dump(rehearsal.output)
    return ActionResult(
        output=scrubber.value(output),
        would=scrubber.text(rehearsal.would),
        effects=[scrubber.value(effect) for effect in rehearsal.effects],
    )


async def _supervise(work: Any, timeout: float | None) -> ActionResult:
    """Run the action in a task of its own: heartbeats beside it, the step's time limit and cancellation above it."""
    task: asyncio.Task[ActionResult] = asyncio.ensure_future(work)
    beats = None if activity.info().is_local else asyncio.create_task(_beat())
    try:
        await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            await _stop(task)
            raise _time_is_over(task, timeout)
    except asyncio.CancelledError:
        # What has finished stays finished; whatever the action makes of a cancel after that is no result.
        if not task.done():
            await _stop(task)
            raise
    finally:
        if beats is not None:
            beats.cancel()
    if task.cancelled():
        raise ActionError("internal", "The action gave up by itself, though nobody cancelled it.")
    return task.result()


def _time_is_over(task: asyncio.Task[ActionResult], timeout: float | None) -> ActionError:
    """An action that says as it is stopped that its outcome is unknown is believed: to repeat it may do it twice."""
    error = task.exception() if task.done() and not task.cancelled() else None
    if isinstance(error, ActionError) and error.code == "outcome_unknown":
        return error
    return ActionError("timed_out", f"The action did not end within {timeout:g} s.")


async def _stop(task: asyncio.Task[ActionResult]) -> None:
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=CANCEL_GRACE)
    if pending:
        log.error("Action %s ignores its cancellation and is left behind", activity.info().activity_type)
    elif not task.cancelled():
        task.exception()  # fetched, or asyncio complains that nobody did


async def _beat() -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_INTERVAL)
        activity.heartbeat()


def _scrubbed_heartbeat(scrubber: Scrubber) -> Callable[..., None]:
    return lambda *details: activity.heartbeat(*(scrubber.value(detail) for detail in details))


def _guarded(stores: Stores, scrubber: Scrubber) -> Stores:
    """``stores`` in which no secret of this call can be kept."""
    if stores.artifacts is None:
        return stores
    return dataclasses.replace(stores, artifacts=GuardedArtifacts(stores.artifacts, scrubber))


def _no_heartbeat(*details: Any) -> None:
    """Local activities have no heartbeat."""


def _bind(call: ActionCall) -> None:
    """Every line that is logged for this call says what it belongs to."""
    bind_contextvars(
        execution_id=call.execution_id,
        playbook_id=call.playbook_id,
        asset_id=call.asset_id,
        step_id=call.step_id,
        attempt=call.attempt,
    )


def _dump(model: BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True)


def _decode(args: Sequence[RawValue]) -> ActionCall:
    try:
        call = activity.payload_converter().from_payload(args[0].payload, ActionCall)
    except Exception as error:
        raise ActionError("invalid_call", f"Not a call of an action: {type(error).__name__}", retryable=False) from None
    if not isinstance(call, ActionCall):
        raise ActionError("invalid_call", "Not a call of an action: the pydantic converter is missing", retryable=False)
    return call


def _validate(action: AnyAction, parameters: Any) -> BaseModel:
    try:
        inputs: BaseModel = action.Input.model_validate(parameters)
    except ValidationError as error:
        # Without the values that were refused: they may be secrets.
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        message = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'parameters'}: {fault['msg']}" for fault in faults)
        raise ActionError("invalid_input", message, retryable=False) from None
    return inputs


def _failure(name: str, error: ActionError, scrubber: Scrubber) -> ApplicationError:
    message = with_advice(error.code, scrubber.text(error.message))
    log.info("Action %s failed: %s: %s", name, error.code, message)
    return ApplicationError(
        message,
        {"retryable": error.retryable, "retry_after": _wait(error.retry_after)},
        type=error.code,
        non_retryable=True,
        # An answer of the action, not a fault of the worker: Temporal neither warns of it nor counts it as one.
        category=ApplicationErrorCategory.BENIGN,
    )


def _wait(asked: float | None) -> float | None:
    """The seconds that an action asks to be left alone, at most as long as a step may wait at all."""
    return min(float(asked), MAX_DURATION) if isinstance(asked, int | float) and asked > 0 else None


def _unexpected(name: str, error: Exception, scrubber: Scrubber) -> ApplicationError:
    with scrubbing(scrubber):
        log.error("Action %s raised", name, exc_info=error)
    return ApplicationError(
        scrubber.text(f"{type(error).__name__}: {error}"),
        {"retryable": True, "retry_after": None},
        type="internal",
        non_retryable=True,
    )
