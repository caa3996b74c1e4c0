"""``stanchion playbook``: check, store and read definitions."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import emit, place_of, say, show, show_entries, using_api

if TYPE_CHECKING:
    from stanchion_client import Detail, Stanchion
    from stanchion_client.models import Playbook, PlaybookSummary

app = typer.Typer(help="Check, store and read playbooks.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, help="YAML or JSON files.")]


@app.command("validate")
def validate(files: Files, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Check definitions and tell every fault with its place; stores nothing."""
    from stanchion_client import BadRequest, Detail, TooLarge

    results: list[dict[str, Any]] = []
    with using_api(url, token, as_json) as api:
        for file in files:
            try:
                api.playbooks.validate(file.read_bytes(), media_type=media_type(file))
                results.append({"file": str(file), "valid": True, "faults": []})
            except (BadRequest, TooLarge) as fault:
                faults = fault.details or [Detail("", fault.message)]
                results.append({"file": str(file), "valid": False, "faults": faults})
    if as_json:
        emit([{**result, "faults": [_fault_json(detail) for detail in result["faults"]]} for result in results])
    else:
        for result in results:
            say(f"{result['file']}: valid") if result["valid"] else None
            for detail in result["faults"]:
                say(f"{result['file']}: {place_of(detail)}{detail.message}")
    if not all(result["valid"] for result in results):
        raise typer.Exit(1)


@app.command("push")
def push(files: Files, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Store definitions: new playbooks, or new revisions of those that are there."""
    with using_api(url, token, as_json) as api:
        stored = [store(api, file) for file in files]
    if as_json:
        emit(stored)
    else:
        show(("id", "slug", "revision"), [[one["id"], one["slug"], one["revision"]] for one in stored])


@app.command("list")
def list_playbooks(
    search: Annotated[str | None, typer.Option(help="Part of name or description.")] = None,
    tag: Annotated[str | None, typer.Option(help="A tag.")] = None,
    page: Page = 1,
    per_page: PerPage = 20,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List playbooks."""
    with using_api(url, token, as_json) as api:
        found = api.playbooks.page(search=search, tag=tag, page=page, per_page=per_page)
    if as_json:
        emit(found)
    else:
        fields = ("id", "slug", "name", "version", "revision", "step_count", "tags")
        show_entries(fields, [{**one, "tags": ", ".join(one["tags"])} for one in found["data"]])


@app.command("show")
def show_playbook(
    playbook: Annotated[str, typer.Argument(help="Id or slug.")],
    revision: Annotated[int | None, typer.Option(min=1, help="An earlier revision.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show a playbook's definition."""
    with using_api(url, token, as_json) as api:
        found = api.playbooks.read(playbook) if revision is None else api.playbooks.revision(playbook, revision)
    if as_json:
        emit(found)
    else:
        import yaml

        say(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())


def store(api: Stanchion, file: Path, *, replace: bool = True) -> Playbook | PlaybookSummary:
    """Stores the definition in ``file``; one that is there already gets a new revision, unless ``replace`` is false.

    Returns the API's answer; raises ``ApiError``.
    """
    from stanchion_client import Conflict

    text, media = file.read_bytes(), media_type(file)
    try:
        return api.playbooks.create(text, media_type=media)
    except Conflict:
        present = find(api, file)
        if present is None:
            raise
        return api.playbooks.replace(present["id"], text, media_type=media) if replace else present


def find(api: Stanchion, file: Path) -> Playbook | PlaybookSummary | None:
    """The stored playbook that has the id, or else the name, of the definition in ``file``."""
    import yaml

    from stanchion_client import NotFound

    try:
        definition = yaml.safe_load(file.read_bytes())
    except yaml.YAMLError:
        return None
    if identity := definition.get("id"):
        with contextlib.suppress(NotFound):
            return api.playbooks.read(str(identity))
    name = definition.get("name")
    return next((one for one in api.playbooks.list(search=name) if one["name"] == name), None)


def media_type(file: Path) -> str:
    """The media type of a file's name."""
    return "application/json" if file.suffix.lower() == ".json" else "application/yaml"


def _fault_json(detail: Detail) -> dict[str, Any]:
    places = {"line": detail.line, "column": detail.column}
    return {
        "path": detail.path,
        "message": detail.message,
        **{name: place for name, place in places.items() if place is not None},
    }
