"""The mail server of the demo."""

from __future__ import annotations

from activities.tell.mail import EmailSend
from activities.tell.mail_input import EmailInput
from cli.mail_sink import LOOPBACK, MAIL, MailSink
from tests.unit.activities.action_support import make_context


async def test_a_mail_is_kept_with_its_attachments() -> None:
    """Taken from the real action, told as recipients, subject and names of files, and forgotten when asked."""
    files = [{"name": "a.txt", "content": "x"}]
    addresses = {"from": "a@example.com", "to": ["b@example.com", "c@example.com"]}
    with MailSink() as sink:
        server = {"host": LOOPBACK, "port": sink.port, "security": "none"}
        mail = {**server, **addresses, "subject": "Hello", "text": "hello", "attachments": files}
        await EmailSend().run(EmailInput.model_validate(mail), make_context())
        (kept,) = sink.received()
        sink.clear()
        assert sink.received() == []
    assert (kept.method, kept.path) == (MAIL, "b@example.com, c@example.com")
    assert kept.changes
    assert kept.body == {"from": "a@example.com", "subject": "Hello", "attachments": ["a.txt"]}
