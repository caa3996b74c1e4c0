"""``notify.send`` by Apprise: every connection, file and process of its plug-ins is judged."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from activities.action import ActionContext, ActionError
from activities.egress import EgressPolicy
from activities.tell import apprise as by_apprise
from activities.tell.notice import NotifyInput, NotifyOutput
from activities.tell.notify import Notify
from tests.unit.activities.action_support import LocalServer, Received, Stage, http_answer, make_context

ROOT = Path(__file__).parents[3]


async def send(context: ActionContext, url: str, **inputs: object) -> NotifyOutput:
    message = {"service": "apprise", "url": url, "text": "hello", **inputs}
    return await Notify().run(NotifyInput.model_validate(message), context)


async def failure(context: ActionContext, url: str, **inputs: object) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await send(context, url, **inputs)
    return raised.value


def opened(allow: str) -> ActionContext:
    return make_context(egress=EgressPolicy.parse(allow))


async def test_a_message_is_sent(server: LocalServer, context: ActionContext) -> None:
    """Text, fields and links arrive, with Apprise's own word for the severity."""
    server.answers["/x"] = http_answer(200)
    links = [{"text": "Run", "url": "https://stanchion.example/r"}]
    url = f"json://127.0.0.1:{server.port}/x"
    await send(context, url, title="T", severity="critical", fields={"asset": "web-01"}, links=links)
    message = json.loads(server.received[0].body)
    assert (message["title"], message["type"]) == ("T", "failure")
    assert message["message"] == "hello\nasset: web-01\nRun: https://stanchion.example/r"


@pytest.mark.parametrize("scheme", ["json", "mailto", "rsyslog", "ntfy", "gotify"])
async def test_no_plug_in_connects_past_the_guard(server: LocalServer, scheme: str) -> None:
    """Whatever library it uses, over TCP or UDP, an address that is not allowed is not connected to."""
    url = f"{scheme}://127.0.0.1:{server.port}/local0/?from=a@b.example&to=c@d.example"
    error = await failure(opened(""), url)
    assert (error.code, error.retryable) == ("egress_refused", False)
    assert server.received == []


async def test_a_name_is_judged_by_what_it_leads_to(server: LocalServer) -> None:
    """localhost is refused like its address, and allowed by name."""
    server.answers["/x"] = http_answer(200)
    url = f"json://localhost:{server.port}/x"
    assert (await failure(opened("other.example"), url)).code == "egress_refused"
    await send(opened("localhost"), url)
    assert len(server.received) == 1


