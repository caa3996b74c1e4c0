"""``email.send`` against a real mail server: STARTTLS, login, TLS from the first byte, and each way to be refused."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from pydantic import ValidationError

from activities.action import ActionContext, ActionError
from activities.artifacts import Artifact
from activities.stores import Stores
from activities.tell import mail_session
from activities.tell.mail import EmailSend
from activities.tell.mail_input import EmailInput, EmailOutput
from tests.mail_server import HANG, PASSWORD, USER, MailServer, ScriptedServer, mail_server, scripted_server
from tests.unit.activities.action_support import Certificate, Stage, make_context, make_stage

LETTER: dict[str, Any] = {
    "from": "Stanchion <stanchion@example.com>",
    "to": ["Ada <ada@example.com>", "bob@example.com"],
    "subject": "Finding on web-01",
    "text": "A finding waits.\n.\nIt has a dot.\n",
}
LOGIN = {"username": USER, "password": PASSWORD}
PLAIN = {"security": "none"}


class Shelf:
    """Artifacts in memory."""

    def __init__(self, **kept: Artifact) -> None:
        self.kept = {one.name: one for one in kept.values()}

    async def put(self, context: ActionContext, name: str, media_type: str, data: bytes) -> Artifact:
        raise AssertionError("nothing is kept here")

    async def read(self, context: ActionContext, name: str) -> Artifact | None:
        return self.kept.get(name)


def inputs(server: MailServer | ScriptedServer, **changes: Any) -> EmailInput:
    return EmailInput.model_validate({**LETTER, "host": "127.0.0.1", "port": server.port, **changes})


async def send(server: MailServer | ScriptedServer, context: ActionContext, **changes: Any) -> EmailOutput:
    return await EmailSend().run(inputs(server, **changes), context)


async def failure(server: MailServer | ScriptedServer, context: ActionContext, **changes: Any) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await send(server, context, **changes)
    return raised.value


async def test_a_message_goes_by_starttls_and_login(context: ActionContext, certificate: Certificate) -> None:
    """The everyday way: TLS that holds, a login, and the server's answer in the output."""
    async with mail_server(certificate.server_context, login=True) as server:
        output = await send(server, context, ca=certificate.file.read_text(), **LOGIN)
    (taken,) = server.taken
    assert (taken.tls, taken.user, taken.sender) == (True, USER, "stanchion@example.com")
    assert taken.recipients == output.accepted == ["ada@example.com", "bob@example.com"]
    assert (output.reply, output.refused) == ("2.0.0 Ok: queued as 4XyZ", [])
    assert output.tls in ("TLSv1.2", "TLSv1.3")
    assert output.size == len(taken.content)


async def test_a_message_goes_by_tls_from_the_first_byte(context: ActionContext, certificate: Certificate) -> None:
    """As on port 465."""
    async with mail_server(certificate.server_context, implicit=True, login=True) as server:
        output = await send(server, context, security="tls", ca=certificate.file.read_text(), **LOGIN)
    assert (output.tls is not None, len(server.taken)) == (True, 1)


async def test_the_operators_authority_is_trusted(context: ActionContext, trusted: Certificate) -> None:
    """Without a ca of its own the step trusts what the worker trusts."""
    async with mail_server(trusted.server_context) as server:
        await send(server, context)
    assert len(server.taken) == 1


async def test_head_and_body_are_what_was_asked_for(context: ActionContext) -> None:
    """Names, subject, dots and letters of any language arrive; bcc stands in no header."""
    async with mail_server() as server:
        output = await send(
            server,
            context,
            **PLAIN,
            cc="Jürgen Müller <juergen@bücher.example>",
            bcc=["eve@example.com"],
            reply_to="soc@example.com",
            subject="Fund auf web-01: ÄÖÜ",
            html="<p>Ein Fund wartet – schnell.</p>",
            headers={"X-Priority": "1", "References": "<a@example.com>"},
        )
    (taken,) = server.taken
    message = taken.message
    assert message["From"] == "Stanchion <stanchion@example.com>"
    assert message["To"] == "Ada <ada@example.com>, bob@example.com"
    assert message["Cc"].addresses[0].display_name == "Jürgen Müller"
    assert (message["Reply-To"], message["Subject"]) == ("soc@example.com", "Fund auf web-01: ÄÖÜ")
    assert (message["X-Priority"], message["References"]) == ("1", "<a@example.com>")
    assert (message["Auto-Submitted"], message["Message-ID"]) == ("auto-generated", output.message_id)
    assert message["Date"].datetime is not None
    assert "Bcc" not in message
    assert taken.recipients[2:] == ["juergen@xn--bcher-kva.example", "eve@example.com"]
    assert b"eve@" not in taken.content
    assert taken.content.isascii()
    text, html = message.iter_parts()
    assert message.get_content_type() == "multipart/alternative"
    assert text.get_content().replace("\r\n", "\n") == LETTER["text"]
    assert html.get_content().strip() == "<p>Ein Fund wartet – schnell.</p>"


