"""Style sheets, scripts and the font of the console: small, few, and kept by browsers for as long as they like.

Their addresses hold a hash of all of them, so a new version has new addresses.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from executions.errors import NotFound

FOLDER: Final = Path(__file__).with_name("static")
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
}
COMPRESSED: Final = frozenset({".css", ".js", ".svg"})

router = APIRouter(include_in_schema=False)


@lru_cache(maxsize=1)
def _files() -> dict[str, bytes]:
    found = {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*")) if path.suffix in TYPES}
    return {name: path.read_bytes() for name, path in found.items()}


@lru_cache(maxsize=1)
def _version() -> str:
    digest = hashlib.sha256()
    for name, content in _files().items():
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


@lru_cache(maxsize=64)
def _compressed(name: str) -> bytes:
    return gzip.compress(_files()[name], mtime=0)


def address(name: str) -> str:
    """The path under which the file ``name`` is served."""
    return f"/static/{_version()}/{name}"


@router.get("/static/{version}/{name:path}", name="console.static")
async def static_file(request: Request, version: str, name: str) -> Response:
    """Serve a file; one that is asked for under an old version too, but not to be kept."""
    content = _files().get(name)
    if content is None:
        raise NotFound(f"There is no route {request.url.path}.")
    suffix = Path(name).suffix
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if version == _version():
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    if suffix in COMPRESSED and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = _compressed(name), "gzip"
    return Response(content, headers=headers, media_type=TYPES[suffix])
