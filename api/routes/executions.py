"""Executions: run, status, cancel, events, compare."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api/playbooks", tags=["executions"])
