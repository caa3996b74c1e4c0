"""``python -m cli.prepare``: brings the database and Temporal's namespace to what this version needs, then ends."""

from __future__ import annotations

import asyncio
import sys

from settings import Settings, settings

PATIENCE_SECONDS = 60.0


def migrate_database(settings: Settings) -> None:
    """Migrates the database; two that do it at once wait for each other."""
    from storage.migrate import migrate

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    migrate(settings.database)


async def prepare_temporal(settings: Settings) -> None:
    """Sets retention and search attributes; waits for a server that is just starting."""
    from engine.client import connect_patiently
    from engine.namespace import prepare_namespace

    client = await connect_patiently(settings, timeout=PATIENCE_SECONDS, interval=0.05)
    await prepare_namespace(client, settings.temporal_retention_days)


def main(arguments: list[str]) -> None:
    """Prepares what ``arguments`` name, ``database`` and ``temporal``; both when there are none."""
    wanted = arguments or ["database", "temporal"]
    if "database" in wanted:
        migrate_database(settings())
    if "temporal" in wanted:
        from engine.errors import TemporalUnreachable
        from engine.processes import leave

        try:
            asyncio.run(prepare_temporal(settings()))
        except TemporalUnreachable as error:
            print(error, file=sys.stderr)
            leave(1)


if __name__ == "__main__":
    from engine.processes import leave

    main(sys.argv[1:])
    leave(0)
