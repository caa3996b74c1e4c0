"""What clients send for containers and artifacts, and what becomes of it in the database."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from api.phantom.wire import as_number, json_in, number_in, parse_time, truth_of
from executions.errors import BadRequest
from playbooks.record import Json
from storage.phantom.containers import SEVERITIES, STATUSES
from storage.phantom.records import Record

MAX_TEXT: Final = 100_000

Reader = Callable[[str, Any], Json]


def text(name: str, value: Any) -> str:
    """A text; numbers are taken too.  Raises BadRequest."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise BadRequest(f'"{name}" must be a text of at most {MAX_TEXT} characters.')
    return value


def optional_text(name: str, value: Any) -> str | None:
    """A text, or null."""
    return None if value is None else text(name, value)


def json_text(name: str, value: Any) -> str | None:
    """A text; anything else as JSON, since ``kill_chain`` and the like come in many forms."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def time(name: str, value: Any) -> int | None:
    """A time in ISO 8601, or null.  Raises BadRequest."""
    if value in (None, ""):
        return None
    try:
        return parse_time(text(name, value))
    except (ValueError, OverflowError):
        raise BadRequest(f'"{name}" must be a time such as 2016-01-15T22:15:55Z.') from None


def number(name: str, value: Any) -> int | None:
    """The number of a record, or null.  Raises BadRequest."""
    return number_in({name: value}, name)


def an_object(name: str, value: Any) -> Json:
    """An object, or JSON of one in a string; null is an empty one.  Raises BadRequest."""
    if isinstance(value, str) and value.strip():
        try:
            value = json_in(value)
        except ValueError:
            raise BadRequest(f'"{name}" must be an object.') from None
    if value in (None, "", []):
        return {}
    if not isinstance(value, dict | list):
        raise BadRequest(f'"{name}" must be an object.')
    return value


def words(name: str, value: Any) -> Json:
    """A list of texts, or one text.  Raises BadRequest."""
    if value in (None, ""):
        return []
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise BadRequest(f'"{name}" must be a list of texts.')
    return list(dict.fromkeys(listed))


def one_of(names: Sequence[str]) -> Reader:
    """Reads a name, or the number of one of ``names``, from 1; further names are the installation's own affair."""

    def read(name: str, value: Any) -> Json:
        found = as_number(value)
        if found is None and (isinstance(value, bool) or not isinstance(value, int | float)):
            return text(name, value)
        if found is None or not 1 <= found <= len(names):
            raise BadRequest(f'"{name}" has no number {value}: there are {", ".join(names)}.')
        return names[found - 1]

    return read


def truth(name: str, value: Any) -> bool:
    """True or false.  Raises BadRequest."""
    return truth_of(value, name)


CONTAINER: Final[dict[str, tuple[str, Reader]]] = {
    "name": ("name", text),
    "label": ("label", text),
    "description": ("description", text),
    "status": ("status", one_of(STATUSES)),
    "status_id": ("status", one_of(STATUSES)),
    "severity": ("severity", one_of(SEVERITIES)),
    "severity_id": ("severity", one_of(SEVERITIES)),
    "sensitivity": ("sensitivity", text),
    "container_type": ("container_type", text),
    "source_data_identifier": ("source_data_identifier", text),
    "kill_chain": ("kill_chain", json_text),
    "role_id": ("role", number),
    "role": ("role", number),
    "tenant_id": ("tenant", number),
    "tenant": ("tenant", number),
    "asset_id": ("asset", number),
    "asset": ("asset", number),
    "ingest_app_id": ("ingest_app", number),
    "parent_container_id": ("parent_container", number),
    "current_phase_id": ("current_phase", number),
    "workflow_name": ("workflow_name", text),
    "in_case": ("in_case", truth),
    "start_time": ("start_time", time),
    "end_time": ("end_time", time),
    "due_time": ("due_time", time),
    "open_time": ("open_time", time),
    "close_time": ("close_time", time),
    "tags": ("tags", words),
    "custom_fields": ("custom_fields", an_object),
    "data": ("data", an_object),
}
"""Fields of a container that may be given, the columns that they are kept in, and how each is read."""

ARTIFACT: Final[dict[str, tuple[str, Reader]]] = {
    "name": ("name", text),
    "label": ("label", text),
    "type": ("type", optional_text),
    "description": ("description", optional_text),
    "severity": ("severity", one_of(SEVERITIES)),
    "severity_id": ("severity", one_of(SEVERITIES)),
    "source_data_identifier": ("source_data_identifier", text),
    "kill_chain": ("kill_chain", json_text),
    "ingest_app_id": ("ingest_app", number),
    "parent_container_id": ("parent_container", number),
    "parent_artifact_id": ("parent_artifact", number),
    "playbook_run_id": ("playbook_run", number),
    "in_case": ("in_case", truth),
    "start_time": ("start_time", time),
    "end_time": ("end_time", time),
    "tags": ("tags", words),
    "cef": ("cef", an_object),
    "cef_data": ("cef", an_object),
    "cef_types": ("cef_types", an_object),
    "data": ("data", an_object),
    "raw_data": ("data", an_object),
}
"""The same of an artifact."""

