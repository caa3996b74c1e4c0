"""What answers look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from playbooks.record import Json

Item = TypeVar("Item")

Timestamp = Annotated[
    str,
    Field(
        json_schema_extra={"format": "date-time"},
        examples=["2026-04-28T11:00:00Z"],
        description="RFC 3339, UTC, trailing Z; milliseconds where the second is not whole.",
    ),
]

JSON_VALUE: Final = "JsonValue"

JsonObject = Annotated[
    dict[str, Json],
    WithJsonSchema({"type": "object", "additionalProperties": {"$ref": f"#/components/schemas/{JSON_VALUE}"}}),
]
"""An object of anything, as ``playbooks.load`` reads JSON: integers of 64 bits, no NUL in texts."""


ANY_VALUE: Final = "AnyValue"

ANY: Final[dict[str, Any]] = {"anyOf": [{"$ref": f"#/components/schemas/{ANY_VALUE}"}]}

AnyValue = Annotated[Any, WithJsonSchema(ANY)]
"""Anything, as it is answered: what steps have made of it is not bounded by what a request may hold."""


def json_value_schema() -> dict[str, Json]:
    """The schema of any JSON value that is taken."""
    itself = {"$ref": f"#/components/schemas/{JSON_VALUE}"}
    return {
        "description": "Any JSON value; integers must fit in 64 bits, texts hold no NUL, depth is 64 at most.",
        "anyOf": [
            {"type": "null"},
            {"type": "boolean"},
            {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
            {"type": "number"},
            {"type": "string", "pattern": r"^[^\x00]*$"},
            {"type": "array", "items": itself},
            {"type": "object", "additionalProperties": itself},
        ],
    }


def any_value_schema() -> dict[str, Json]:
    """The schema of any JSON value that is answered."""
    itself = {"$ref": f"#/components/schemas/{ANY_VALUE}"}
    return {
        "description": "Any JSON value.",
        "anyOf": [
            {"type": "null"},
            {"type": "boolean"},
            {"type": "number"},
            {"type": "string"},
            {"type": "array", "items": itself},
            {"type": "object", "additionalProperties": itself},
        ],
    }


class Answer(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(extra="forbid")


class Meta(Answer):
    """Where a page stands in its list."""

    total: int = Field(description="Entries in the whole list.")
    page: int
    per_page: int


class Listing(Answer, Generic[Item]):
    """One page of a list."""

    data: list[Item]
    meta: Meta


class DependencyState(Answer):
    """One dependency.  ``none`` is a state of the workers only: runs are accepted and wait."""

    name: Literal["database", "temporal", "workers"]
    state: Literal["ok", "unavailable", "none"]
    detail: str


class ErrorDetail(BaseModel):
    """One fault: ``path`` is a JSON Pointer (RFC 6901); line and column, from 1, where a text was sent."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(examples=["/parameters/patch_version"])
    message: str
    line: int | None = None
    column: int | None = None


class ErrorBody(BaseModel):
    """What went wrong: a stable code, a sentence for people, and every fault with its place."""

    code: str = Field(examples=["bad_request"])
    message: str
    details: list[ErrorDetail]
    execution_id: str | None = Field(None, description="With a conflict: the execution that is running already.")
    permission: str | None = Field(None, description="With 403: the permission that the token lacks.")
    dependency: str | None = Field(None, description="With 503: what cannot be reached.")
    dependencies: list[DependencyState] | None = Field(
        None, description="With 503 of `/readyz`: each dependency and its state."
    )


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["error"]
    error: ErrorBody