async def test_html_alone_is_enough(context: ActionContext) -> None:
    """And a message to bcc alone has a To that tells nobody."""
    async with mail_server() as server:
        await send(server, context, **PLAIN, text=None, html="<b>x</b>", to=[], bcc="a@example.com")
    message = server.taken[0].message
    assert (message.get_content_type(), str(message["To"])) == ("text/html", "undisclosed-recipients:;")


async def test_artifacts_and_outputs_are_attached() -> None:
    """An artifact of the run, a value as JSON, text, and a file in base64; each byte as it was."""
    report = Artifact("report.html", "text/html", "<h1>Ä</h1>".encode(), "")
    context = make_context(stores=Stores(artifacts=Shelf(report=report)))
    files = [
        {"artifact": "report.html", "name": "Bericht für alle.html"},
        {"name": "findings.json", "content": [{"id": 1}]},
        {"name": "log.txt", "content": "\nline\n.\n"},
        {"name": "key.bin", "content": "AAH/\nCg==", "encoding": "base64"},
    ]
    async with mail_server() as server:
        await send(server, context, **PLAIN, attachments=files)
    attached = list(server.taken[0].message.iter_attachments())
    assert [(one.get_filename(), one.get_content_type()) for one in attached] == [
        ("Bericht für alle.html", "text/html"),
        ("findings.json", "application/json"),
        ("log.txt", "text/plain"),
        ("key.bin", "application/octet-stream"),
    ]
    assert [one.get_payload(decode=True) for one in attached] == [
        report.data,
        b'[\n  {\n    "id": 1\n  }\n]\n',
        b"\nline\n.\n",
        b"\x00\x01\xff\n",
    ]


async def test_an_artifact_that_is_not_there_ends_the_step(context: ActionContext) -> None:
    """Before anything is connected to."""
    async with mail_server() as server:
        error = await failure(
            server, make_context(stores=Stores(artifacts=Shelf())), **PLAIN, attachments=[{"artifact": "x.html"}]
        )
        assert (error.code, server.connections) == ("unknown_artifact", 0)
        bad = [{"name": "x", "content": "%%%", "encoding": "base64"}]
        assert (await failure(server, context, **PLAIN, attachments=bad)).code == "invalid_input"


async def test_each_attempt_has_the_same_message_id() -> None:
    """And another step, or another run, has another."""
    async with mail_server() as server:
        first = await send(server, make_context(), **PLAIN)
        again = await send(server, make_context(attempt=2), **PLAIN)
    assert first.message_id == again.message_id
    assert first.message_id.endswith("@example.com>")
    assert len(server.taken) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Hello\r\nBcc: eve@example.com"},
        {"subject": "Hello\nBcc: eve@example.com"},
        {"subject": "Hello\x00"},
        {"subject": "Hello\u2028there"},
        {"to": ["ada@example.com\r\nRCPT TO:<eve@example.com>"]},
        {"to": ["ada@example.com, eve@example.com"]},
        {"to": ["ada"]},
        {"to": ["<ada@example.com> SIZE=1"]},
        {"to": ["ada@exa mple.com"]},
        {"to": []},
        {"from": "Eve\n <eve@example.com>"},
        {"headers": {"X-A": "b\r\nBcc: eve@example.com"}},
        {"headers": {"X-A\r\nBcc": "eve@example.com"}},
        {"headers": {"bcc": "eve@example.com"}},
        {"headers": {"Content-Type": "text/html"}},
        {"headers": {"X-A": "1", "x-a": "2"}},
        {"attachments": [{"name": "a\r\nX: y", "content": "x"}]},
        {"attachments": [{"name": "../a", "content": "x"}]},
        {"attachments": [{"name": "a", "content": "x", "media_type": "message/rfc822"}]},
        {"attachments": [{"content": "x"}]},
        {"attachments": [{}]},
        {"text": None},
        {"username": "a"},
        {"username": "a", "password": "b", "security": "none"},
        {"ca": "/etc/passwd"},
        {"host": "mail.example.com\r\nQUIT"},
        {"to": [f"a{number}@example.com" for number in range(101)]},
    ],
)
def test_what_would_break_out_of_its_field_is_refused(change: dict[str, Any]) -> None:
    """No line of a message's head comes from a value, and no half-filled form is sent."""
    given = {**LETTER, "host": "mail.example.com"}
    EmailInput.model_validate(given)
    with pytest.raises(ValidationError):
        EmailInput.model_validate(given | change)


