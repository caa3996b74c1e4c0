"""The playbooks that ship with Stanchion: they load without a fault, and are those that the guide speaks of."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

from activities.catalogue import BUILT_IN, ActionCatalogue
from playbooks.compile import Compiled, compile_playbook
from playbooks.parameters import validate_parameters

CATALOGUE = ActionCatalogue([action() for action in BUILT_IN]).specs()
TEXTS = {file.name: file.read_bytes() for file in files("playbooks.library").iterdir() if file.name.endswith(".yaml")}
SPOKEN_OF: dict[str, list[str]] = {
    "incident-triage.yaml": ["Enrich finding", "Assign severity", "Notify on-call", "Open ticket"],
    "automated-patching.yaml": [
        "Verify the vulnerability",
        "Apply the patch in dry-run mode",
        "Validate the rehearsal",
        "Apply the patch",
    ],
    "compliance-check.yaml": [
        "Run the scan",
        "Compare with the baseline",
        "Write the report",
        "Email stakeholders",
    ],
    "guide.yaml": ["Enrich finding", "Notify Slack", "Apply remediation", "Verify fix"],
}
ASKED_FOR: dict[str, dict[str, Any]] = {"automated-patching.yaml": {"patch_version": "2.4.1"}}


def shipped(name: str) -> Compiled:
    """The compiled playbook in that file, with the actions that are built in."""
    return compile_playbook(TEXTS[name], "yaml", CATALOGUE)


def test_the_library_is_what_the_guide_speaks_of() -> None:
    """Its three common examples, and its own."""
    assert sorted(TEXTS) == sorted(SPOKEN_OF)


@pytest.mark.parametrize("name", TEXTS)
def test_it_loads_without_a_fault(name: str) -> None:
    """Under the slug that its file is called by."""
    assert f"{shipped(name).slug}.yaml" == name


@pytest.mark.parametrize(("name", "steps"), SPOKEN_OF.items())
def test_it_has_the_steps_of_the_guide(name: str, steps: list[str]) -> None:
    """By name and in that order, whatever else stands between them."""
    names = [step.name for step in shipped(name).plan.steps]
    assert [step for step in names if step in steps] == steps


@pytest.mark.parametrize("name", TEXTS)
def test_it_runs_with_what_must_be_given(name: str) -> None:
    """Everything else has a default that its own schema takes."""
    schema = shipped(name).parameters_schema
    given = ASKED_FOR.get(name, {})
    assert sorted(schema.get("required", [])) == sorted(given)
    assert set(validate_parameters(schema, given)) == set(schema["properties"])


@pytest.mark.parametrize("name", TEXTS)
def test_it_ends_by_itself(name: str) -> None:
    """No run of it stays for ever, and every step can be told from the others."""
    plan = shipped(name).plan
    assert plan.timeout is not None
    assert len({step.name for step in plan.steps}) == len(plan.steps)


def test_the_guide_has_the_ids_of_the_guide() -> None:
    """Its requests work as they are printed: the playbook's id, the steps' and the parameters."""
    guide = shipped("guide.yaml")
    assert guide.id == "pb-11223344-5566-7788-99aa-bbccddeeff00"
    assert [step.id for step in guide.plan.steps] == ["act-001", "act-002", "act-003", "act-004"]
    for printed in (
        {"notify_channel": "#incident-response", "patch_version": "2.4.1", "rollback_enabled": True},
        {"notify_channel": "#incident-response", "auto_assign": True},
    ):
        assert validate_parameters(guide.parameters_schema, printed).items() >= printed.items()
