"""The synchronous client.

What each method asks for stands in ``routes``, how it is repeated and waited for in ``retries`` and ``following``; here
it is done, and named.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from stanchion_client import following
from stanchion_client.errors import ConnectionFailed
from stanchion_client.faces import Group, SyncSpeaker, asked, each, entries, last, one_page
from stanchion_client.messages import Answer, Close, Hear, Listen, Pause, Procedure, Send, Tell, Wish
from stanchion_client.models import DependencyState
from stanchion_client.retries import Retries, Session
from stanchion_client.routes import administration, executions, inventory, playbooks
from stanchion_client.wire import FAULTS, answer_head, answer_of, built, connection_failed, options

T = TypeVar("T")


class Playbooks(Group[SyncSpeaker]):
    """Playbooks, their revisions and schedules."""

    create = last(asked(playbooks.create))
    validate = last(asked(playbooks.validate))
    replace = last(asked(playbooks.replace))
    read = last(asked(playbooks.read))
    list = each(entries(playbooks.list_all))
    page = last(one_page(playbooks.list_all))
    delete = last(asked(playbooks.delete))
    revisions = each(entries(playbooks.revisions))
    revision = last(asked(playbooks.revision))
    schedule = last(asked(playbooks.schedule))
    schema = last(asked(playbooks.schema))
    executions = each(entries(executions.list_of_playbook))


class Executions(Group[SyncSpeaker]):
    """Runs of playbooks, from their start to their end."""

    run = last(asked(executions.run))
    rerun = last(asked(executions.rerun))
    read = last(asked(executions.read))
    list = each(entries(executions.list_all))
    page = last(one_page(executions.list_all))
    cancel = last(asked(executions.cancel))
    approve = last(asked(executions.approve))
    reject = last(asked(executions.reject))
    compare = last(asked(executions.compare))
    artifacts = each(entries(executions.artifacts))
    artifacts_page = last(one_page(executions.artifacts))
    artifact = last(asked(executions.artifact))
    wait = last(following.wait)
    watch = each(following.watch)


class Assets(Group[SyncSpeaker]):
    """What playbooks run on."""

    create = last(asked(inventory.create_asset))
    read = last(asked(inventory.read_asset))
    list = each(entries(inventory.list_assets))
    page = last(one_page(inventory.list_assets))
    replace = last(asked(inventory.replace_asset))
    delete = last(asked(inventory.delete_asset))


class Actions(Group[SyncSpeaker]):
    """What the steps of playbooks can do."""

    read = last(asked(playbooks.read_action))
    list = each(entries(playbooks.list_actions))
    page = last(one_page(playbooks.list_actions))
    left_out = last(asked(playbooks.actions_left_out))


class Hooks(Group[SyncSpeaker]):
    """Addresses at which other systems start a playbook."""

    create = last(asked(playbooks.create_hook))
    list = each(entries(playbooks.list_hooks))
    page = last(one_page(playbooks.list_hooks))
    delete = last(asked(playbooks.delete_hook))


class HostKeys(Group[SyncSpeaker]):
    """The SSH host keys that count."""

    trust = last(asked(inventory.trust_host_key))
    list = each(entries(inventory.list_host_keys))
    page = last(one_page(inventory.list_host_keys))
    forget = last(asked(inventory.forget_host_key))


class Secrets(Group[SyncSpeaker]):
    """Secrets of playbooks, kept by the API."""

    set = last(asked(inventory.set_secret))
    list = each(entries(inventory.list_secrets))
    page = last(one_page(inventory.list_secrets))
    delete = last(asked(inventory.delete_secret))


class Tokens(Group[SyncSpeaker]):
    """Who may use the API, and for what."""

    create = last(asked(administration.create_token))
    list = each(entries(administration.list_tokens))
    page = last(one_page(administration.list_tokens))
    revoke = last(asked(administration.revoke_token))


class Users(Group[SyncSpeaker]):
    """Users of the Phantom interface."""

    create = last(asked(administration.create_user))
    list = each(entries(administration.list_users))
    page = last(one_page(administration.list_users))
    delete = last(asked(administration.delete_user))


class Audit(Group[SyncSpeaker]):
    """Who did what."""

    list = each(entries(administration.list_audit))
    page = last(one_page(administration.list_audit))


class Stanchion:
    """The API at ``url``, for programs that wait for each answer; to be used by several threads too.

    Args:
        url: where the API is, such as ``https://stanchion.example.com``.
        token: a token of it.
        retries: how patient to be; ``Retries(seconds=0)`` asks once.
        timeout: seconds that one answer may take.
        verify: which certificates are believed; a context where the API has one of its own making.
        user_agent: what is said of the program that asks.

    Every method raises ``StanchionError``, see ``stanchion_client.errors``.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        retries: Retries | None = None,
        timeout: float = 30.0,
        verify: ssl.SSLContext | bool = True,
        user_agent: str | None = None,
    ) -> None:
        http = httpx2.Client(**options(url, token, timeout, verify, user_agent))
        speaker = self._speaker = Speaker(http, Session(retries or Retries()))
        self.playbooks = Playbooks(speaker)
        self.executions = Executions(speaker)
        self.assets = Assets(speaker)
        self.actions = Actions(speaker)
        self.hooks = Hooks(speaker)
        self.host_keys = HostKeys(speaker)
        self.secrets = Secrets(speaker)
        self.tokens = Tokens(speaker)
        self.users = Users(speaker)
        self.audit = Audit(speaker)

    def dependencies(self) -> list[DependencyState]:
        """What the API depends on, and whether it is there."""
        return self._speaker.last(self._speaker.session.call(administration.dependencies()))

    def close(self) -> None:
        """Closes the connections."""
        self._speaker.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Speaker:
    """Does what procedures ask for, on a connection pool of ``httpx2``."""

    def __init__(self, http: httpx2.Client, session: Session) -> None:
        self.http = http
        self.session = session

    def last(self, procedure: Procedure[T]) -> T:
        """What the procedure told last."""
        return deque(self.each(procedure), maxlen=1)[0]

    def each(self, procedure: Procedure[T]) -> Iterator[T]:
        """What the procedure tells, as it tells it."""
        lines = _Lines()
        reply: Any = None
        fault: ConnectionFailed | None = None
        try:
            while True:
                try:
                    wish = procedure.send(reply) if fault is None else procedure.throw(fault)
                except StopIteration:
                    return
                reply = fault = None
                if isinstance(wish, Tell):
                    yield wish.value
                    continue
                try:
                    reply = self._do(wish, lines)
                except FAULTS as error:
                    fault = connection_failed(str(self.http.base_url), error)
        finally:
            procedure.close()
            lines.close()

    def _do(self, wish: Wish, lines: _Lines) -> Answer | str | None:
        match wish:
            case Send(request):
                return answer_of(self.http.send(built(self.http, request)))
            case Listen(request, silence):
                lines.open(self.http.send(built(self.http, request, silence), stream=True))
                return lines.answer()
            case Hear():
                return lines.next()
            case Close():
                lines.close()
            case Pause(seconds):
                time.sleep(seconds)
        return None


class _Lines:
    """The stream that is open, if one is."""

    def __init__(self) -> None:
        self._response: httpx2.Response | None = None
        self._lines: Iterator[str] = iter(())

    def open(self, response: httpx2.Response) -> None:
        self.close()
        self._response, self._lines = response, response.iter_lines()

    def answer(self) -> Answer:
        assert self._response is not None
        if not answer_head(self._response).is_stream:
            self._response.read()
            answer = answer_of(self._response)
            self.close()
            return answer
        return answer_head(self._response)

    def next(self) -> str | None:
        return next(self._lines, None)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response = None
