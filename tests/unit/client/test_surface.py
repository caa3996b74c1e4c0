"""What the two clients offer, held against each other and against the OpenAPI document."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from scripts import client_models
from settings import Settings
from stanchion_client import AsyncStanchion, Stanchion, errors
from stanchion_client.faces import Group, Method
from stanchion_client.routes import OPERATIONS
from tests.fake_api import FakeApi, Reply

NOT_FOR_PROGRAMS = {
    "hook_receive",  # other systems post there, with a signature of their own
    "codec_use",  # Temporal's Web UI
    "codec_use_with_token",
    "health_live",  # monitors
    "health_metrics",
    "execution_events",  # watch and wait
}


@pytest.fixture(name="document", scope="module")
def _document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("openapi"))).openapi()


def methods(client: Stanchion | AsyncStanchion) -> set[str]:
    """The methods of a client, with the names of their groups."""
    groups = {name: value for name, value in vars(client).items() if isinstance(value, Group)}
    return {
        f"{name}.{method}" for name, group in groups.items() for method, value in vars(type(group)).items()
        if isinstance(value, Method)
    }  # fmt: skip


def test_every_operation_has_a_method(document: dict[str, Any]) -> None:
    """What the API can do, the client can."""
    ids = {one["operationId"] for operations in document["paths"].values() for one in operations.values()}
    assert ids - NOT_FOR_PROGRAMS == set(OPERATIONS)


async def test_both_clients_offer_the_same() -> None:
    """Whoever knows one knows the other."""
    with Stanchion("http://127.0.0.1:1") as one:
        async with AsyncStanchion("http://127.0.0.1:1") as other:
            assert methods(one) == methods(other)
            assert len(methods(one)) > 40
            assert inspect.getdoc(one.executions.run) == inspect.getdoc(other.executions.run)


def test_each_call_fits_its_operation(document: dict[str, Any]) -> None:
    """Method and path of each call, with its query, are those of the operation."""
    places = {
        operation["operationId"]: (method.upper(), path, {one["name"] for one in operation.get("parameters", ())})
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for name, build in OPERATIONS.items():
        required = [
            "x" for one in inspect.signature(build).parameters.values() if one.default is inspect.Parameter.empty
        ]
        made = build(*required)
        method, path, parameters = places[name]
        assert (made.request.method, made.request.path.count("/")) == (method, path.count("/")), name
        fixed = [part for part in path.split("/") if "{" not in part]
        assert [part for part in made.request.path.split("/") if part in fixed] == fixed, name
        assert set(made.request.query) <= parameters, name


def test_the_types_are_those_of_the_api() -> None:
    """The module of types is what the OpenAPI document says now."""
    assert client_models.main(["--check"]) == 0, f"run: {client_models.COMMAND}"


def test_every_code_of_the_api_is_an_error_of_its_own(document: dict[str, Any]) -> None:
    """A code that no class has would be raised as something less than it is."""
    codes = set(document["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"])
    classes = {
        kind.expected_code
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.ApiError)
    }
    assert codes - classes == {"internal", "method_not_allowed", "replayed"}


def test_an_id_stays_one_part_of_the_path() -> None:
    """Nothing that stands for an id can reach another route."""
    with FakeApi(lambda _: Reply(body={})) as api, Stanchion(api.url, "secret") as client:
        client.executions.read("../../tokens?x=1")
    assert api.asked[0].path == "/api/playbooks/executions/..%2F..%2Ftokens%3Fx%3D1"


def test_the_package_is_whole() -> None:
    """It is marked as typed, for the checkers of those who use it."""
    import stanchion_client

    assert (Path(stanchion_client.__file__).parent / "py.typed").exists()
