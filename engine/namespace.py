"""What a namespace of Temporal needs before the first run: how long it keeps closed runs, and our search attributes."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from playbooks import contract

KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
BOOL = IndexedValueType.INDEXED_VALUE_TYPE_BOOL

NEW_NAMESPACE_SECONDS = 30
"""A server reads its namespaces anew every 10 s; one that was just made elsewhere is not found until then."""

SEARCH_ATTRIBUTES = {
    contract.ATTRIBUTE_PLAYBOOK: KEYWORD,
    contract.ATTRIBUTE_ASSET: KEYWORD,
    contract.ATTRIBUTE_EXECUTION: KEYWORD,
    contract.ATTRIBUTE_OUTCOME: KEYWORD,
    contract.ATTRIBUTE_DRY_RUN: BOOL,
}


async def prepare_namespace(client: Client, retention_days: int) -> None:
    """Sets the retention and registers the search attributes; repeating it changes nothing.

    A namespace that is not found is looked for again: its server may have heard of it a moment ago.  Raises
    ``temporalio.service.RPCError`` when the server refuses.
    """
    deadline = time.monotonic() + NEW_NAMESPACE_SECONDS
    while True:
        try:
            await set_retention(client, retention_days)
            await register_search_attributes(client)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return


async def set_retention(client: Client, days: int) -> None:
    """Keeps closed runs for ``days`` days; a new namespace of the embedded server keeps them for one."""
    keep = Duration()
    keep.FromTimedelta(timedelta(days=days))
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=keep)
        ),
        retry=True,
        timeout=timedelta(seconds=10),
    )


async def register_search_attributes(client: Client) -> None:
    """Registers those of ``SEARCH_ATTRIBUTES`` that the namespace lacks."""
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), retry=True, timeout=timedelta(seconds=10)
    )
    missing = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name not in known.custom_attributes}
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing),
            retry=True,
            timeout=timedelta(seconds=10),
        )
