"""The shipped playbooks, a few assets to try them on, and a sample of intelligence; loading them twice changes nothing.

Playbooks and assets go over HTTP; intelligence has no route, since a source has 250,000 entries.  ``python -m
cli.samples DESCRIPTOR`` loads all of it, a program of its own so that ``stanchion up`` stays small and without threads.
"""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from cli.connecting import connect
from cli.playbooks import store
from stanchion_client import Conflict

GUIDE_ASSET = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
"""The asset of the guide's own examples."""

ASSETS: list[dict[str, Any]] = [
    {
        "asset_id": GUIDE_ASSET,
        "name": "web-01",
        "kind": "host",
        "hostname": "web-01.example.com",
        "ip": "192.0.2.10",
        "tags": {"env": "prod", "owner": "web"},
        "attributes": {"os": "debian-13", "package": "openssl"},
    },
    {
        "asset_id": "b7a1f5b2-3c58-4f0e-9a55-0d6b1f2c9e01",
        "name": "shop",
        "kind": "website",
        "hostname": "shop.example.com",
        "url": "https://shop.example.com",
        "tags": {"env": "staging", "owner": "shop"},
    },
]


def library() -> list[Path]:
    """The shipped definitions, in the order of their names."""
    return sorted(Path(str(resources.files("playbooks.library"))).glob("*.yaml"))


def load(url: str, token: str, certificate: Path | None = None) -> None:
    """Stores what is missing; raises ``ApiError``."""
    with connect(url, token, certificate) as api:
        for file in library():
            store(api, file, replace=False)
        for asset in ASSETS:
            with contextlib.suppress(Conflict):
                api.assets.create(**asset)


def load_intelligence(database_url: str) -> None:
    """Stores the sample of each source that was never synced; raises ``StorageError``."""
    from engine.intel_sync import load_sample
    from storage.database import Database

    database = Database(database_url)
    try:
        load_sample(database)
    finally:
        database.close()


def main() -> None:
    """Loads everything into the installation of the settings, at ``STANCHION_URL``; the token is in a descriptor."""
    from settings import settings

    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as file:
        load(os.environ["STANCHION_URL"], file.read())
    load_intelligence(settings().database)


if __name__ == "__main__":
    main()