async def test_an_address_that_needs_smtputf8(context: ActionContext) -> None:
    """Goes where the server knows it, and fails with its own code where not."""
    async with mail_server(enable_SMTPUTF8=True) as knows, mail_server() as knows_not:
        await send(knows, context, **PLAIN, to="jürgen@example.com")
        error = await failure(knows_not, context, **PLAIN, to="jürgen@example.com")
    assert knows.taken[0].recipients == ["jürgen@example.com"]
    assert (error.code, error.retryable) == ("address_not_supported", False)


async def test_some_recipients_refused(context: ActionContext) -> None:
    """The others get it; the output says who did not, and why."""
    async with mail_server() as server:
        server.refuses["bob@example.com"] = "550 5.1.1 No such user"
        output = await send(server, context, **PLAIN)
    assert (output.accepted, server.taken[0].recipients) == (["ada@example.com"], ["ada@example.com"])
    assert [one.model_dump() for one in output.refused] == [
        {"address": "bob@example.com", "code": 550, "reply": "5.1.1 No such user"}
    ]


@pytest.mark.parametrize(("answer", "retryable"), [("550 5.1.1 No such user", False), ("451 4.7.1 Greylisted", True)])
async def test_all_recipients_refused(context: ActionContext, answer: str, retryable: bool) -> None:
    """Nothing is sent; for now is worth a retry, for good is not."""
    async with mail_server() as server:
        server.refuses = dict.fromkeys(["ada@example.com", "bob@example.com"], answer)
        error = await failure(server, context, **PLAIN)
    assert (error.code, error.retryable, server.taken) == ("recipients_refused", retryable, [])
    assert answer in error.message


async def test_a_login_that_is_refused(context: ActionContext, certificate: Certificate) -> None:
    """The message has the server's words and not the password."""
    async with mail_server(certificate.server_context, login=True) as server:
        wrong = {"username": USER, "password": "wr0ng-password"}
        error = await failure(server, context, ca=certificate.file.read_text(), **wrong)
    assert (error.code, error.retryable) == ("login_refused", False)
    assert "535" in error.message
    assert "wr0ng" not in str(error)


async def test_a_server_without_starttls(context: ActionContext, certificate: Certificate) -> None:
    """Nothing is sent, unless the step says that it may go without; a password never does."""
    async with mail_server() as server:
        error = await failure(server, context)
        assert (error.code, error.retryable, server.taken) == ("starttls_not_offered", False, [])
        error = await failure(server, context, security="starttls_if_offered", **LOGIN)
        assert (error.code, server.taken) == ("starttls_not_offered", [])
        output = await send(server, context, security="starttls_if_offered")
        assert (output.tls, len(server.taken)) == (None, 1)


async def test_starttls_if_offered_still_verifies(context: ActionContext, certificate: Certificate) -> None:
    """A certificate that does not hold is refused there too."""
    async with mail_server(certificate.server_context) as server:
        assert (await failure(server, context, security="starttls_if_offered")).code == "tls_failed"
        output = await send(server, context, security="starttls_if_offered", ca=certificate.file.read_text())
    assert output.tls is not None


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_nobody_trusts(
    context: ActionContext, certificate: Certificate, security: str
) -> None:
    """Ends the step before user or message are told."""
    async with mail_server(certificate.server_context, implicit=security == "tls", login=True) as server:
        error = await failure(server, context, security=security, **LOGIN)
    assert (error.code, error.retryable, server.taken) == ("tls_failed", False, [])
    assert "self-signed certificate" in error.message


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_of_another_name(context: ActionContext, certificate: Certificate, security: str) -> None:
    """Trusted, but not that of the host."""
    async with mail_server(certificate.server_context, implicit=security == "tls", host="127.0.0.2") as server:
        error = await failure(server, context, host="127.0.0.2", security=security, ca=certificate.file.read_text())
    assert (error.code, error.retryable, server.taken) == ("tls_failed", False, [])
    assert "not valid for '127.0.0.2'" in error.message


