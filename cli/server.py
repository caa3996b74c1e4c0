"""Commands that run something: the whole installation, or one part of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DATA, AsJson, DataDir
from cli.output import complain, emit, say

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cli.installation import Installation, Options

Host = Annotated[str, typer.Option("--host", envvar="STANCHION_HOST", help="Address that the API listens on.")]
Port = Annotated[int, typer.Option("--port", envvar="STANCHION_PORT", help="Port of the API; 0 chooses one.")]
TemporalPort = Annotated[int, typer.Option("--temporal-port", help="Port of Temporal; 0 chooses one.")]
UiPort = Annotated[
    int | None, typer.Option("--ui-port", help="Port of Temporal's Web UI; by default Temporal's port and 1000.")
]
Headless = Annotated[bool, typer.Option("--headless", help="Without Temporal's Web UI.")]


def up(
    data_dir: DataDir = DATA,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    temporal_port: TemporalPort = 7233,
    ui_port: UiPort = None,
    headless: Headless = False,
    samples: Annotated[bool, typer.Option("--samples", help="Load shipped playbooks, sample assets and CVEs.")] = False,
    log_dir: Annotated[Path | None, typer.Option(help="Folder for the parts' logs; else they go to stderr.")] = None,
    tls_self_signed: Annotated[
        bool, typer.Option("--tls-self-signed", help="Serve HTTPS with a certificate that is made for it.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Serve HTTPS with this certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of the certificate (PEM).")] = None,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine: Temporal, worker and API, until SIGTERM or Ctrl-C."""
    import asyncio

    from cli.installation import Options

    async def serve(installation: Installation) -> int:
        if samples:
            await installation.load_samples()
        _announce(installation, as_json)
        await asyncio.Event().wait()
        return 0

    ui = None if headless else _ui_port(ui_port, temporal_port)
    options = Options(
        data_dir,
        host,
        port,
        temporal_port,
        ui,
        log_dir,
        copies=True,
        tls_self_signed=tls_self_signed,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    _supervise(options, serve)


def _ui_port(given: int | None, temporal_port: int) -> int:
    if given is not None:
        return given
    return temporal_port + 1000 if temporal_port else 0


def api(host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """Run one API in the foreground; Temporal and database are those of the settings."""
    from cli.serve import serve

    serve(host, port)


def worker() -> None:
    """Run one worker in the foreground; Temporal and database are those of the settings."""
    import worker as program

    program.main()


def temporal(
    data_dir: DataDir = DATA,
    temporal_port: TemporalPort = 7233,
    ui_port: UiPort = None,
    headless: Headless = False,
    as_json: AsJson = False,
) -> None:
    """Run the embedded Temporal alone, prepared for API and worker, until SIGTERM or Ctrl-C."""
    import asyncio

    from cli.installation import Options

    async def serve(installation: Installation) -> int:
        _announce(installation, as_json)
        await asyncio.Event().wait()
        return 0

    ui = None if headless else _ui_port(ui_port, temporal_port)
    _supervise(Options(data_dir, temporal_port=temporal_port, ui_port=ui), serve, only_temporal=True)


def migrate(
    database_only: Annotated[bool, typer.Option("--database-only", help="Leave Temporal's namespace alone.")] = False,
) -> None:
    """Bring the database, and Temporal's namespace, of the settings to what this version needs."""
    from cli.prepare import main

    main(["database"] if database_only else [])


def demo(
    every: Annotated[
        bool, typer.Option("--all", help="All three playbooks: Automated patching and Compliance check too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rehearse and run Incident triage against everything embedded, show what happened, and end."""
    from cli.demo import play

    raise typer.Exit(play(as_json, every))


def _announce(installation: Installation, as_json: bool) -> None:
    assert installation.supervisor is not None
    if as_json:
        emit(installation.supervisor.state())
        sys.stdout.flush()
    else:
        say(installation.sentence())


def _supervise(
    options: Options, when_ready: Callable[[Installation], Awaitable[int]], *, only_temporal: bool = False
) -> None:
    import asyncio

    from cli.installation import Installation, run
    from cli.supervisor import StartError
    from engine.embedded import EmbeddedError

    try:
        code = asyncio.run(run(Installation(options, only_temporal=only_temporal), when_ready))
    except (StartError, EmbeddedError) as fault:
        complain(str(fault))
        code = 1
    raise typer.Exit(code)


COMMANDS: tuple[Callable[..., None], ...] = (up, api, worker, temporal, migrate, demo)
