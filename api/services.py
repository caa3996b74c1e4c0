"""What the routes work with, made once when the application starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request
from temporalio.client import Client

from activities.catalogue import LeftOut
from api.audit import Journal
from api.executions import Executions
from api.limits import Limiter
from api.phantom.auth import Gate
from api.tokens import TokenCache
from executions.receiving import Receiver
from executions.timetables import Timetables
from playbooks.actions import Catalogue
from settings import Settings
from storage.database import Database


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that one process of the API holds; ``temporal`` connects at its first call."""

    settings: Settings
    database: Database
    temporal: Client
    catalogue: Catalogue
    left_out: tuple[LeftOut, ...]
    tokens: TokenCache
    limiter: Limiter | None
    journal: Journal
    executions: Executions
    receiver: Receiver
    timetables: Timetables
    phantom: Gate


def services_of(request: Request) -> Services:
    """The services of the application that ``request`` came to."""
    return cast(Services, request.app.state.services)


async def get_services(request: Request) -> Services:
    """``services_of`` as a dependency; a coroutine, so that it costs no thread."""
    return services_of(request)


ServicesDep = Annotated[Services, Depends(get_services)]
