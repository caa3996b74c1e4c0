"""Executions: run, read, list, decide, cancel, run again, compare, artifacts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from stanchion_client.messages import Call, Request, as_content, as_document, path_of
from stanchion_client.models import Artifact, Comparison, Execution, ExecutionSummary, State
from stanchion_client.paging import PER_PAGE, Listing, listing
from stanchion_client.routes import operation

Include = Literal["io", "iterations", "artifacts"]


def _path(execution_id: str, *rest: str) -> str:
    return path_of("playbooks", "executions", execution_id, *rest)


@operation("execution_run")
def run(
    playbook: str,
    target_asset_id: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    dry_run: bool = False,
    dry_run_reads: bool = True,
    idempotency_key: str | None = None,
) -> Call[Execution]:
    """Run a playbook against an asset; it is one run however often the request has to be sent.

    Args:
        playbook: id or slug of the playbook.
        target_asset_id: id of the asset.
        parameters: what the playbook's parameters accept.
        dry_run: rehearse: nothing is changed.
        dry_run_reads: with ``dry_run``, steps that only read run for real.
        idempotency_key: the same key with the same body gives the same execution; a new one is made without it.

    Raises:
        ParametersInvalid: with every violation of the playbook's schema.
        Conflict: the playbook runs on the asset already; ``execution_id`` is that run.
    """
    body: dict[str, Any] = {
        "target_asset_id": target_asset_id,
        "parameters": dict(parameters or {}),
        "dry_run": dry_run,
    }
    if not dry_run_reads:
        body["dry_run_reads"] = False
    return _start(path_of("playbooks", playbook, "run"), body, idempotency_key)


@operation("execution_rerun")
def rerun(execution_id: str, *, from_failed: bool = False, idempotency_key: str | None = None) -> Call[Execution]:
    """Run an execution that has ended again; with ``from_failed`` what it has completed is kept.

    The idempotency key is as for a run.
    """
    body = {"from": "failed"} if from_failed else None
    return _start(_path(execution_id, "rerun"), body, idempotency_key)


def _start(path: str, body: Any, idempotency_key: str | None) -> Call[Execution]:
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call(Request("POST", path, body=body, headers=headers), as_document, repeatable=True)


@operation("execution_read")
def read(execution_id: str, *, include: tuple[Include, ...] = ()) -> Call[Execution]:
    """Read an execution with the state of every step.

    ``include`` adds ``io``, inputs and outputs of the steps; ``iterations``, those of loops; ``artifacts``.
    """
    query = {"include": ",".join(include) or None}
    return Call(Request("GET", _path(execution_id), query), as_document, repeatable=True)


@operation("execution_list")
def list_all(
    *,
    playbook_id: str | None = None,
    target_asset_id: str | None = None,
    status: State | None = None,
    dry_run: bool | None = None,
    page: int = 1,
    per_page: int = PER_PAGE,
) -> Listing[ExecutionSummary]:
    """Executions, newest first; those of one playbook (id or slug), asset or state where that is given."""
    query = {"playbook_id": playbook_id, "target_asset_id": target_asset_id, "status": status, "dry_run": dry_run}
    return listing(path_of("playbooks", "executions"), page, per_page, lambda one: one["execution_id"], query)


@operation("playbook_executions")
def list_of_playbook(
    playbook: str,
    *,
    target_asset_id: str | None = None,
    status: State | None = None,
    dry_run: bool | None = None,
    page: int = 1,
    per_page: int = PER_PAGE,
) -> Listing[ExecutionSummary]:
    """Executions of one playbook, newest first; of one that was deleted too, by its id."""
    query = {"target_asset_id": target_asset_id, "status": status, "dry_run": dry_run}
    path = path_of("playbooks", playbook, "executions")
    return listing(path, page, per_page, lambda one: one["execution_id"], query)


@operation("execution_cancel")
def cancel(execution_id: str, reason: str | None = None) -> Call[Execution]:
    """Cancel an execution; what is completed is not rolled back.  One that is cancelled already is returned.

    Raises:
        NotRunning: it has completed or failed.
    """
    body = {"reason": reason} if reason else None
    return Call(Request("POST", _path(execution_id, "cancel"), body=body), as_document, repeatable=True)


@operation("execution_approve")
def approve(execution_id: str, step: str, comment: str | None = None) -> Call[Execution]:
    """Approve a step that waits for it; of one in a loop with its iteration: ``ask.3``.

    Raises:
        NotWaiting: it waits for nothing, or for nothing any more.
        Forbidden: the step names other approvers.
    """
    return _decide(execution_id, step, "approve", comment)


@operation("execution_reject")
def reject(execution_id: str, step: str, comment: str | None = None) -> Call[Execution]:
    """Reject a step that waits for approval: it fails.  Raises what ``approve`` raises."""
    return _decide(execution_id, step, "reject", comment)


def _decide(execution_id: str, step: str, word: str, comment: str | None) -> Call[Execution]:
    body = {"comment": comment} if comment else None
    # A step is decided once, whoever asks and however often.
    return Call(Request("POST", _path(execution_id, "steps", step, word), body=body), as_document, repeatable=True)


@operation("execution_compare")
def compare(execution_id: str, other: str) -> Call[Comparison]:
    """Compare two executions of one playbook step by step: a rehearsal with the run that followed it."""
    return Call(Request("GET", _path(execution_id, "compare", other)), as_document, repeatable=True)


@operation("execution_artifacts")
def artifacts(execution_id: str, *, page: int = 1, per_page: int = PER_PAGE) -> Listing[Artifact]:
    """The files that the steps of an execution have made, oldest first."""
    return listing(_path(execution_id, "artifacts"), page, per_page, lambda one: one["name"], {})


@operation("execution_artifact")
def artifact(execution_id: str, name: str) -> Call[bytes]:
    """The content of one file that a step has made."""
    request = Request("GET", _path(execution_id, "artifacts", name), headers={"Accept": "*/*"})
    return Call(request, as_content, repeatable=True)
