"""Whether what API and worker depend on is there, asked within a second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from engine.refusals import explained
from storage.database import Database
from storage.errors import DatabaseUnavailable

PROBE_SECONDS = 1.0
"""Time that a dependency has to answer."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of it; ``detail`` is a few words for an operator."""

    answers: bool
    detail: str = "answers"


async def probe_database(database: Database) -> Probe:
    """Whether the database answers."""
    try:
        await asyncio.wait_for(database.ping(), PROBE_SECONDS)
    except DatabaseUnavailable as error:
        return Probe(False, error.detail)
    except TimeoutError as error:
        return Probe(False, reason(error))
    return Probe(True)


async def probe_temporal(client: Client) -> Probe:
    """Whether Temporal's frontend answers and says that it serves."""
    try:
        healthy = await asyncio.wait_for(
            client.service_client.check_health(timeout=timedelta(seconds=PROBE_SECONDS)), PROBE_SECONDS
        )
    except (RPCError, RuntimeError, TimeoutError) as error:
        return Probe(False, reason(error))
    return Probe(True) if healthy else Probe(False, "says that it is not serving")


def reason(error: Exception) -> str:
    """Why a dependency did not answer, in one line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return explained(str(error) or type(error).__name__)
