"""Runs of playbooks in Temporal: start, describe, cancel, ask.  One call to the frontend each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.common.v1 import Memo, Payload, Payloads, SearchAttributes, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.sdk.v1 import UserMetadata
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryReverseRequest,
    ListWorkflowExecutionsRequest,
    QueryWorkflowRequest,
    RequestCancelWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import RawValue, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.converter import encode_search_attributes
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from engine.description import Description, read_description
from engine.errors import AlreadyRunning, DecisionRefused, NoAnswer, StartRefused, TemporalUnavailable
from engine.rpc import call
from engine.tracing import tracing
from playbooks.contract import (
    ATTRIBUTE_ASSET,
    ATTRIBUTE_DRY_RUN,
    ATTRIBUTE_EXECUTION,
    ATTRIBUTE_PLAYBOOK,
    DECIDE_UPDATE,
    Decide,
    Decided,
    RunInput,
)
from playbooks.progress import memo_of
from playbooks.record import Json

INPUT_LIMIT = 1_900_000
"""Bytes that a run's input may have: Temporal refuses payloads over 2 MiB."""

TASK_TIMEOUT = timedelta(seconds=5)
"""Of one workflow task: how long a worker that died in the middle of one is waited for."""

QUERY_TIMEOUT = timedelta(seconds=3)

DECISION_TIMEOUT = timedelta(seconds=5)

HISTORY_END = 60
"""Events at the end of a history that are read to see what a workflow has not taken note of yet."""

_KEYS = {
    name: SearchAttributeKey.for_keyword(name) for name in (ATTRIBUTE_PLAYBOOK, ATTRIBUTE_ASSET, ATTRIBUTE_EXECUTION)
}
_DRY_RUN_KEY = SearchAttributeKey.for_bool(ATTRIBUTE_DRY_RUN)


@dataclass(frozen=True, slots=True)
class Start:
    """What a start needs beside the run's input: where it goes, and what the Web UI shows of it."""

    workflow_id: str
    workflow_type: str
    given: RunInput
    plan_json: bytes
    """``given.plan``, written out: it is the same for every run of a revision."""
    summary: str
    details: str


