"""Secrets: looked up on the worker, immediately before the action runs, and nowhere else (FORMAT.md, *Rules*)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from activities.errors import ActionError
from playbooks.contract import SecretSlot
from playbooks.record import Json

PREFIX = "STANCHION_SECRET_"


class SecretResolver(Protocol):
    """Finds the value of a secret by its name."""

    async def resolve(self, name: str) -> str:
        """The value.  Raises ``ActionError`` with code ``unknown_secret``."""
        ...


class EnvironmentSecrets:
    """Secrets from environment variables: ``slack.webhook-url`` is ``STANCHION_SECRET_SLACK_WEBHOOK_URL``."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    async def resolve(self, name: str) -> str:
        """The value.  Raises ``ActionError`` with code ``unknown_secret`` when the variable is absent or empty."""
        variable = variable_name(name)
        value = self._environment.get(variable)
        if not value:
            raise ActionError(
                "unknown_secret", f"The worker has no secret {name!r}: {variable} is not set.", retryable=False
            )
        return value


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
