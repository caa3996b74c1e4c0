"""The pages, to be added to the application."""

from __future__ import annotations

from fastapi import FastAPI

from api.console import faults, static_files
from api.console.routes import (
    acting,
    assets,
    audit,
    editing,
    executions,
    overview,
    playbooks,
    running,
    session,
    tokens,
    watching,
)


def add_console(app: FastAPI) -> None:
    """Add the pages to ``app``, behind the routes that it has already."""
    subjects = (overview, playbooks, editing, running, executions, acting, watching, assets, audit, tokens, session)
    for module in (*subjects, static_files):
        app.router.routes.extend(module.router.routes)
    faults.install(app)
