"""How the functions of ``routes`` become methods: the two clients name what they have, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from stanchion_client.messages import Call, Procedure
from stanchion_client.paging import Listing, Page
from stanchion_client.retries import Session

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
Speaker = TypeVar("Speaker")


class SyncSpeaker(Protocol):
    """Does procedures at once."""

    session: Session

    def last(self, procedure: Procedure[T]) -> T:
        """What the procedure told last."""

    def each(self, procedure: Procedure[T]) -> Iterator[T]:
        """What the procedure tells."""


class AsyncSpeaker(Protocol):
    """Does procedures on an event loop."""

    session: Session

    def last(self, procedure: Procedure[T]) -> Awaitable[T]:
        """What the procedure told last."""

    def each(self, procedure: Procedure[T]) -> AsyncIterator[T]:
        """What the procedure tells."""


class Group(Generic[Speaker]):
    """Methods of one subject; ``speaker`` does what they ask for."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker


class Method(Generic[Speaker, P, R]):
    """A method that is a function with the group's speaker before its arguments."""

    def __init__(self, function: Callable[Concatenate[Speaker, P], R], like: Callable[..., Any]) -> None:
        self._function = function
        self._like = like
        self.__doc__ = like.__doc__

    def __get__(self, group: Group[Speaker], owner: type | None = None) -> Callable[P, R]:
        @functools.wraps(self._like, assigned=("__name__", "__doc__", "__module__"))
        def method(*args: P.args, **kwargs: P.kwargs) -> R:
            return self._function(group.speaker, *args, **kwargs)

        return method


def asked(build: Callable[P, Call[T]]) -> Callable[Concatenate[Session, P], Procedure[T]]:
    """The procedure that does one call."""

    @functools.wraps(build)
    def procedure(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> Procedure[T]:
        return session.call(build(*args, **kwargs))

    return procedure


def entries(build: Callable[P, Listing[T]]) -> Callable[Concatenate[Session, P], Procedure[T]]:
    """The procedure that tells every entry of a list."""

    @functools.wraps(build)
    def procedure(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> Procedure[T]:
        return build(*args, **kwargs).entries(session)

    return procedure


def one_page(build: Callable[P, Listing[T]]) -> Callable[Concatenate[Session, P], Procedure[Page[T]]]:
    """The procedure that tells one page of a list."""

    @functools.wraps(build)
    def procedure(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> Procedure[Page[T]]:
        return session.call(build(*args, **kwargs).page)

    return procedure


def last(procedure: Callable[Concatenate[Session, P], Procedure[T]]) -> Method[SyncSpeaker, P, T]:
    """A method that returns what the procedure tells last."""

    def method(speaker: SyncSpeaker, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return speaker.last(procedure(speaker.session, *args, **kwargs))

    return Method(method, procedure)


def each(procedure: Callable[Concatenate[Session, P], Procedure[T]]) -> Method[SyncSpeaker, P, Iterator[T]]:
    """A method that iterates over what the procedure tells."""

    def method(speaker: SyncSpeaker, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return speaker.each(procedure(speaker.session, *args, **kwargs))

    return Method(method, procedure)


def last_async(procedure: Callable[Concatenate[Session, P], Procedure[T]]) -> Method[AsyncSpeaker, P, Awaitable[T]]:
    """Like ``last``, to be awaited."""

    def method(speaker: AsyncSpeaker, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return speaker.last(procedure(speaker.session, *args, **kwargs))

    return Method(method, procedure)


def each_async(procedure: Callable[Concatenate[Session, P], Procedure[T]]) -> Method[AsyncSpeaker, P, AsyncIterator[T]]:
    """Like ``each``, to be iterated over with ``async for``."""

    def method(speaker: AsyncSpeaker, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return speaker.each(procedure(speaker.session, *args, **kwargs))

    return Method(method, procedure)
