"""The routes of the API: each function makes the call of one operation, and does nothing else.

``OPERATIONS`` has them by the id that the OpenAPI document gives to the operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

OPERATIONS: dict[str, Callable[..., Any]] = {}


def operation(name: str) -> Callable[[Function], Function]:
    """Notes which operation of the OpenAPI document the function calls."""

    def note(function: Function) -> Function:
        OPERATIONS[name] = function
        return function

    return note
