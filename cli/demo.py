"""``stanchion demo``: shipped playbooks rehearsed, then run for real, on an installation that lives only so long.

What they talk to is the proof: it must get nothing that changes anything in a rehearsal, and in the run what the
playbook is there for.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.comparison import print_comparison
from cli.connecting import connect
from cli.installation import Installation, Options, run
from cli.output import clean, complain, console, emit, say, tell_error
from cli.received import Received
from cli.render import watch
from cli.samples import load, load_intelligence
from cli.showcases import Showcase, Surroundings, showcases, surroundings
from cli.supervisor import StartError
from engine.embedded import EmbeddedError
from stanchion_client import Stanchion, StanchionError
from stanchion_client.models import Comparison, Execution

PERMISSIONS = ["playbook:read", "playbook:write", "playbook:execute", "asset:read", "asset:write"]
PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Scene:
    """One run and what it reached."""

    title: str
    execution: Execution
    received: list[Received]


@dataclass(slots=True)
class Story:
    """All that was seen of one playbook; ``faults`` are what went wrong, as sentences."""

    showcase: Showcase
    scenes: list[Scene] = field(default_factory=list)
    comparison: Comparison | None = None
    faults: list[str] = field(default_factory=list)


def play(as_json: bool, every: bool = False) -> int:
    """Plays the demo in a folder that is removed afterwards, unless it failed; returns the exit code.

    ``every``: all three playbooks, not only Incident triage.
    """
    folder = Path(tempfile.mkdtemp(prefix="stanchion-demo-"))
    code = 1
    try:
        with surroundings(every) as around:
            code = asyncio.run(run(_installation(folder, around), _tell(around, every, as_json)))
    except (StartError, EmbeddedError) as fault:
        complain(str(fault))
    finally:
        if code == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            complain(f"The logs are in {folder / 'logs'}.")
    return code


def _installation(folder: Path, around: Surroundings) -> Installation:
    # The egress guard refuses this machine's own addresses: only what the playbooks talk to is allowed.
    extra = around.environment()
    return Installation(
        Options(
            folder / "data", port=0, temporal_port=0, ui_port=0, log_dir=folder / "logs", isolated=True, extra=extra
        )
    )


def _tell(around: Surroundings, every: bool, as_json: bool) -> Callable[[Installation], Any]:
    async def when_ready(installation: Installation) -> int:
        if not as_json:
            say(f"Everything runs in {installation.data_dir.parent}: {installation.sentence()}\n")
        await asyncio.to_thread(load_intelligence, installation.database)
        return await asyncio.to_thread(_perform, installation.url, installation.token, around, every, as_json)

    return when_ready


def _perform(url: str, admin_token: str, around: Surroundings, every: bool, as_json: bool) -> int:
    try:
        load(url, admin_token)
        token = _mint(url, admin_token)
        stories = [_story(url, token, around, showcase, quiet=as_json) for showcase in showcases(around, every)]
    except StanchionError as fault:
        tell_error(fault, as_json, url)
        return 1
    faults = [f"{story.showcase.playbook}: {wrong}" for story in stories for wrong in story.faults]
    if as_json:
        emit({"ok": not faults, "playbooks": [_document(one) for one in stories]} if every else _document(stories[0]))
    else:
        for wrong in faults:
            complain(f"WRONG: {wrong}")
        say("" if faults else _summary(stories))
    return 1 if faults else 0


def _summary(stories: list[Story]) -> str:
    run_all = "The rehearsal changed nothing, the run did what it had said."
    if len(stories) == 1:
        return run_all
    lines = ["No rehearsal changed anything, each run did what it had said."]
    lines += [f"{story.showcase.playbook}: {note}" for story in stories for note in story.showcase.notes]
    return "\n".join(lines)


def _mint(url: str, admin_token: str) -> str:
    with connect(url, admin_token) as api:
        return api.tokens.create("demo", PERMISSIONS)["token"]


def _story(url: str, token: str, around: Surroundings, showcase: Showcase, quiet: bool) -> Story:
    story = Story(showcase)
    if not quiet:
        for note in showcase.notes:
            say(f"{showcase.playbook}{' is skipped' if showcase.skipped else ''}: {note}\n")
    if showcase.skipped:
        return story
    with connect(url, token, patience=PATIENCE_SECONDS) as api:
        for title, dry_run in (("Rehearsal", True), ("For real", False)):
            story.scenes.append(_scene(api, around, showcase, title, dry_run, quiet))
        first, second = (scene.execution["execution_id"] for scene in story.scenes)
        story.comparison = api.executions.compare(first, second)
    if not quiet:
        _heading("Rehearsal (left) and run (right)")
        print_comparison(story.comparison)
        say("")
    story.faults = faults_of(story)
    return story


def _scene(api: Stanchion, around: Surroundings, showcase: Showcase, title: str, dry_run: bool, quiet: bool) -> Scene:
    around.clear()
    if not quiet:
        _heading(f"{title}: {showcase.playbook} on {showcase.asset}, dry_run: {str(dry_run).lower()}")
    started = api.executions.run(showcase.playbook, showcase.asset, showcase.parameters, dry_run=dry_run)
    watch(api.executions.watch(started["execution_id"]), quiet)
    execution = api.executions.read(started["execution_id"], include=("io",))
    scene = Scene(title, execution, around.received())
    if not quiet:
        _print_promises(execution)
        _print_received(scene.received)
    return scene


def faults_of(story: Story) -> list[str]:
    """What went wrong in ``story``: a run that did not complete, an effect of the rehearsal, one missing in the run."""
    faults = [
        f"{scene.title}: the execution is {scene.execution['status']}"
        for scene in story.scenes
        if scene.execution["status"] != "completed"
    ]
    rehearsal, live = story.scenes
    faults += [f"Rehearsal: {one.method} {one.path} reached its place" for one in rehearsal.received if one.changes]
    reached = [f"{one.method} {one.path}" for one in live.received if one.changes]
    faults += [
        f"For real: nothing was sent to {place}"
        for place in story.showcase.expected
        if not any(one.startswith(place) for one in reached)
    ]
    return faults


def _print_promises(execution: Execution) -> None:
    for step in execution["steps"]:
        if step.get("would"):
            say(f"  {step['name']}: {step['would']}")


def _print_received(received: list[Received]) -> None:
    say("What it talks to got:" if received else "What it talks to got nothing.")
    for one in received:
        kind = "changes" if one.changes else "reads"
        say(f"  {kind:<7}  {one.method} {one.path}{f'  {one.body}' if one.body is not None else ''}")
    say("")


def _heading(text: str) -> None:
    console().rule(clean(text), align="left")


def _document(story: Story) -> dict[str, Any]:
    scenes = [
        {
            "title": scene.title,
            "execution": scene.execution,
            "received": [{"method": one.method, "path": one.path, "body": one.body} for one in scene.received],
        }
        for scene in story.scenes
    ]
    return {
        "ok": not story.faults,
        "playbook": story.showcase.playbook,
        "skipped": story.showcase.skipped,
        "notes": list(story.showcase.notes),
        "faults": story.faults,
        "scenes": scenes,
        "comparison": story.comparison,
    }
