"""``docker-compose.yml`` as docker compose reads it: anchors merged, variables filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<how>:-|:\?)(?P<rest>[^}]*)\}")


def load() -> dict[str, Any]:
    """The file, its variables still as they are written."""
    document: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return document


def services() -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found: dict[str, dict[str, Any]] = load()["services"]
    return found


def required_variables() -> set[str]:
    """Variables without which docker compose refuses to start anything."""
    return {match["name"] for match in _VARIABLE.finditer(FILE.read_text()) if match["how"] == ":?"}


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with ``${NAME:?…}`` and ``${NAME:-…}`` replaced.  Raises KeyError for a missing one without default."""

    def value(match: re.Match[str]) -> str:
        given = variables.get(match["name"], "")
        if given:
            return given
        if match["how"] == ":?":
            raise KeyError(match["name"])
        return match["rest"]

    return _VARIABLE.sub(value, text)


def environment(service: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment that ``service`` gets; one without a value is passed on from ``variables`` when it is there."""
    found: dict[str, str] = {}
    for name, value in (services()[service].get("environment") or {}).items():
        if value is not None:
            found[name] = fill_in(value, variables)
        elif name in variables:
            found[name] = variables[name]
    return found


def strings(value: Any) -> Iterator[str]:
    """Every string in ``value``, a document or a part of one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)
