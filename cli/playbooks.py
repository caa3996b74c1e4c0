"""``stanchion playbook``: check, store and read definitions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from cli.options import DEFAULT_URL, AsJson, Page, PerPage, Token, Url
from cli.output import emit, place_of, say, show, using_api

if TYPE_CHECKING:
    from cli.http import Api

app = typer.Typer(help="Check, store and read playbooks.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, help="YAML or JSON files.")]


@app.command("validate")
def validate(files: Files, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Check definitions and tell every fault with its place; stores nothing."""
    from cli.http import ApiError

    results: list[dict[str, Any]] = []
    with using_api(url, token, as_json) as api:
        for file in files:
            try:
                send(api, "POST", "/api/playbooks/validate", file)
                results.append({"file": str(file), "valid": True, "faults": []})
            except ApiError as fault:
                if fault.status not in (400, 413):
                    raise
                faults = fault.details or [{"path": "", "message": str(fault)}]
                results.append({"file": str(file), "valid": False, "faults": faults})
    if as_json:
        emit(results)
    else:
        for result in results:
            say(f"{result['file']}: valid") if result["valid"] else None
            for detail in result["faults"]:
                say(f"{result['file']}: {place_of(detail)}{detail['message']}")
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
        found = api.get("/api/playbooks", {"search": search, "tag": tag, "page": page, "per_page": per_page})
    if as_json:
        emit(found)
    else:
        fields = ("id", "slug", "name", "version", "revision", "step_count", "tags")
        rows = [[*[one.get(field) for field in fields[:-1]], ", ".join(one.get("tags") or [])] for one in found["data"]]
        show(fields, rows)


@app.command("show")
def show_playbook(
    playbook: Annotated[str, typer.Argument(help="Id or slug.")],
    revision: Annotated[int | None, typer.Option(min=1, help="An earlier revision.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show a playbook's definition."""
    path = f"/api/playbooks/{quote(playbook, safe='')}"
    with using_api(url, token, as_json) as api:
        found = api.get(path if revision is None else f"{path}/revisions/{revision}")
    if as_json:
        emit(found)
    else:
        import yaml

        say(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())


def store(api: Api, file: Path, *, replace: bool = True) -> dict[str, Any]:
    """Stores the definition in ``file``; one that is there already gets a new revision, unless ``replace`` is false.

    Returns the API's answer; raises ``ApiError``.
    """
    from cli.http import ApiError

    try:
        stored: dict[str, Any] = send(api, "POST", "/api/playbooks", file)
    except ApiError as fault:
        if fault.status != 409:
            raise
        present = find(api, file)
        if present is None:
            raise
        stored = send(api, "PUT", f"/api/playbooks/{quote(present['id'], safe='')}", file) if replace else present
    return stored


def find(api: Api, file: Path) -> dict[str, Any] | None:
    """The stored playbook that has the id, or else the name, of the definition in ``file``."""
    import yaml

    from cli.http import ApiError

    try:
        definition = yaml.safe_load(file.read_bytes())
    except yaml.YAMLError:
        return None
    if identity := definition.get("id"):
        try:
            return dict(api.get(f"/api/playbooks/{quote(str(identity), safe='')}"))
        except ApiError as fault:
            if fault.status != 404:
                raise
    named = api.get("/api/playbooks", {"search": definition.get("name"), "per_page": 100})["data"]
    return next((one for one in named if one["name"] == definition.get("name")), None)


def send(api: Api, method: str, path: str, file: Path) -> Any:
    """Sends ``file`` as it is, with the media type of its name."""
    media = "application/json" if file.suffix.lower() == ".json" else "application/yaml"
    return api.request(method, path, content=file.read_bytes(), headers={"Content-Type": media})
