"""Artifacts of a run: files that its steps make, for people to download and for later steps to send.

``artifact_store(context).put(…)`` keeps one, ``read_artifact(context, name)`` reads what an earlier step has kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from activities.errors import ActionError

if TYPE_CHECKING:
    from activities.action import ActionContext
    from activities.scrub import Scrubber

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one artifact."""

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""A name that is one file in any folder of any system, and needs no escaping in a URL or a header."""

MEDIA_TYPE_PATTERN: Final = r"^[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}$"

_NAME = re.compile(NAME_PATTERN.rstrip("$") + r"\Z")
_MEDIA_TYPE = re.compile(MEDIA_TYPE_PATTERN.rstrip("$") + r"\Z")


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact as it is kept."""

    name: str
    media_type: str
    data: bytes
    sha256: str


class ArtifactStore(Protocol):
    """Keeps artifacts; every method may raise ``ActionError`` with code ``store_unavailable``, worth a retry."""

    async def put(self, context: ActionContext, name: str, media_type: str, data: bytes) -> Artifact:
        """Keep ``data`` for the run of ``context``; a step that does it again replaces what it kept.

        Raises ``ActionError``: ``invalid_artifact`` for a name or a media type that will not do,
        ``artifact_too_large``, ``artifact_exists`` when another step of the run has kept one of this name,
        ``artifact_refused`` when the run is over or has too many.
        """
        ...

    async def read(self, context: ActionContext, name: str) -> Artifact | None:
        """The artifact of the run, or of the earlier run whose results it keeps; None when there is none."""
        ...


class GuardedArtifacts:
    """A store that checks what is put into it and keeps the secrets of one call out of it."""

    def __init__(self, store: ArtifactStore, scrubber: Scrubber) -> None:
        self._store = store
        self._scrubber = scrubber

    async def put(self, context: ActionContext, name: str, media_type: str, data: bytes) -> Artifact:
        """See ``ArtifactStore``.  Secrets are masked in text, and in other data where they stand as they are."""
        name, media_type = self._scrubber.text(name), self._scrubber.text(media_type)
        check_artifact(name, media_type, len(data))
        return await self._store.put(context, name, media_type, self._scrubbed(data))

    async def read(self, context: ActionContext, name: str) -> Artifact | None:
        """See ``ArtifactStore``."""
        return await self._store.read(context, name)

    def _scrubbed(self, data: bytes) -> bytes:
        if not self._scrubber:
            return data
        try:
            return self._scrubber.text(data.decode()).encode()
        except UnicodeDecodeError:
            return self._scrubber.text(data.decode("latin-1")).encode("latin-1", "replace")


def check_artifact(name: str, media_type: str, size: int) -> None:
    """Raise ``ActionError`` for an artifact that no store would take; ``size`` in bytes."""
    if not _NAME.match(name):
        raise ActionError(
            "invalid_artifact",
            f"{name[:100]!r} is no name for an artifact: letters, digits, '.', '_' and '-', at most 100, "
            "with a letter or a digit first.",
            retryable=False,
        )
    if not _MEDIA_TYPE.match(media_type):
        raise ActionError("invalid_artifact", f"{media_type[:100]!r} is no media type.", retryable=False)
    if size > MAX_BYTES:
        raise ActionError(
            "artifact_too_large",
            f"The artifact {name} has {size} bytes; at most {MAX_BYTES} are kept.",
            retryable=False,
        )


def artifact_store(context: ActionContext) -> ArtifactStore:
    """The store of the worker.  Raises ``ActionError`` with code ``no_store`` where it has none."""
    if context.stores.artifacts is None:
        raise ActionError("no_store", "This worker keeps no artifacts.", retryable=False)
    return context.stores.artifacts


async def read_artifact(context: ActionContext, name: str) -> Artifact:
    """What an earlier step of the run has kept under ``name``.

    Raises ``ActionError`` with code ``unknown_artifact`` when there is none, ``no_store`` and ``store_unavailable``.
    """
    found = await artifact_store(context).read(context, name)
    if found is None:
        raise ActionError("unknown_artifact", f"No step of this run has kept an artifact {name!r}.", retryable=False)
    return found
