"""Pydantic's JSON for payloads, as ``temporalio.contrib.pydantic`` has it, with what it prepares kept for the process.

The SDK makes a payload converter for each workflow, and several for each activity where large payloads are stored
elsewhere. Pydantic's prepares a validator for each type that it meets: 2.5 ms for a run's input, for every run.

The SDK's sandbox, which the worker does without, imports types anew for each workflow: what was prepared for those
would stay, for 1,024 types at most.
"""

from __future__ import annotations

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter

_ENCODINGS = tuple(PydanticPayloadConverter().converters.values())


class PayloadConverter(CompositePayloadConverter):
    """Converts like ``PydanticPayloadConverter``, of which there is one in a process."""

    def __init__(self) -> None:
        super().__init__(*_ENCODINGS)


pydantic_json = DataConverter(payload_converter_class=PayloadConverter)
"""Converts, and encodes nothing."""
