"""Secrets: looked up on the worker, immediately before the action runs, and nowhere else (FORMAT.md, *Rules*)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from activities.errors import ActionError
from playbooks.contract import SecretSlot
from playbooks.record import Json

PREFIX = "STANCHION_SECRET_"

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"
"""Names of secrets that are kept in files, in the database or in Vault."""

NAME = re.compile(NAME_PATTERN.removesuffix("$"))

MAX_BYTES = 64 * 1024
"""Of one secret."""


class SecretResolver(Protocol):
    """Finds the value of a secret by its name."""

    async def resolve(self, name: str) -> str:
        """The value.  Raises ``ActionError`` with code ``unknown_secret`` or ``secrets_unavailable``."""
        ...


class SecretSource(Protocol):
    """One place where secrets are kept."""

    async def find(self, name: str) -> str | None:
        """The value; None, or an empty one, when it is not there.

        Raises ``ActionError`` with code ``secrets_unavailable`` when nobody can know whether it is.
        """
        ...

    def place(self, name: str) -> str:
        """Where the secret would be, as part of a sentence for an operator."""
        ...


class SecretChain:
    """Asks ``sources`` one after the other; the first that has the secret decides."""

    def __init__(self, sources: Sequence[SecretSource]) -> None:
        self._sources = sources

    async def resolve(self, name: str) -> str:
        """See ``SecretResolver``.  An empty value counts as none: it is most often a mistake of the installation."""
        for source in self._sources:
            value = await source.find(name)
            if value:
                return value
        places = "; ".join(source.place(name) for source in self._sources) or "this worker has no place for secrets"
        raise ActionError("unknown_secret", f"The worker has no secret {name!r}: {places}.", retryable=False)


class EnvironmentSecrets:
    """Secrets from environment variables: ``slack.webhook-url`` is ``STANCHION_SECRET_SLACK_WEBHOOK_URL``."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    async def find(self, name: str) -> str | None:
        """See ``SecretSource``."""
        return self._environment.get(variable_name(name))

    def place(self, name: str) -> str:
        """See ``SecretSource``."""
        return f"{variable_name(name)} is not set"


class FileSecrets:
    """Secrets from a folder with one file for each, as Docker and Kubernetes mount them; read anew each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def find(self, name: str) -> str | None:
        """See ``SecretSource``.  One line break at the end is not part of the secret."""
        if not NAME.fullmatch(name):
            return None
        try:
            content = await asyncio.to_thread(self._read, name)
            return None if content is None else content.decode().removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is larger than 64 KiB, or not UTF-8"
            raise ActionError(
                "secrets_unavailable", f"The secret {name!r} cannot be read from {self._folder / name}: {reason}."
            ) from None

    def place(self, name: str) -> str:
        """See ``SecretSource``."""
        return f"{self._folder / name} is not there"

    def _read(self, name: str) -> bytes | None:
        try:
            with (self._folder / name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(content) > MAX_BYTES:
            raise ValueError(name)
        return content


def variable_name(name: str) -> str:
    """The environment variable that holds the secret ``name``."""
    return PREFIX + name.upper().replace("-", "_").replace(".", "_")


async def look_up(slots: Sequence[SecretSlot], resolver: SecretResolver) -> dict[str, str]:
    """The values of all secrets that ``slots`` name, by name.  Raises what ``resolver`` raises."""
    names = dict.fromkeys(part.secret for slot in slots for part in slot.parts if part.secret is not None)
    return {name: await resolver.resolve(name) for name in names}


def fill_in(parameters: Json, slots: Sequence[SecretSlot], values: Mapping[str, str]) -> Json:
    """``parameters`` with each slot replaced by its text; changes ``parameters`` in place where it can.

    Raises ``ActionError`` with code ``invalid_call`` when a slot points at nothing.
    """
    for slot in slots:
        text = "".join(values[part.secret] if part.secret is not None else part.text or "" for part in slot.parts)
        parameters = _replace(parameters, _tokens(slot.pointer), text, slot.pointer)
    return parameters


def _tokens(pointer: str) -> list[str]:
    # RFC 6901, section 4: ~1 before ~0.
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _replace(value: Json, tokens: list[str], text: str, pointer: str) -> Json:
    if not tokens:
        return text
    token, rest = tokens[0], tokens[1:]
    try:
        key = int(token) if isinstance(value, list) else token
        value[key] = _replace(value[key], rest, text, pointer)
    except (KeyError, IndexError, TypeError, ValueError):
        raise ActionError("invalid_call", f"No place {pointer!r} for a secret.", retryable=False) from None
    return value