_NEVER_NULL: Final = frozenset(
    {"name", "label", "status", "severity", "sensitivity", "container_type", "description", "workflow_name", "tenant",
     "source_data_identifier", "in_case", "start_time", "due_time"}
)  # fmt: skip


def given(fields: Mapping[str, tuple[str, Reader]], body: Mapping[str, Json]) -> Record:
    """The columns that ``body`` sets; fields that are not known are left out, as Phantom does.  Raises BadRequest."""
    found: Record = {}
    for name, (column, read) in fields.items():
        if name in body and not (body[name] is None and column in _NEVER_NULL):
            value = read(name, body[name])
            if value is not None or column not in _NEVER_NULL:
                found[column] = value
    return found


def new_container(body: Mapping[str, Json], now: int) -> Record:
    """A container as it is stored, with its defaults.  Raises BadRequest."""
    values = given(CONTAINER, body)
    if not str(values.get("name", "")).strip():
        raise BadRequest('"name" is required.')
    defaults: Record = {
        "label": "events", "description": "", "status": "new", "severity": "medium", "sensitivity": "amber",
        "container_type": "default", "source_data_identifier": "", "kill_chain": None, "owner": None,
        "owner_name": None, "role": None, "tenant": 0, "asset": None, "ingest_app": None, "parent_container": None,
        "current_phase": None, "workflow_name": "", "in_case": False, "create_time": now, "start_time": now,
        "end_time": None, "due_time": now + 12 * 3_600_000, "open_time": None, "close_time": None,
        "container_update_time": now, "artifact_update_time": now, "tags": [], "custom_fields": {}, "data": {},
        "version": 1,
    }  # fmt: skip
    whole = {**defaults, **values}
    whole["source_data_identifier"] = whole["source_data_identifier"] or str(uuid.uuid4())
    return {**whole, **source_of(whole)}


def changed_container(body: Mapping[str, Json]) -> Record:
    """The columns of a container that ``body`` changes.  Raises BadRequest."""
    values = given(CONTAINER, body)
    if "name" in values and not str(values["name"]).strip():
        raise BadRequest('"name" must not be empty.')
    if values.get("source_data_identifier") == "":
        del values["source_data_identifier"]
    return values


def source_of(container: Mapping[str, Json]) -> Record:
    """The columns that a container's source is found and told apart by."""
    identifier = container["source_data_identifier"]
    return {"source_key": identifier, "hash": _hash(identifier, container["asset"])}


def new_artifact(body: Mapping[str, Json], container: int, now: int) -> Record:
    """An artifact as it is stored, with its defaults.  Raises BadRequest."""
    values = given(ARTIFACT, body)
    defaults: Record = {
        "container": container, "name": "artifact", "label": "event", "type": None, "description": None,
        "severity": "medium", "source_data_identifier": "", "kill_chain": None, "owner": None, "ingest_app": None,
        "parent_container": None, "parent_artifact": None, "playbook_run": None, "in_case": False,
        "create_time": now, "start_time": now, "end_time": None, "update_time": now, "tags": [], "cef": {},
        "cef_types": {}, "data": {}, "version": 1,
    }  # fmt: skip
    whole = {**defaults, **values}
    whole["name"] = whole["name"] or "artifact"
    whole["source_data_identifier"] = whole["source_data_identifier"] or str(uuid.uuid4())
    identifier = whole["source_data_identifier"]
    return {**whole, "source_key": identifier, "hash": _hash(container, whole["name"], whole["cef"], identifier)}


def changed_artifact(body: Mapping[str, Json]) -> Record:
    """The columns of an artifact that ``body`` changes.  Raises BadRequest."""
    values = given(ARTIFACT, body)
    for name in ("name", "source_data_identifier"):
        if values.get(name) == "":
            del values[name]
    if "source_data_identifier" in values:
        values["source_key"] = values["source_data_identifier"]
    return values


def owner_in(body: Mapping[str, Json]) -> tuple[bool, int | str | None]:
    """Whether ``body`` names an owner, and the number or the name that it gives."""
    for name in ("owner_id", "owner", "owner_name"):
        if name in body:
            value = body[name]
            if value in (None, ""):
                return True, None
            found = as_number(value)
            return True, found if found is not None else text(name, value)
    return False, None


def _hash(*parts: Json) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
