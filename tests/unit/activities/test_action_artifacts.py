"""What an action may keep: names, sizes, and no secret of its call."""

from __future__ import annotations

import base64
import hashlib

import pytest

from activities import artifacts
from activities.action import ActionContext
from activities.artifacts import Artifact, GuardedArtifacts, artifact_store, read_artifact
from activities.errors import ActionError
from activities.scrub import Scrubber
from activities.stores import Stores
from tests.unit.activities.action_support import make_context


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Artifact] = {}

    async def put(self, context: ActionContext, name: str, media_type: str, data: bytes) -> Artifact:
        self.kept[name] = Artifact(name, media_type, data, hashlib.sha256(data).hexdigest())
        return self.kept[name]

    async def read(self, context: ActionContext, name: str) -> Artifact | None:
        return self.kept.get(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".profile", "a/b", "a\\b", "a b", "a\n", "ä", "-rf", "a" * 101, 'a"b', "a%2fb", "a:b"],
)
async def test_a_name_is_one_harmless_file(name: str) -> None:
    """What is not one file in any folder of any system is refused."""
    with pytest.raises(ActionError, match="invalid_artifact"):
        await GuardedArtifacts(Shelf(), Scrubber()).put(make_context(), name, "text/html", b"")


@pytest.mark.parametrize("media_type", ["", "html", "text/html; charset=utf-8", "text/html\r\nX: y", "text/html\n"])
async def test_a_media_type_is_one(media_type: str) -> None:
    """What could be more than a media type in a header is refused."""
    with pytest.raises(ActionError, match="invalid_artifact"):
        await GuardedArtifacts(Shelf(), Scrubber()).put(make_context(), "a.html", media_type, b"")


async def test_an_artifact_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte too many is refused with both sizes."""
    monkeypatch.setattr(artifacts, "MAX_BYTES", 4)
    store = GuardedArtifacts(Shelf(), Scrubber())
    await store.put(make_context(), "a", "text/plain", b"1234")
    with pytest.raises(ActionError, match=r"artifact_too_large: The artifact a has 5 bytes; at most 4"):
        await store.put(make_context(), "a", "text/plain", b"12345")


@pytest.mark.parametrize(
    "data",
    [
        "see pä$$word".encode(),
        b"see " + base64.b64encode("pä$$word".encode()),
        b"see p%C3%A4%24%24word",
        b"see p\\u00e4$$word",
    ],
)
async def test_no_secret_is_kept(data: bytes) -> None:
    """Secrets of the call are masked in what is kept, in every form."""
    shelf = Shelf()
    await GuardedArtifacts(shelf, Scrubber(["pä$$word"])).put(make_context(), "a.txt", "text/plain", data)
    assert shelf.kept["a.txt"].data == b"see ***"


async def test_no_secret_is_kept_in_bytes_that_are_no_text() -> None:
    """A secret among binary data is masked; the other bytes stay as they are."""
    shelf = Shelf()
    data = bytes(range(256)) + b"hunter22" + bytes(range(256))
    await GuardedArtifacts(shelf, Scrubber(["hunter22"])).put(make_context(), "a.bin", "application/x", data)
    assert shelf.kept["a.bin"].data == bytes(range(256)) + b"***" + bytes(range(256))


async def test_a_secret_is_no_name() -> None:
    """A name that holds a secret is refused, and the refusal does not show it."""
    with pytest.raises(ActionError) as caught:
        await GuardedArtifacts(Shelf(), Scrubber(["hunter22"])).put(make_context(), "hunter22.txt", "text/plain", b"")
    assert "hunter22" not in str(caught.value)


async def test_what_was_kept_is_read() -> None:
    """A later step reads by name; a name that nobody has kept is told."""
    context = make_context(stores=Stores(artifacts=GuardedArtifacts(Shelf(), Scrubber())))
    await artifact_store(context).put(context, "a.txt", "text/plain", b"x")
    assert (await read_artifact(context, "a.txt")).data == b"x"
    with pytest.raises(ActionError, match="unknown_artifact"):
        await read_artifact(context, "b.txt")
    with pytest.raises(ActionError, match="no_store"):
        await read_artifact(make_context(), "a.txt")