async def test_a_redirect_is_judged_too(server: LocalServer) -> None:
    """A service that is allowed cannot lead on to one that is not."""
    server.answers["/x"] = http_answer(307, location=f"http://localhost:{server.port}/y")
    server.answers["/y"] = http_answer(200)
    inner = LocalServer()
    listening = await asyncio.start_server(inner.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.answers["/x"] = http_answer(307, location=f"http://127.0.0.1:{port}/secret")
    error = await failure(opened(f"127.0.0.1:{server.port}"), f"json://127.0.0.1:{server.port}/x")
    listening.close()
    assert (error.code, inner.received) == ("egress_refused", [])


async def test_the_environments_proxy_is_not_used(
    server: LocalServer, context: ActionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect for us, past the guard."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.answers["/x"] = http_answer(200)
    await send(context, f"json://127.0.0.1:{server.port}/x")
    assert len(server.received) == 1


async def test_a_refusal_is_told_without_the_token(server: LocalServer, context: ActionContext) -> None:
    """What Apprise says of it stands in the message; no part of the URL does."""
    error = await failure(context, f"json://127.0.0.1:{server.port}/T0KENT0KEN")
    assert error.code == "apprise_failed"
    assert "404" in error.message
    assert "T0KENT0KEN" not in error.message


@pytest.mark.parametrize("url", ["syslog://", "dbus://", "nosuch://x", "plain", "jsons://127.0.0.1/?verify=no"])
async def test_what_cannot_be_guarded_is_refused(context: ActionContext, url: str) -> None:
    """The worker's own desktop and log, unknown services, and TLS that verifies nobody."""
    error = await failure(context, url)
    assert (error.code, error.retryable) == ("apprise_refused", False)


async def test_no_file_of_the_worker_is_sent(server: LocalServer, context: ActionContext, tmp_path: Path) -> None:
    """A plug-in that takes the path of a template cannot be made to post what is there."""
    secret = tmp_path / "admin-token"
    secret.write_text('{"secret": "{{ app_body }}"}')
    error = await failure(context, f"workflows://127.0.0.1:{server.port}/workflow/sig/?template={secret}")
    assert (error.code, server.received) == ("apprise_failed", [])


@pytest.mark.parametrize(
    "attempt",
    [
        "__import__('subprocess').run(['true'])",
        "__import__('os').system('true')",
        "open('/tmp/x', 'w')",
        "open('/etc/passwd')",
        "__import__('os').open('/tmp/x', 1)",
        "s.socket(s.AF_UNIX).connect('/run/x')",
        "s.socket().connect(('127.0.0.1', 9))",
        "s.socket().connect(('2130706433', 9))",
        "s.socket(type=s.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
        "s.socket(s.AF_INET6).connect(('::ffff:127.0.0.1', 9))",
        "s.create_connection(('169.254.169.254', 80), 1)",
    ],
)
def test_the_hook_refuses(attempt: str) -> None:
    """Each way out of the process ends in a refusal, not in an attempt."""
    program = (
        "import socket as s\nfrom activities.egress import EgressPolicy\n"
        "from activities.tell.apprise_child import Guard\n"
        f"Guard(EgressPolicy()).install()\ntry:\n    {attempt}\nexcept PermissionError:\n    print('refused')\n"
    )
    command = [sys.executable, "-B", "-c", program]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert finished.stdout == "refused\n", finished.stderr


async def test_an_endless_answer_ends_the_child_alone(context: ActionContext) -> None:
    """Its memory is bounded; the step fails, and the worker does not grow."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Oh\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 1_048_576)
                await writer.drain()
        except ConnectionError:
            writer.close()

    listening = await asyncio.start_server(flood, "127.0.0.1", 0)
    error = await failure(context, f"json://127.0.0.1:{listening.sockets[0].getsockname()[1]}/x")
    listening.close()
    assert error.code == "apprise_failed"


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_child_that_ends_early_fails_the_step_alone(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before it has read its order, which is more than a pipe holds: told as any failure, on either loop."""
    monkeypatch.setattr(by_apprise.sys, "executable", "/bin/false")

    async def fail_often() -> None:
        for _ in range(20):
            error = await failure(make_context(), "json://127.0.0.1:1/x", text="ü" * 40_000)
            assert error.code == "apprise_failed"
            assert error.message.endswith("the process that sends ended with 1")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(fail_often())


async def test_a_cancel_ends_the_child(server: LocalServer, context: ActionContext) -> None:
    """The process is gone when the cancel returns."""
    reached, gone = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        await reader.read()
        gone.set()
        writer.close()

    listening = await asyncio.start_server(hang, "127.0.0.1", 0)
    task = asyncio.create_task(send(context, f"json://127.0.0.1:{listening.sockets[0].getsockname()[1]}/x"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    await asyncio.wait_for(gone.wait(), 2)
    listening.close()


async def test_a_service_that_hangs_is_given_up(
    server: LocalServer, context: ActionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step fails as timed_out and may be retried."""
    monkeypatch.setattr(by_apprise, "TIMEOUT", 3)

    async def hang(received: Received) -> bytes:
        await asyncio.sleep(60)
        return b""

    server.answers["/x"] = hang
    error = await failure(context, f"json://127.0.0.1:{server.port}/x")
    assert (error.code, error.retryable) == ("timed_out", True)


async def test_without_apprise_the_step_says_so(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without the extra names what is to be installed."""
    monkeypatch.setattr(by_apprise.importlib.util, "find_spec", lambda name: None)
    error = await failure(context, "json://127.0.0.1/x")
    assert error.code == "apprise_missing"
    assert "stanchion[apprise]" in error.message


async def test_the_rehearsal_names_the_scheme_alone(stage: Stage) -> None:
    """The rest of an Apprise URL may be a token."""
    parameters = {"service": "apprise", "url": "ntfys://T0KEN@ntfy.example/T0PIC", "text": "hello"}
    result = await stage.perform("notify.send", parameters, dry_run=True)
    assert result.would == "Would send by Apprise to ntfys: hello"
    assert "T0KEN" not in json.dumps(result.effects)
