"""The asynchronous client.

What each method asks for stands in ``routes``, how it is repeated and waited for in ``retries`` and ``following``; here
it is done, and named.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from stanchion_client import following
from stanchion_client.errors import ConnectionFailed
from stanchion_client.faces import AsyncSpeaker, Group, asked, each_async, entries, last_async, one_page
from stanchion_client.messages import Answer, Close, Hear, Listen, Pause, Procedure, Send, Tell, Wish
from stanchion_client.models import DependencyState
from stanchion_client.retries import Retries, Session
from stanchion_client.routes import administration, executions, inventory, playbooks
from stanchion_client.wire import FAULTS, answer_head, answer_of, built, connection_failed, options

T = TypeVar("T")


class Playbooks(Group[AsyncSpeaker]):
    """Playbooks, their revisions and schedules."""

    create = last_async(asked(playbooks.create))
    validate = last_async(asked(playbooks.validate))
    replace = last_async(asked(playbooks.replace))
    read = last_async(asked(playbooks.read))
    list = each_async(entries(playbooks.list_all))
    page = last_async(one_page(playbooks.list_all))
    delete = last_async(asked(playbooks.delete))
    revisions = each_async(entries(playbooks.revisions))
    revision = last_async(asked(playbooks.revision))
    schedule = last_async(asked(playbooks.schedule))
    schema = last_async(asked(playbooks.schema))
    executions = each_async(entries(executions.list_of_playbook))


class Executions(Group[AsyncSpeaker]):
    """Runs of playbooks, from their start to their end."""

    run = last_async(asked(executions.run))
    rerun = last_async(asked(executions.rerun))
    read = last_async(asked(executions.read))
    list = each_async(entries(executions.list_all))
    page = last_async(one_page(executions.list_all))
    cancel = last_async(asked(executions.cancel))
    approve = last_async(asked(executions.approve))
    reject = last_async(asked(executions.reject))
    compare = last_async(asked(executions.compare))
    artifacts = each_async(entries(executions.artifacts))
    artifacts_page = last_async(one_page(executions.artifacts))
    artifact = last_async(asked(executions.artifact))
    wait = last_async(following.wait)
    watch = each_async(following.watch)


class Assets(Group[AsyncSpeaker]):
    """What playbooks run on."""

    create = last_async(asked(inventory.create_asset))
    read = last_async(asked(inventory.read_asset))
    list = each_async(entries(inventory.list_assets))
    page = last_async(one_page(inventory.list_assets))
    replace = last_async(asked(inventory.replace_asset))
    delete = last_async(asked(inventory.delete_asset))


class Actions(Group[AsyncSpeaker]):
    """What the steps of playbooks can do."""

    read = last_async(asked(playbooks.read_action))
    list = each_async(entries(playbooks.list_actions))
    page = last_async(one_page(playbooks.list_actions))
    left_out = last_async(asked(playbooks.actions_left_out))


class Hooks(Group[AsyncSpeaker]):
    """Addresses at which other systems start a playbook."""

    create = last_async(asked(playbooks.create_hook))
    list = each_async(entries(playbooks.list_hooks))
    page = last_async(one_page(playbooks.list_hooks))
    delete = last_async(asked(playbooks.delete_hook))


class HostKeys(Group[AsyncSpeaker]):
    """The SSH host keys that count."""

    trust = last_async(asked(inventory.trust_host_key))
    list = each_async(entries(inventory.list_host_keys))
    page = last_async(one_page(inventory.list_host_keys))
    forget = last_async(asked(inventory.forget_host_key))


class Secrets(Group[AsyncSpeaker]):
    """Secrets of playbooks, kept by the API."""

    set = last_async(asked(inventory.set_secret))
    list = each_async(entries(inventory.list_secrets))
    page = last_async(one_page(inventory.list_secrets))
    delete = last_async(asked(inventory.delete_secret))


class Tokens(Group[AsyncSpeaker]):
    """Who may use the API, and for what."""

    create = last_async(asked(administration.create_token))
    list = each_async(entries(administration.list_tokens))
    page = last_async(one_page(administration.list_tokens))
    revoke = last_async(asked(administration.revoke_token))


class Users(Group[AsyncSpeaker]):
    """Users of the Phantom interface."""

    create = last_async(asked(administration.create_user))
    list = each_async(entries(administration.list_users))
    page = last_async(one_page(administration.list_users))
    delete = last_async(asked(administration.delete_user))


class Audit(Group[AsyncSpeaker]):
    """Who did what."""

    list = each_async(entries(administration.list_audit))
    page = last_async(one_page(administration.list_audit))


class AsyncStanchion:
    """The API at ``url``, for programs on an event loop.

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
        http = httpx2.AsyncClient(**options(url, token, timeout, verify, user_agent))
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

    async def dependencies(self) -> list[DependencyState]:
        """What the API depends on, and whether it is there."""
        return await self._speaker.last(self._speaker.session.call(administration.dependencies()))

    async def close(self) -> None:
        """Closes the connections."""
        await self._speaker.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Speaker:
    """Does what procedures ask for, on a connection pool of ``httpx2``."""

    def __init__(self, http: httpx2.AsyncClient, session: Session) -> None:
        self.http = http
        self.session = session

    async def last(self, procedure: Procedure[T]) -> T:
        """What the procedure told last."""
        return [value async for value in self.each(procedure)][-1]

    async def each(self, procedure: Procedure[T]) -> AsyncIterator[T]:
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
                    reply = await self._do(wish, lines)
                except FAULTS as error:
                    fault = connection_failed(str(self.http.base_url), error)
        finally:
            procedure.close()
            await lines.close()

    async def _do(self, wish: Wish, lines: _Lines) -> Answer | str | None:
        match wish:
            case Send(request):
                return answer_of(await self.http.send(built(self.http, request)))
            case Listen(request, silence):
                await lines.open(await self.http.send(built(self.http, request, silence), stream=True))
                return await lines.answer()
            case Hear():
                return await lines.next()
            case Close():
                await lines.close()
            case Pause(seconds):
                await asyncio.sleep(seconds)
        return None


class _Lines:
    """The stream that is open, if one is."""

    def __init__(self) -> None:
        self._response: httpx2.Response | None = None
        self._lines: AsyncIterator[str] | None = None

    async def open(self, response: httpx2.Response) -> None:
        await self.close()
        self._response, self._lines = response, response.aiter_lines()

    async def answer(self) -> Answer:
        assert self._response is not None
        if not answer_head(self._response).is_stream:
            await self._response.aread()
            answer = answer_of(self._response)
            await self.close()
            return answer
        return answer_head(self._response)

    async def next(self) -> str | None:
        return None if self._lines is None else await anext(self._lines, None)

    async def close(self) -> None:
        if self._response is not None:
            await self._response.aclose()
        self._response = None
