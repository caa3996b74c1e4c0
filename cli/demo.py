"""``stanchion demo``: one playbook rehearsed, then run for real, on an installation that lives as long as the demo.

The receiver is the proof: it must get nothing that changes anything in the rehearsal, and the notification and the
ticket in the run.
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
from cli.receiver import TICKET_TOKEN, Received, Receiver
from cli.render import watch
from cli.samples import GUIDE_ASSET, load, load_intelligence
from cli.supervisor import StartError
from engine.embedded import EmbeddedError
from stanchion_client import Stanchion, StanchionError
from stanchion_client.models import Comparison, Execution

PLAYBOOK = "incident-triage"
PERMISSIONS = ["playbook:read", "playbook:write", "playbook:execute", "asset:read", "asset:write"]
PATIENCE_SECONDS = 5.0
TICKETS = "/api/v4/projects/security%2Fincidents/issues"
EXPECTED = ("/slack", TICKETS)
"""Places of the receiver where the live run, and only that, must have posted."""


@dataclass(slots=True)
class Scene:
    """One run and what the receiver got of it."""

    title: str
    execution: Execution
    received: list[Received]


@dataclass(slots=True)
class Story:
    """Everything the demo has seen; ``faults`` are what went wrong, as sentences."""

    scenes: list[Scene] = field(default_factory=list)
    comparison: Comparison | None = None
    faults: list[str] = field(default_factory=list)


def play(as_json: bool) -> int:
    """Plays the demo in a folder that is removed afterwards, unless it failed; returns the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="stanchion-demo-"))
    code = 1
    try:
        with Receiver() as receiver:
            code = asyncio.run(run(_installation(folder, receiver), _tell(receiver, as_json)))
    except (StartError, EmbeddedError) as fault:
        complain(str(fault))
    finally:
        if code == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            complain(f"The logs are in {folder / 'logs'}.")
    return code


def _installation(folder: Path, receiver: Receiver) -> Installation:
    # The egress guard refuses this machine's own addresses: only the receiver is allowed.
    extra = {"STANCHION_EGRESS_ALLOW": receiver.address, "STANCHION_SECRET_TICKET_TOKEN": TICKET_TOKEN}
    return Installation(
        Options(
            folder / "data", port=0, temporal_port=0, ui_port=0, log_dir=folder / "logs", isolated=True, extra=extra
        )
    )


def _tell(receiver: Receiver, as_json: bool) -> Callable[[Installation], Any]:
    async def when_ready(installation: Installation) -> int:
        if not as_json:
            say(f"Everything runs in {installation.data_dir.parent}: {installation.sentence()}\n")
        await asyncio.to_thread(load_intelligence, installation.database)
        return await asyncio.to_thread(_perform, installation.url, installation.token, receiver, as_json)

    return when_ready


def _perform(url: str, admin_token: str, receiver: Receiver, as_json: bool) -> int:
    try:
        load(url, admin_token)
        story = _story(url, _mint(url, admin_token), receiver, quiet=as_json)
    except StanchionError as fault:
        tell_error(fault, as_json, url)
        return 1
    if as_json:
        emit(_document(story))
    else:
        for wrong in story.faults:
            complain(f"WRONG: {wrong}")
        say("" if story.faults else "The rehearsal changed nothing, the run did what it had said.")
    return 1 if story.faults else 0


def _mint(url: str, admin_token: str) -> str:
    with connect(url, admin_token) as api:
        return api.tokens.create("demo", PERMISSIONS)["token"]


def _story(url: str, token: str, receiver: Receiver, quiet: bool) -> Story:
    story = Story()
    with connect(url, token, patience=PATIENCE_SECONDS) as api:
        for title, dry_run in (("Rehearsal", True), ("For real", False)):
            story.scenes.append(_scene(api, receiver, title, dry_run, quiet))
        first, second = (scene.execution["execution_id"] for scene in story.scenes)
        story.comparison = api.executions.compare(first, second)
    if not quiet:
        _heading("Rehearsal (left) and run (right)")
        print_comparison(story.comparison)
        say("")
    story.faults = faults_of(story)
    return story


def _scene(api: Stanchion, receiver: Receiver, title: str, dry_run: bool, quiet: bool) -> Scene:
    receiver.clear()
    if not quiet:
        _heading(f"{title}: {PLAYBOOK} on {GUIDE_ASSET}, dry_run: {str(dry_run).lower()}")
    started = api.executions.run(PLAYBOOK, GUIDE_ASSET, parameters(receiver), dry_run=dry_run)
    watch(api.executions.watch(started["execution_id"]), quiet)
    execution = api.executions.read(started["execution_id"], include=("io",))
    scene = Scene(title, execution, receiver.received())
    if not quiet:
        _print_promises(execution)
        _print_received(scene.received)
    return scene


def parameters(receiver: Receiver) -> dict[str, Any]:
    """The parameters of the demo's runs: everything that is talked to is the receiver."""
    return {
        "notify_channel": "#incident-response",
        "auto_assign": True,
        "cve": "CVE-2021-44228",
        "webhook_url": f"{receiver.url}/slack",
        "ticket_service": "gitlab",
        "ticket_project": "security/incidents",
        "ticket_url": receiver.url,
    }


def faults_of(story: Story) -> list[str]:
    """What went wrong in ``story``: a run that did not complete, an effect of the rehearsal, one missing in the run."""
    faults = [
        f"{scene.title}: the execution is {scene.execution['status']}"
        for scene in story.scenes
        if scene.execution["status"] != "completed"
    ]
    rehearsal, live = story.scenes
    faults += [f"Rehearsal: {one.method} {one.path} reached the receiver" for one in rehearsal.received if one.changes]
    posted = [one.path for one in live.received if one.changes]
    faults += [
        f"For real: nothing was posted to {place}"
        for place in EXPECTED
        if not any(path.startswith(place) for path in posted)
    ]
    return faults


def _print_promises(execution: Execution) -> None:
    for step in execution["steps"]:
        if step.get("would"):
            say(f"  {step['name']}: {step['would']}")


def _print_received(received: list[Received]) -> None:
    say("The receiver got:" if received else "The receiver got nothing.")
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
    return {"ok": not story.faults, "faults": story.faults, "scenes": scenes, "comparison": story.comparison}
