"""``python -m cli.serve``: the API in this process, without the weight of the command line."""

from __future__ import annotations

import contextlib
import sys
from types import FrameType

import uvicorn

from api.app import create_app
from api.connections import GuardedProtocol
from engine.processes import leave_within
from settings import settings

GRACE_SECONDS = 3
"""Time that a stopping API gives its open requests; streams of events never end by themselves."""

KEEP_ALIVE_SECONDS = 75
"""Time for which an idle connection is kept: longer than proxies keep theirs (60 s and less), so that it is they who
close it.  A server that closes first now and then closes one on which a request is on its way."""


LAST_CALLS = 5.0
"""Seconds, beside those for open requests, in which a stopping API's last calls may be answered."""

NOT_STARTED = 3
"""Exit code of an API that could not be started, as Uvicorn's own."""


class Server(uvicorn.Server):
    """A server that leaves when it is told to, also where Temporal or the database answers no more."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to stop by a signal."""
        if not self.should_exit:
            leave_within(GRACE_SECONDS + LAST_CALLS)
        super().handle_exit(sig, frame)


def serve(host: str | None = None, port: int | None = None) -> None:
    """Serves the API until SIGTERM or SIGINT; ``host`` and ``port`` go before the settings."""
    config = uvicorn.Config(
        create_app,
        factory=True,
        host=host or settings().host,
        port=port or settings().port,
        loop="uvloop",
        http=GuardedProtocol,
        ws="none",
        ssl_certfile=settings().tls_cert,
        ssl_keyfile=settings().tls_key,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    serve()
