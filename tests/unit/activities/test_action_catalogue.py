"""The catalogue's rules, and the traits of every shipped action."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest

from activities import catalogue as catalogue_module
from activities.action import Action, ActionContext, InputModel, OutputModel, Rehearsal
from activities.catalogue import ActionCatalogue, load_catalogue
from activities.errors import CatalogueError
from playbooks.actions import Catalogue, Traits

EXPECTED = {
    "asset.lookup": Traits(safe=True, idempotent=True, quick=True),
    "ansible.playbook": Traits(),
    "core.echo": Traits(safe=True, idempotent=True, quick=True),
    "core.fail": Traits(idempotent=True, quick=True),
    "core.set": Traits(safe=True, idempotent=True, quick=True),
    "core.sleep": Traits(idempotent=True),
    "email.send": Traits(),
    "dns.resolve": Traits(safe=True, idempotent=True),
    "finding.enrich": Traits(safe=True, idempotent=True, quick=True),
    "finding.severity": Traits(safe=True, idempotent=True, quick=True),
    "firewall.block_ip": Traits(idempotent=True),
    "http.request": Traits(),
    "notify.send": Traits(),
    "notify.slack": Traits(),
    "package.patch": Traits(idempotent=True),
    "rdap.lookup": Traits(safe=True, idempotent=True),
    "report.render": Traits(idempotent=True),
    "policy.compare": Traits(idempotent=True),
    "scan.host": Traits(safe=True, idempotent=True),
    "scan.ports": Traits(idempotent=True),
    "scan.import": Traits(safe=True, idempotent=True),
    "script.run": Traits(),
    "service.restart": Traits(idempotent=True),
    "ssh.command": Traits(),
    "ssh.upload": Traits(idempotent=True),
    "ticket.close": Traits(idempotent=True),
    "ticket.comment": Traits(idempotent=True),
    "ticket.create": Traits(idempotent=True),
}


class NoInput(InputModel):
    """Nothing."""


class NoOutput(OutputModel):
    """Nothing."""


class Tidy(Action[NoInput, NoOutput]):
    """Keeps every rule."""

    name = "test.tidy"
    title = "Tidy"
    rehearsal = "Does nothing."
    Input = NoInput
    Output = NoOutput

    async def run(self, inputs: NoInput, context: ActionContext) -> NoOutput:
        return NoOutput()

    async def rehearse(self, inputs: NoInput, context: ActionContext) -> Rehearsal:
        return Rehearsal("Would do nothing.")


class Unrehearsed(Action[NoInput, NoOutput]):
    """Changes things and cannot rehearse."""

    name = "test.unrehearsed"
    title = "Unrehearsed"
    rehearsal = "Lies."
    Input = NoInput
    Output = NoOutput

    async def run(self, inputs: NoInput, context: ActionContext) -> NoOutput:
        return NoOutput()


class Reader(Unrehearsed):
    """Only reads, so it needs no rehearsal."""

    name = "test.reader"
    safe = True


def offer(monkeypatch: pytest.MonkeyPatch, **plug_ins: object) -> None:
    """Install ``plug_ins`` under the entry point group, as another package would."""
    module = ModuleType("some_plug_in")
    points = []
    for name, thing in plug_ins.items():
        if thing is not None:
            setattr(module, name, thing)
        points.append(EntryPoint(name, f"some_plug_in:{name}", "stanchion.actions"))
    monkeypatch.setitem(sys.modules, "some_plug_in", module)
    monkeypatch.setattr(catalogue_module, "entry_points", lambda group: EntryPoints(points).select(group=group))


def shipped() -> Catalogue:
    """The built-in actions, without those of plug-ins."""
    return ActionCatalogue(action_class() for action_class in catalogue_module.BUILT_IN).specs()


def test_the_shipped_actions_and_their_traits() -> None:
    """Each action is offered with exactly the flags that the interpreter relies on."""
    assert {name: spec.traits for name, spec in shipped().items()} == EXPECTED


def test_every_shipped_action_is_loaded() -> None:
    """What an installation offers begins with the built-in actions."""
    assert set(shipped()) <= set(load_catalogue())


def test_every_action_describes_itself() -> None:
    """Title, description, rehearsal and both schemas are there for the API to serve."""
    for name, spec in shipped().items():
        assert spec.name == name
        assert all([spec.title, spec.description, spec.rehearsal])
        assert spec.input_schema["type"] == spec.output_schema["type"] == "object"


def test_every_input_field_has_a_description() -> None:
    """Nobody has to guess what a parameter means."""
    for name, spec in shipped().items():
        for field, schema in spec.input_schema.get("properties", {}).items():
            assert schema.get("description"), f"{name}: {field}"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"url": "https://example.com"}, Traits(safe=True, idempotent=True)),
        ({"method": "GET"}, Traits(safe=True, idempotent=True)),
        ({"method": "head"}, Traits(safe=True, idempotent=True)),
        ({"method": "OPTIONS"}, Traits(safe=True, idempotent=True)),
        ({"method": "PUT"}, Traits(idempotent=True)),
        ({"method": "DELETE"}, Traits(idempotent=True)),
        ({"method": "POST"}, Traits()),
        ({"method": "PATCH"}, Traits()),
        ({"method": "{{ parameters.method }}"}, Traits()),
        ({"method": 3}, Traits()),
        ("no object", Traits()),
    ],
)
def test_traits_of_a_request_follow_its_method(parameters: object, expected: Traits) -> None:
    """A constant reading method is safe; a template promises nothing."""
    assert expected == load_catalogue().specs()["http.request"].traits_for(parameters)


def test_an_action_without_rehearsal_is_refused() -> None:
    """An action that is not safe and has no rehearse() is refused by name."""
    with pytest.raises(CatalogueError, match=r"test\.unrehearsed.*rehearse\(\)"):
        ActionCatalogue([Unrehearsed()])


def test_a_safe_action_needs_no_rehearsal() -> None:
    """Reading needs no dry run of its own."""
    assert list(ActionCatalogue([Reader()])) == ["test.reader"]


def test_two_actions_of_one_name_are_refused() -> None:
    """Which of two would run must not be left to chance."""
    with pytest.raises(CatalogueError, match=r"test\.tidy: two actions"):
        ActionCatalogue([Tidy(), Tidy()])


@pytest.mark.parametrize("name", ["tidy", "Test.tidy", "test.", "te st.tidy", "stanchion.settle", ""])
def test_bad_and_reserved_names_are_refused(name: str) -> None:
    """A name is family.verb; the family of our own activities is not to be had."""
    with pytest.raises(CatalogueError):
        ActionCatalogue([type("Named", (Tidy,), {"name": name})()])


def test_a_built_in_action_without_documentation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A built-in action says what its codes mean and shows a use; a plug-in should, but need not."""
    monkeypatch.setattr(catalogue_module, "BUILT_IN", (Tidy,))
    with pytest.raises(CatalogueError, match=r"test\.tidy.*errors"):
        load_catalogue()
    monkeypatch.setattr(Tidy, "errors", {"odd": "It was odd."})
    with pytest.raises(CatalogueError, match=r"test\.tidy.*example"):
        load_catalogue()
    monkeypatch.setattr(Tidy, "example", {"a": 1})
    assert "test.tidy" in load_catalogue()


