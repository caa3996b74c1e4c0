"""YAML on a page as a playbook: what a fragment leaves out is put around it, and then it is checked like any other."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from activities.catalogue import ActionCatalogue, load_catalogue
from playbooks.compile import Compiled, compile_playbook, compile_value
from playbooks.load import load
from tests.docs.blocks import ROOT, Block

EXAMPLE = ROOT / "docs" / "examples" / "stanchion-syslog"


@cache
def catalogue() -> ActionCatalogue:
    """The built-in actions, and that of the plug-in that the pages explain."""
    sys.path.append(str(EXAMPLE))
    from stanchion_syslog import SyslogSend

    built_in = load_catalogue()
    return ActionCatalogue([*(built_in[name] for name in built_in), SyslogSend()])


def compiled(block: Block) -> Compiled:
    """The playbook of a block.  Raises ``DefinitionError``, or ``ValueError`` where it cannot be made one."""
    content: Any = load(block.text.encode(), "yaml").value
    if isinstance(content, dict) and {"name", "steps"} <= content.keys():
        return compile_playbook(block.text.encode(), "yaml", catalogue().specs())
    return compile_value(completed(content, block), catalogue().specs())


def completed(content: Any, block: Block) -> dict[str, Any]:
    """A whole playbook around a fragment: steps, a trigger, or parameters of an action."""
    if action := block.notes.get("parameters of"):
        content = [{"action_ref": action, "parameters": content}]
    if isinstance(content, list):
        content = {"steps": content}
    if not isinstance(content, dict) or not content.keys() & {"steps", "trigger"}:
        raise ValueError(f"{block.place}: neither a playbook nor steps nor a trigger")
    steps = content.get("steps", [])
    before = _earlier_steps(block.text, steps)
    return {
        "name": Path(block.page).stem,
        "parameters": {"type": "object", "properties": {name: {} for name in _names("parameters", block.text)}},
        **content,
        "steps": [*before, *steps] or [{"action_ref": "core.echo"}],
    }


def _earlier_steps(text: str, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # A fragment goes on from steps that the page does not show; what they give is not known.
    own = set(re.findall(r"\bid: ([A-Za-z_][\w-]*)", text))
    earlier = [name for name in _names("steps", text) if name not in own]
    made: list[dict[str, Any]] = [{"id": name, "action_ref": "core.echo"} for name in earlier]
    if variables := _names("vars", text):
        made.append({"type": "set", "vars": dict.fromkeys(variables, "")})
    return made


def _names(of: str, text: str) -> list[str]:
    return sorted(set(re.findall(rf"\b{of}\.([A-Za-z_]\w*)", text)))
