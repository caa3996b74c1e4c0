"""The page at ``/docs``: the interface, to read and to try.

Our own page of one file: FastAPI's would load its scripts from a public network, which an installation for security
work often cannot reach, and should not trust.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/docs", name="docs")
async def docs() -> Response:
    """Serve the page."""
    return Response(_page(), media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@lru_cache(maxsize=1)
def _page() -> bytes:
    return Path(__file__).with_name("docs.html").read_bytes()