def test_a_plug_in_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An action of another package stands beside the built-in ones."""
    offer(monkeypatch, tidy=Tidy)
    assert {"test.tidy", "core.echo"} <= set(load_catalogue())


def test_a_broken_plug_in_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One package that cannot be loaded does not take the others down."""
    offer(monkeypatch, broken=None, tidy=Tidy)
    with caplog.at_level(logging.WARNING):
        assert "test.tidy" in load_catalogue()
    assert "plug-in broken was left out" in caplog.text


def test_a_plug_in_that_is_no_action_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Anything but a subclass of Action is named and left out."""
    offer(monkeypatch, odd="text")
    with caplog.at_level(logging.WARNING):
        assert set(load_catalogue()) >= set(EXPECTED)
    assert "plug-in odd was left out" in caplog.text


class Clash(Tidy):
    """Has the name of a built-in action."""

    name = "core.echo"


class Unmade(Tidy):
    """Cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no configuration")


@pytest.mark.parametrize(
    ("plug_in", "told"),
    [(Unrehearsed, "must define rehearse()"), (Clash, "core.echo: two actions"), (Unmade, "no configuration")],
)
def test_a_plug_in_that_cannot_be_used_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, plug_in: type, told: str
) -> None:
    """One that breaks a rule, takes a name or fails is told with the reason; the others are offered."""
    offer(monkeypatch, wrong=plug_in, tidy=Tidy)
    with caplog.at_level(logging.ERROR):
        offered = load_catalogue()
    assert "plug-in wrong was left out" in caplog.text
    assert told in caplog.text
    assert set(offered) == {*shipped(), "test.tidy"}
    assert not isinstance(offered["core.echo"], plug_in)
