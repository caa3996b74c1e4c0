"""The Phantom interface put together, to be mounted in the application."""

from __future__ import annotations

from starlette.routing import Mount

from api.phantom import (
    approvals,
    cef,
    containers,
    lists,
    notes,
    playbooks,
    runs,
    single_fields,
    steps,
    system,
    trail,
)
from api.phantom.routing import mounted


def phantom() -> Mount:
    """Everything under ``/rest``; those that take a single field come after the others."""
    subjects = (steps, runs, containers, notes, playbooks, approvals, system, trail, lists, cef, single_fields)
    return mounted([subject.rest for subject in subjects])