async def test_tls_where_the_server_speaks_none(context: ActionContext) -> None:
    """The mistake of port and security is named."""
    async with mail_server() as server:
        error = await failure(server, context, security="tls")
    assert error.code == "tls_failed"
    assert "587 starttls" in error.message


async def test_a_ca_that_is_none(context: ActionContext) -> None:
    """What only looks like a certificate is refused, and not shown."""
    async with mail_server() as server:
        error = await failure(server, context, ca="-----BEGIN CERTIFICATE-----\nS3CRET\n-----END CERTIFICATE-----\n")
    assert (error.code, "S3CRET" in error.message) == ("invalid_input", False)


async def test_a_server_that_is_not_there(context: ActionContext) -> None:
    """Worth a retry."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure(MailServer(port=unused.getsockname()[1]), context, **PLAIN)
    assert (error.code, error.retryable) == ("connect_failed", True)
    assert "Connection refused" in error.message


async def test_the_egress_guard_stands_under_it() -> None:
    """Without leave nothing on this machine is connected to."""
    async with mail_server() as server:
        error = await failure(server, make_context(egress=ActionContext("e", "p", "a", "s").egress), **PLAIN)
    assert (error.code, server.connections) == ("egress_refused", 0)


async def test_a_message_that_is_larger_than_the_server_takes(context: ActionContext) -> None:
    """Said before the message is sent, by the limit that the server names."""
    async with mail_server(data_size_limit=2000) as server:
        error = await failure(server, context, **PLAIN, text="x" * 3000)
    assert (error.code, error.retryable, server.taken) == ("message_too_large", False, [])
    assert "takes 2000" in error.message


@pytest.mark.parametrize(
    ("replies", "code", "retryable"),
    [
        ({"GREETING": b"554 No\r\n"}, "mail_refused", False),
        ({"GREETING": b"421 Too busy\r\n"}, "mail_deferred", True),
        ({"GREETING": None}, "connection_lost", True),
        ({"GREETING": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "bad_answer", False),
        ({"GREETING": b"220-" + b"x" * 10_000_000}, "bad_answer", False),
        ({"EHLO": None}, "connection_lost", True),
        ({"MAIL": b"553 5.7.1 Not you\r\n"}, "sender_refused", False),
        ({"MAIL": b"451 4.3.0 Later\r\n"}, "sender_refused", True),
        ({"MAIL": b"552 5.3.4 Too big\r\n"}, "message_too_large", False),
        ({"RCPT": None}, "connection_lost", True),
        ({"DATA": b"451 Later\r\n"}, "mail_deferred", True),
        ({"DATA": b"554 No\r\n"}, "mail_refused", False),
        ({"DATA": None}, "connection_lost", True),
        ({"END": b"550 5.7.1 Looks like spam\r\n"}, "mail_refused", False),
        ({"END": b"452 4.2.2 Full\r\n"}, "mail_deferred", True),
        ({"END": b"552 Too big\r\n"}, "message_too_large", False),
        ({"END": None}, "outcome_unknown", False),
        ({"END": b"What?\r\n"}, "outcome_unknown", False),
    ],
)
async def test_each_refusal_has_its_code(
    context: ActionContext, replies: dict[str, bytes | None], code: str, retryable: bool
) -> None:
    """For now is worth a retry; for good, or when nobody knows, is not."""
    async with scripted_server(**replies) as server:
        error = await failure(server, context, **PLAIN)
        await asyncio.wait_for(server.ended.wait(), 5)
    assert (error.code, error.retryable) == (code, retryable)
    assert len(error.message) < 800


@pytest.mark.parametrize("word", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA"])
async def test_a_server_that_hangs(context: ActionContext, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Is given up, and may be tried again: it has no message."""
    monkeypatch.setattr(mail_session, "REPLY_TIMEOUT", 0.2)
    async with scripted_server(**{word: HANG}) as server:
        error = await failure(server, context, **PLAIN)
    assert (error.code, error.retryable) == ("timed_out", True)


