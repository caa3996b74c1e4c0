"""A run, from the request to the settled record, on a real Temporal."""

from __future__ import annotations

from tests.stack import Stack, states


def echo(**parameters: object) -> dict[str, object]:
    """A step that answers with its parameters."""
    return {"action_ref": "core.echo", "name": "Echo", "parameters": parameters}


async def test_a_run_completes_with_the_outputs_of_its_steps(stack: Stack) -> None:
    """Templates see the parameters, the asset and the outputs of earlier steps."""
    execution = await stack.start(
        [
            {**echo(version="{{ parameters.version }}", host="{{ asset.name }}"), "id": "first"},
            {**echo(text="got {{ steps.first.output.version }} on {{ steps.first.output.host }}"), "id": "second"},
        ],
        parameters={"type": "object", "properties": {"version": {"type": "string"}}},
        outputs={"text": "{{ steps.second.output.text }}"},
        run={"parameters": {"version": "2.4.1"}},
    )
    status = await stack.finish(execution)
    assert status["status"] == "completed"
    assert [step["output"] for step in status["steps"]] == [
        {"version": "2.4.1", "host": "web-01"},
        {"text": "got 2.4.1 on web-01"},
    ]
    assert status["outputs"] == {"text": "got 2.4.1 on web-01"}


async def test_202_shows_every_step_pending(idle_stack: Stack) -> None:
    """The answer to a run, and the status without any worker, list every step as pending."""
    playbook, asset = await idle_stack.playbook([echo(), echo()]), await idle_stack.asset()
    answer = await idle_stack.post_run(playbook["id"], asset["id"])
    assert answer.status_code == 202
    assert answer.json()["status"] == "pending"
    assert states(answer.json()) == ["pending", "pending"]
    status = await idle_stack.status(answer.json()["execution_id"])
    assert (status["status"], states(status)) == ("pending", ["pending", "pending"])


async def test_a_false_when_skips_the_step_and_goes_on(stack: Stack) -> None:
    """A step whose `when` is false reads skipped, with the reason; the next one runs."""
    status = await stack.finish(await stack.start([{**echo(), "when": "false"}, echo()]))
    assert states(status) == ["skipped", "completed"]
    assert status["steps"][0]["reason"] == "its condition `when` is false"


async def test_a_condition_jumps_and_skips_what_is_between(stack: Stack) -> None:
    """`on_false` names a later step; those between read skipped."""
    steps = [
        {"id": "ask", "name": "Ask", "type": "condition", "expression": "asset.tags.env == 'test'", "on_false": "end"},
        {**echo(), "id": "never"},
    ]
    status = await stack.finish(await stack.start(steps))
    assert (status["status"], states(status)) == ("completed", ["completed", "skipped"])
    assert status["steps"][0]["output"] == {"result": False}
    assert status["steps"][1]["reason"] == "ask ended the run"


async def test_abort_fails_the_run_and_skips_the_rest(stack: Stack) -> None:
    """A failed step with `abort` ends the run as failed."""
    steps = [{"id": "bad", "action_ref": "core.fail", "parameters": {"message": "no"}}, echo()]
    status = await stack.finish(await stack.start(steps))
    assert (status["status"], states(status)) == ("failed", ["failed", "skipped"])
    assert status["steps"][0]["error"]["message"] == "no"
    assert "bad failed" in status["steps"][1]["reason"]
    assert status["error"]["message"] == "step bad failed: no"


async def test_continue_leaves_the_failure_and_completes(stack: Stack) -> None:
    """A failed step with `continue` stays failed; the run completes."""
    steps = [{"action_ref": "core.fail", "parameters": {"message": "no"}, "on_failure": "continue"}, echo()]
    status = await stack.finish(await stack.start(steps))
    assert (status["status"], states(status)) == ("completed", ["failed", "completed"])


