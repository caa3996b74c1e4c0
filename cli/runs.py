"""Commands on runs: start one, look at it, wait for it, stop it, hold it against another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_URL, AsJson, Token, Url
from cli.output import emit, say, using_api

if TYPE_CHECKING:
    from stanchion_client import Stanchion
    from stanchion_client.models import Execution as Answer

Execution = Annotated[str, typer.Argument(metavar="EXECUTION", help="Id of the execution.")]
Step = Annotated[str, typer.Argument(metavar="STEP", help="Id of the step; in a loop with its iteration: ask.3.")]
Comment = Annotated[str | None, typer.Option(help="Why; kept with the step and in the audit trail.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter", "-p", metavar="NAME=VALUE", help="A parameter; JSON if it parses, @FILE for a file's content."
    ),
]


def run(
    playbook: Annotated[str, typer.Argument(help="Id or slug of the playbook.")],
    asset: Annotated[str, typer.Argument(help="Id or name of the asset.")],
    parameters: Pairs = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Rehearse: nothing is changed.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show each step; exit code 1 if it fails.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key starts the same run once.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Run a playbook on an asset."""
    from cli.assets import asset_id
    from cli.values import ArgumentError, parse_pairs

    try:
        values = parse_pairs(parameters or [])
    except ArgumentError as fault:
        raise typer.BadParameter(str(fault), param_hint="--parameter") from fault
    with using_api(url, token, as_json) as api:
        started = api.executions.run(
            playbook, asset_id(api, asset), values, dry_run=dry_run, idempotency_key=idempotency_key
        )
        _started(api, started, watch, as_json)


def status(
    execution: Execution,
    io: Annotated[bool, typer.Option("--io", help="With each step's input and output.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show an execution and its steps."""
    with using_api(url, token, as_json) as api:
        found = api.executions.read(execution, include=("io",) if io else ())
    _show(found, as_json)


def watch(execution: Execution, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Follow an execution to its end; exit code 1 unless it completes."""
    with using_api(url, token, as_json) as api:
        _watch(api, execution, as_json)


def cancel(
    execution: Execution,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the execution.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a running execution; what is completed is not rolled back."""
    with using_api(url, token, as_json) as api:
        found = api.executions.cancel(execution, reason)
    _show(found, as_json)


def approve(
    execution: Execution,
    step: Step,
    comment: Comment = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Approve a step that waits for it; the run goes on."""
    with using_api(url, token, as_json) as api:
        found = api.executions.approve(execution, step, comment)
    _show(found, as_json)


def reject(
    execution: Execution,
    step: Step,
    comment: Comment = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Reject a step that waits for approval; it fails."""
    with using_api(url, token, as_json) as api:
        found = api.executions.reject(execution, step, comment)
    _show(found, as_json)


def rerun(
    execution: Execution,
    from_failed: Annotated[bool, typer.Option("--from-failed", help="Keep what was completed.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show each step; exit code 1 if it fails.")] = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Run an execution that has ended again, with the same input and revision."""
    with using_api(url, token, as_json) as api:
        started = api.executions.rerun(execution, from_failed=from_failed)
        _started(api, started, watch, as_json)


def compare(
    execution: Execution,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Id of the execution to hold it against.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Compare two executions step by step: a rehearsal with the live run."""
    from cli.comparison import print_comparison

    with using_api(url, token, as_json) as api:
        found = api.executions.compare(execution, other)
    if as_json:
        emit(found)
    else:
        print_comparison(found)


def _started(api: Stanchion, started: Answer, watch: bool, as_json: bool) -> None:
    if watch:
        _watch(api, started["execution_id"], as_json)
    elif as_json:
        emit(started)
    else:
        say(started["execution_id"])


def _watch(api: Stanchion, execution_id: str, as_json: bool) -> None:
    from cli.render import watch as show_changes

    last = show_changes(api.executions.watch(execution_id), quiet=as_json)
    if as_json:
        emit(last)
    if last["status"] != "completed":
        raise typer.Exit(1)


def _show(found: Answer, as_json: bool) -> None:
    if as_json:
        emit(found)
    else:
        from cli.render import print_execution

        print_execution(found)


COMMANDS: tuple[Callable[..., None], ...] = (run, status, watch, cancel, approve, reject, rerun, compare)