async def test_a_server_that_stops_reading(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a large message: the dot was never sent, so it may be tried again."""
    monkeypatch.setattr(mail_session, "REPLY_TIMEOUT", 0.5)
    stop = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        for reply in (b"250 mail.test\r\n", b"250 Ok\r\n", b"250 Ok\r\n", b"250 Ok\r\n", b"354 Go on\r\n"):
            await reader.readline()
            writer.write(reply)
        await stop.wait()
        writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    server = MailServer(port=listening.sockets[0].getsockname()[1])
    large = [{"name": "a", "content": "x" * 16_000_000}]
    error = await failure(server, context, **PLAIN, attachments=large)
    stop.set()
    listening.close()
    assert (error.code, error.retryable) == ("timed_out", True)


async def test_no_answer_to_the_whole_message(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been taken: never repeated by itself, and the message says what to look for."""
    monkeypatch.setattr(mail_session, "FINAL_TIMEOUT", 0.2)
    async with scripted_server(END=HANG) as server:
        error = await failure(server, context, **PLAIN)
    assert (error.code, error.retryable) == ("outcome_unknown", False)
    assert "Message-ID" in error.message


async def test_a_steps_timeout_in_that_moment_is_not_a_retry(stage: Stage) -> None:
    """The step's own time ends while the server says nothing to a whole message."""
    async with scripted_server(END=HANG) as server:
        with pytest.raises(Exception, match="may have been taken") as raised:
            await stage.perform("email.send", inputs(server, **PLAIN).model_dump(by_alias=True), timeout=1.0)
    assert (raised.value.type, raised.value.details[0]["retryable"]) == ("outcome_unknown", False)  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["GREETING", "EHLO", "RCPT", "END"])
async def test_a_cancel_in_the_middle(stage: Stage, word: str) -> None:
    """Ends at once and leaves no connection behind."""
    async with scripted_server(**{word: HANG}) as server:
        call = asyncio.ensure_future(stage.perform("email.send", inputs(server, **PLAIN).model_dump(by_alias=True)))
        await asyncio.wait_for(server.asked.wait(), 10)
        stage.environment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 2)
        await asyncio.wait_for(server.ended.wait(), 2)


async def test_a_cancel_within_the_message_sends_no_half_of_it(context: ActionContext) -> None:
    """The dot that ends a message never follows, so the server takes nothing."""
    async with scripted_server(EHLO=b"250 mail.test\r\n") as server:
        large = [{"name": "a", "content": "x" * 16_000_000}]
        call = asyncio.ensure_future(send(server, context, **PLAIN, attachments=large))
        while not server.data and not call.done():
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.ended.wait(), 5)
    assert not server.data.endswith(b"\r\n.\r\n")


async def test_no_secret_is_in_what_comes_back() -> None:
    """A server that quotes the password back is masked, also in base64."""
    async with scripted_server(
        EHLO=b"250-mail.test\r\n250 SIZE 100000\r\n", END=f"554 {PASSWORD} czNjcmV0LW9mLW1haWw=\r\n".encode()
    ) as server:
        stage = make_stage(environment={"STANCHION_SECRET_MAIL": PASSWORD})
        parameters = inputs(server, **PLAIN, text="x").model_dump(by_alias=True)
        slot = {"pointer": "/text", "parts": [{"secret": "mail"}]}
        with pytest.raises(Exception, match="refuses the message") as raised:
            await stage.perform("email.send", parameters, secrets=[slot])
    assert PASSWORD not in str(raised.value)
    assert "czNjcmV0" not in str(raised.value)


async def test_a_rehearsal_says_to_whom_and_what() -> None:
    """Connects to nothing; the size is that of the message that would go."""
    report = Artifact("report.html", "text/html", b"x" * 3000, "")
    context = make_context(stores=Stores(artifacts=Shelf(report=report)), dry_run=True)
    files = [{"artifact": "report.html"}, {"name": "a.txt", "content": "abc"}]
    async with mail_server() as server:
        given = inputs(server, **PLAIN, bcc="eve@example.com", attachments=files)
        blind = await EmailSend().rehearse(given, context)
        looking = await EmailSend().rehearse(given, make_context(stores=context.stores, dry_run_reads=True))
        live = await EmailSend().run(given, context)
        assert server.connections == 1
    assert "Would mail 'Finding on web-01' with report.html, a.txt" in blind.would
    assert "to ada@example.com, bob@example.com, eve@example.com by the mail server 127.0.0.1" in blind.would
    assert blind.effects[0]["attachments"] == [{"name": "report.html", "bytes": None}, {"name": "a.txt", "bytes": 3}]
    assert looking.effects[0]["attachments"][0] == {"name": "report.html", "bytes": 3000}  # type: ignore[index]
    assert isinstance(looking.output, EmailOutput)
    assert looking.output.message_id == live.message_id
    assert abs(looking.output.size - live.size) < 100  # a boundary of MIME is random