async def test_a_handler_takes_the_failure(stack: Stack) -> None:
    """A jump to a handler counts as handled; a handler that nothing fails into is skipped."""
    steps = [
        {"id": "bad", "action_ref": "core.fail", "parameters": {"message": "no"}, "on_failure": "undo"},
        {**echo(), "id": "between"},
        {**echo(error="{{ steps.bad.error.message }}"), "id": "undo", "run": "on_failure_only"},
    ]
    status = await stack.finish(await stack.start(steps))
    assert (status["status"], states(status)) == ("completed", ["failed", "skipped", "completed"])
    assert status["steps"][2]["output"] == {"error": "no"}
    steps[0] = {**echo(), "id": "bad", "on_failure": "undo"}
    status = await stack.finish(await stack.start(steps))
    assert states(status) == ["completed", "completed", "skipped"]


async def test_retry_counts_the_answers_of_the_action(stack: Stack) -> None:
    """An action that fails twice and then succeeds completes at its third attempt."""
    step = {
        "action_ref": "core.fail",
        "parameters": {"message": "not yet", "times": 2},
        "retry": {"max_attempts": 3, "initial_interval": "50ms", "backoff": 1},
    }
    status = await stack.finish(await stack.start([step]))
    assert (status["status"], status["steps"][0]["attempt"]) == ("completed", 3)


async def test_retries_end_at_the_limit(stack: Stack) -> None:
    """`on_failure: retry` tries `max_retries` times more, then aborts."""
    step = {"action_ref": "core.fail", "parameters": {"message": "never"}}
    definition = {"on_failure": "retry", "max_retries": 1}
    status = await stack.finish(await stack.start([step], **definition))
    assert (status["status"], status["steps"][0]["attempt"]) == ("failed", 2)


async def test_a_step_that_outlasts_its_timeout_fails(stack: Stack) -> None:
    """`timeout` is the action's own; the step fails with `timed_out`."""
    step = {"action_ref": "core.sleep", "parameters": {"seconds": 30}, "timeout": "300ms"}
    status = await stack.finish(await stack.start([step]))
    assert (status["status"], status["steps"][0]["error"]["code"]) == ("failed", "timed_out")


async def test_the_run_has_a_time_limit(stack: Stack) -> None:
    """`timeout_minutes` fails the step at work and skips the rest."""
    steps = [{"action_ref": "core.sleep", "parameters": {"seconds": 30}}, echo()]
    status = await stack.finish(await stack.start(steps, timeout_minutes=0.01))
    assert (status["status"], states(status)) == ("failed", ["failed", "skipped"])
    assert status["error"]["code"] == "timed_out"


async def test_core_set_puts_names_into_vars(stack: Stack) -> None:
    """What `core.set` sets stands in `vars` for later steps."""
    steps = [
        {"action_ref": "core.set", "parameters": {"owner": "blue team"}},
        {**echo(to="{{ vars.owner }}"), "id": "tell"},
    ]
    status = await stack.finish(await stack.start(steps))
    assert status["steps"][1]["output"] == {"to": "blue team"}


async def test_a_template_that_fails_fails_its_step(stack: Stack) -> None:
    """A missing key is an error of the step that asks for it, with a stable code."""
    status = await stack.finish(await stack.start([echo(x="{{ asset.tags.nothing }}")]))
    assert status["steps"][0]["error"]["code"] == "expression_error"


async def test_a_delay_waits_and_says_so(stack: Stack) -> None:
    """A delay reads running and says until when; then the run goes on."""
    steps = [{"type": "delay", "name": "Settle", "duration": "1s"}, echo()]
    execution = await stack.start(steps)
    status = await stack.until_step(execution, 0, "running")
    assert status["steps"][0]["waiting_for"]["kind"] == "delay"
    status = await stack.finish(execution)
    assert states(status) == ["completed", "completed"]
    assert status["steps"][0]["duration_ms"] >= 1000


async def test_a_dry_run_neither_waits_nor_touches(stack: Stack) -> None:
    """Each step of a rehearsal says what it would do; delays and sleeps are not waited for."""
    steps = [
        {"type": "delay", "name": "Settle", "duration": "1h"},
        {"action_ref": "core.sleep", "parameters": {"seconds": 3600}},
        {"action_ref": "script.run", "parameters": {"script": "echo hello"}},
    ]
    status = await stack.finish(await stack.start(steps, run={"dry_run": True}))
    assert (status["status"], status["dry_run"]) == ("completed", True)
    assert "would wait" in status["steps"][0]["would"]
    assert all(step["would"] for step in status["steps"])