@dataclass(slots=True)
class Runs:
    """Temporal's frontend, as the API uses it.

    Every method raises TemporalUnavailable when no answer comes.
    """

    client: Client
    task_queue: str

    async def start(self, start: Start) -> str:
        """Starts the workflow and returns its run id.

        The execution id is the request id, so that a repeated start of the same execution finds the first one.
        Raises AlreadyRunning, or StartRefused when Temporal will not take the input.
        """
        payloads = await self.client.data_converter.encode([RawValue(_input(start))])
        if sum(len(payload.data) for payload in payloads) > INPUT_LIMIT:
            raise StartRefused("the plan, the parameters and the asset together are too large for one run")
        request = StartWorkflowExecutionRequest(
            namespace=self.client.namespace,
            workflow_id=start.workflow_id,
            workflow_type=WorkflowType(name=start.workflow_type),
            task_queue=TaskQueue(name=self.task_queue),
            input=Payloads(payloads=payloads),
            identity=self.client.identity,
            request_id=start.given.execution_id,
            workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
            workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
            memo=await self._memo(start.given),
            search_attributes=_attributes(start.given),
            user_metadata=await self._metadata(start),
        )
        request.workflow_task_timeout.FromTimedelta(TASK_TIMEOUT)
        traced = tracing()
        if traced is None:
            return await self._send_start(request)
        with traced.starting(start.workflow_type, start.given.execution_id) as headers:
            for name, payload in headers.items():
                request.header.fields[name].CopyFrom(payload)
            return await self._send_start(request)

    async def _send_start(self, request: StartWorkflowExecutionRequest) -> str:
        sent = False
        for last in (False, False, True):
            try:
                answer = await call(self.client.workflow_service.start_workflow_execution, request, retry=False)
                return answer.run_id
            except TemporalUnavailable as error:
                sent = sent or error.sent
                if last:
                    raise TemporalUnavailable(str(error), sent=sent) from error
            except RPCError as error:
                raise _start_error(error) from error
        raise AssertionError("unreachable")

    async def describe(self, workflow_id: str, run_id: str | None = None) -> Description | None:
        """What Temporal knows of a run, the latest of that id without ``run_id``; None where it knows of none.

        A run that has continued as new is described where it stands now.
        """
        found = await self._describe(workflow_id, run_id)
        if found is None or not found.continued:
            return found
        latest = await self._describe(workflow_id, None)
        if latest is not None and latest.first_run_id == found.first_run_id:
            return latest
        last = await self._find(found.execution_id) if found.execution_id else None
        return await self._describe(workflow_id, last) if last else found

    async def _describe(self, workflow_id: str, run_id: str | None) -> Description | None:
        request = DescribeWorkflowExecutionRequest(
            namespace=self.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id or ""),
        )
        try:
            answer = await call(self.client.workflow_service.describe_workflow_execution, request)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise TemporalUnavailable(str(error)) from error
        return await read_description(self.client, answer)

    async def describe_execution(self, workflow_id: str, execution_id: str) -> Description | None:
        """Like ``describe``, for one execution, also where a later run has taken its workflow id since."""
        latest = await self.describe(workflow_id)
        if latest is None or latest.execution_id == execution_id:
            return latest
        run_id = await self._find(execution_id)
        return await self.describe(workflow_id, run_id) if run_id else None

    async def _find(self, execution_id: str) -> str | None:
        request = ListWorkflowExecutionsRequest(
            namespace=self.client.namespace,
            page_size=1,
            query=f"{ATTRIBUTE_EXECUTION} = '{execution_id}'",
        )
        try:
            answer = await call(self.client.workflow_service.list_workflow_executions, request)
        except RPCError as error:
            raise TemporalUnavailable(str(error)) from error
        return answer.executions[0].execution.run_id if answer.executions else None

    async def cancel(self, workflow_id: str, first_run_id: str, reason: str) -> bool:
        """Requests cancellation; False when the run has closed already.  A second request is as good as the first."""
        request = RequestCancelWorkflowExecutionRequest(
            namespace=self.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            first_execution_run_id=first_run_id,
            identity=self.client.identity,
            reason=reason,
        )
        try:
            await call(self.client.workflow_service.request_cancel_workflow_execution, request)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            if error.status is RPCStatusCode.ALREADY_EXISTS:
                return True
            raise TemporalUnavailable(str(error)) from error
        return True

    async def terminate(self, workflow_id: str, first_run_id: str, reason: str) -> None:
        """Ends a run that must not have been started; a closed one is left as it is."""
        request = TerminateWorkflowExecutionRequest(
            namespace=self.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            first_execution_run_id=first_run_id,
            identity=self.client.identity,
            reason=reason,
        )
        try:
            await call(self.client.workflow_service.terminate_workflow_execution, request)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise TemporalUnavailable(str(error)) from error

    async def query(self, workflow_id: str, run_id: str, name: str) -> dict[str, Json] | None:
        """The answer of the workflow to the query ``name``; None when no worker gives one in time."""
        request = QueryWorkflowRequest(
            namespace=self.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            query=WorkflowQuery(query_type=name),
        )
        try:
            answer = await self.client.workflow_service.query_workflow(request, timeout=QUERY_TIMEOUT)
        except RPCError:
            return None
        decoded = await self.client.data_converter.decode(answer.query_result.payloads)
        return dict(decoded[0])

    async def decide(self, workflow_id: str, first_run_id: str, decision: Decide) -> str:
        """Brings a decision to a run; the step that it was about, as the run calls it.

        Raises DecisionRefused, and NoAnswer when no worker takes the decision in time: then it may still be taken.
        """
        handle = self.client.get_workflow_handle(workflow_id, first_execution_run_id=first_run_id)
        try:
            decided: Decided = await handle.execute_update(
                DECIDE_UPDATE, decision, result_type=Decided, rpc_timeout=DECISION_TIMEOUT
            )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            told = cause if isinstance(cause, ApplicationError) else ApplicationError(str(cause))
            raise DecisionRefused(told.type or "not_waiting", told.message) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise NoAnswer("no worker has taken the decision yet") from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise DecisionRefused("not_waiting", "the run has ended") from error
            raise TemporalUnavailable(str(error)) from error
        return decided.step

    async def finished_activities(self, workflow_id: str, run_id: str) -> frozenset[str]:
        """Ids of activities that have completed, as far as the end of the history tells.

        For a run whose workflow has not taken note of them yet: nothing after them was handled by a worker.
        """
        scheduled: dict[int, str] = {}
        completed: list[int] = []
        for event in await self._history_end(workflow_id, run_id):
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                completed.append(event.activity_task_completed_event_attributes.scheduled_event_id)
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        return frozenset(scheduled[number] for number in completed if number in scheduled)

    async def close_reason(self, workflow_id: str, run_id: str) -> str | None:
        """The reason that an operator gave when terminating or cancelling a run; None when there is none."""
        for event in await self._history_end(workflow_id, run_id):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
                return event.workflow_execution_terminated_event_attributes.reason or None
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
                return event.workflow_execution_cancel_requested_event_attributes.cause or None
        return None

    async def _history_end(self, workflow_id: str, run_id: str) -> Sequence[HistoryEvent]:
        request = GetWorkflowExecutionHistoryReverseRequest(
            namespace=self.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            maximum_page_size=HISTORY_END,
        )
        try:
            answer = await call(self.client.workflow_service.get_workflow_execution_history_reverse, request)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return ()
            raise TemporalUnavailable(str(error)) from error
        return answer.history.events

    async def _memo(self, given: RunInput) -> Memo:
        fields = memo_of(given)
        return Memo(fields={name: await self._encode(value) for name, value in fields.items()})

    async def _metadata(self, start: Start) -> UserMetadata:
        return UserMetadata(summary=await self._encode(start.summary), details=await self._encode(start.details))

    async def _encode(self, value: Json) -> Payload:
        if self.client.data_converter.payload_codec is None:
            return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())
        return (await self.client.data_converter.encode([value]))[0]


def _input(start: Start) -> Payload:
    """The input as the converter would write it, without walking the plan once more."""
    rest = start.given.model_dump_json(exclude={"plan"}).encode()
    return Payload(metadata={"encoding": b"json/plain"}, data=rest[:-1] + b',"plan":' + start.plan_json + b"}")


def _attributes(given: RunInput) -> SearchAttributes:
    message = SearchAttributes()
    values = {
        ATTRIBUTE_PLAYBOOK: given.playbook_id,
        ATTRIBUTE_ASSET: str(given.asset["id"]),
        ATTRIBUTE_EXECUTION: given.execution_id,
    }
    pairs = [SearchAttributePair(_KEYS[name], value) for name, value in values.items()]
    encode_search_attributes(TypedSearchAttributes([*pairs, SearchAttributePair(_DRY_RUN_KEY, given.dry_run)]), message)
    return message


def _start_error(error: RPCError) -> Exception:
    if error.status is RPCStatusCode.ALREADY_EXISTS and error.grpc_status.details:
        details = WorkflowExecutionAlreadyStartedFailure()
        if error.grpc_status.details[0].Unpack(details):
            return AlreadyRunning(details.run_id)
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return StartRefused(error.message)
    return TemporalUnavailable(f"{error.status.name.lower()}: {error.message}")
