"""``python -m cli.serve``: the API in this process, without the weight of the command line."""

from __future__ import annotations

GRACE_SECONDS = 3
"""Time that a stopping API gives its open requests; streams of events never end by themselves."""

KEEP_ALIVE_SECONDS = 75
"""Time for which an idle connection is kept: longer than proxies keep theirs (60 s and less), so that it is they who
close it.  A server that closes first now and then closes one on which a request is on its way."""


def serve(host: str | None = None, port: int | None = None) -> None:
    """Serves the API until SIGTERM or SIGINT; ``host`` and ``port`` go before the settings."""
    import uvicorn

    from api.connections import GuardedProtocol
    from settings import settings

    uvicorn.run(
        "api.app:create_app",
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


if __name__ == "__main__":
    serve()
