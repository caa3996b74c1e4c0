"""The connection to Temporal, the same for API, worker and tools."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import cast

from temporalio.client import Client, GrpcCompression, PayloadLimitsConfig, RetryConfig
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import Runtime

from engine.blobs import external_storage
from engine.codec import EncryptionCodec, parse_keys
from engine.converter import pydantic_json
from engine.errors import TemporalUnreachable
from engine.refusals import explained, refusal
from engine.tracing import tracing
from settings import Settings
from storage.database import Database

API_RETRY = RetryConfig(max_retries=2, max_elapsed_time_millis=1500)
"""For the API: with the SDK's defaults a dead server holds a request for 5 to 6 s, whatever ``rpc_timeout`` says."""

_MEMO_WARN_BYTES = 65536
_FILE_VARIABLES = ("TEMPORAL_CONFIG_FILE", "TEMPORAL_PROFILE")


def data_converter(settings: Settings, database: Database | None = None) -> DataConverter:
    """Pydantic's JSON; encrypted, failures included, when ``encryption_key`` is set.

    With ``database``, large payloads are kept there (``engine.blobs``).
    Raises ``engine.codec.EncryptionKeyError`` when the key cannot be used.
    """
    converter = pydantic_json
    if database is not None:
        converter = replace(converter, external_storage=external_storage(database))
    if settings.encryption_key is None:
        return converter
    return replace(
        converter,
        payload_codec=EncryptionCodec(parse_keys(settings.encryption_key.get_secret_value())),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


async def connect(
    settings: Settings,
    database: Database | None = None,
    *,
    lazy: bool = False,
    runtime: Runtime | None = None,
    retry: RetryConfig | None = None,
) -> Client:
    """A client of the Temporal that the settings name, or Temporal's own variables (``TEMPORAL_ADDRESS``, …).

    A ``lazy`` client connects at its first call, and cannot be used for a worker; the API gives ``API_RETRY`` as
    ``retry``.  What starts runs or works on them gives the ``database``, for large payloads.  Raises ``RuntimeError``
    when the server cannot be reached, as the SDK does.
    """
    target = connection(settings, os.environ)
    traced = tracing()
    return await Client.connect(
        target["target_host"],
        namespace=target["namespace"],
        api_key=target.get("api_key"),
        tls=target.get("tls"),
        rpc_metadata=target.get("rpc_metadata", {}),
        data_converter=data_converter(settings, database),
        interceptors=[] if traced is None else [traced.interceptor],
        lazy=lazy,
        runtime=runtime,
        retry_config=retry,
        connect_timeout=timedelta(seconds=5),
        # 14 % of the server's CPU on a loopback or data-centre network, for nothing.
        grpc_compression=GrpcCompression.NONE,
        payload_limits=PayloadLimitsConfig(memo_warn_size=_MEMO_WARN_BYTES),
    )


async def connect_patiently(
    settings: Settings,
    database: Database | None = None,
    *,
    timeout: float = 60.0,
    runtime: Runtime | None = None,
    interval: float = 0.1,
) -> Client:
    """``connect``, tried again for ``timeout`` seconds, for a worker that is started beside its server.

    Raises ``TemporalUnreachable`` when the time is over, and at once where the server refuses for good.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        try:
            return await connect(settings, database, runtime=runtime)
        except RuntimeError as error:
            if loop.time() + interval >= deadline or refusal(str(error)) is not None:
                address = connection(settings, os.environ)["target_host"]
                raise TemporalUnreachable(
                    f"Temporal at {address} cannot be reached: {explained(str(error))}."
                ) from error
            await asyncio.sleep(interval)


def connection(settings: Settings, environment: Mapping[str, str]) -> ClientConnectConfig:
    """Where to connect: each ``TEMPORAL_…`` variable of ``environment`` wins over its setting.

    Temporal's configuration file is read only when ``TEMPORAL_CONFIG_FILE`` or ``TEMPORAL_PROFILE`` asks for it: a
    file that happens to lie in the home folder must not send runs to another server.
    """
    variables = {name: value for name, value in environment.items() if name.startswith("TEMPORAL_") and value}
    found = ClientConfig.load_client_connect_config(
        disable_file=not any(name in variables for name in _FILE_VARIABLES), override_env_vars=variables
    )
    defaults = {"target_host": settings.temporal_address, "namespace": settings.temporal_namespace}
    return cast(ClientConnectConfig, {**defaults, **found})
