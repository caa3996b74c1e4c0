"""``package.patch``: one package of a host brought to a version, or looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from activities.action import Action, ActionContext, ActionError, Rehearsal
from activities.error_advice import SSH_ERRORS
from activities.hosts.packages import (
    LATEST,
    PackageChange,
    PackageManager,
    PackageState,
    Wish,
    comparable,
    matching,
)
from activities.hosts.patch_models import PatchInput, PatchOutput
from activities.hosts.stale import stale_processes
from activities.hosts.target import effect_on
from activities.marker import marker
from playbooks.actions import Traits
from playbooks.record import Json

if TYPE_CHECKING:
    from activities.hosts.jobs import Job
    from activities.hosts.session import Host

SHOWN_VERSIONS = 50

TRIES = 2

DETECT = """
if command -v apt-get >/dev/null && [ -e /var/lib/dpkg/status ]; then echo apt
elif command -v dnf >/dev/null && command -v rpm >/dev/null; then echo dnf
fi
"""


class PackagePatch(Action[PatchInput, PatchOutput]):
    """Brings a package of a Debian or RPM host to a version, verifies that, and says what must be restarted.

    The package manager runs on the host apart from the connection.  A cancel stops it as long as nothing was changed;
    from then on it finishes by itself, since a package half unpacked helps nobody.
    """

    name = "package.patch"
    title = "Patch a package"
    rehearsal = (
        "Has the host's package manager simulate it; with dry_run_reads: false it connects to nothing and says what it "
        "would run. One with mode: inspect or simulate looks for real, but fetches no index."
    )
    Input = PatchInput
    Output = PatchOutput
    idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        **SSH_ERRORS,
        "held": "Somebody has put the package on hold; ignore_hold: true overrides that.",
        "not_installed": "The package is not installed, and install is false.",
        "unknown_package": "The host's repositories have no such package.",
        "version_unavailable": "The host's repositories do not have the version; the message names those they have.",
        "manager_missing": "The host has neither apt nor dnf.",
        "not_root": "Neither root logs in nor sudo is true.",
        "locked": "Another package manager was at work for longer than lock_timeout.",
        "index_failed": "The package index could not be fetched, or is empty.",
        "unauthenticated": "A repository or package is not signed by a key that the host trusts.",
        "would_remove": "Other packages would have to go; allow_removals: true overrides that.",
        "dependencies_unmet": "Something that the version needs cannot be had.",
        "download_failed": "The package could not be fetched; nothing was changed.",
        "disk_full": "There is no room on the host.",
        "package_failed": "The package's own scripts failed; the message has what was said.",
        "patch_failed": "The package manager failed otherwise; the message has what it said.",
        "version_not_reached": "It reported success, but another version is installed.",
        "stopped": "It was stopped on the host before anything was changed.",
        "job_died": "The package manager was killed on the host.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "{{ asset.hostname }}",
        "username": "ops",
        "private_key": "{{ secrets.ssh_key }}",
        "sudo": True,
        "package": "openssl",
        "version": "3.0.17",
    }

    @classmethod
    def traits(cls, parameters: Json) -> Traits:
        """Only reads where ``mode`` says so in a constant, and nothing may be fetched."""
        given = parameters if isinstance(parameters, dict) else {}
        reads = given.get("mode") in ("simulate", "inspect") and given.get("refresh") in (None, False)
        return Traits(safe=reads, idempotent=True)

    async def run(self, inputs: PatchInput, context: ActionContext) -> PatchOutput:
        """Do it, or what ``mode`` says.

        Raises ``ActionError``: the class's ``errors``, and what ``connected`` and ``Host.run`` raise.
        """
        from activities.hosts.connection import connected
        from activities.hosts.jobs import Job

        async with connected(inputs, context) as host:
            manager = await manager_of(host, inputs)
            if inputs.mode != "apply":
                if inputs.refreshes:
                    await manager.refresh(inputs.lock_timeout)
                output = await _looked(manager, inputs, simulate=inputs.mode == "simulate")
                return output if inputs.mode == "simulate" else await _finished(manager, output)
            job = Job(host, marker(context), context.attempt, sudo=inputs.sudo)
            return await _applied(manager, inputs, job)

    async def rehearse(self, inputs: PatchInput, context: ActionContext) -> Rehearsal:
        """Simulate it on the host, where that may be looked at."""
        if not context.dry_run_reads:
            return _unseen(inputs)
        if inputs.mode != "apply":
            return await self._rehearse_looking(inputs, context)
        from activities.hosts.connection import connected

        try:
            async with connected(inputs, context) as host:
                said = await _looked(await manager_of(host, inputs), inputs, simulate=True)
        except ActionError as error:
            return _unseen(inputs, error)
        if not said.changes:
            would = f"Would change nothing: {inputs.package} on {inputs.place} is at {said.installed_version}."
            return Rehearsal(would, [], said)
        return _foreseen(inputs, said)

    async def _rehearse_looking(self, inputs: PatchInput, context: ActionContext) -> Rehearsal:
        """Look for real, on the index that is there; what fails in it fails the rehearsal, as it would the run."""
        output = await self.run(inputs.model_copy(update={"refresh": False}), context)
        verb = {"inspect": "look at", "simulate": "simulate bringing"}[inputs.mode]
        aim = "" if inputs.mode == "inspect" else f" to {inputs.version}"
        would = f"Would fetch the package index of {inputs.place}, and {verb} {inputs.package}{aim}."
        return Rehearsal(would, [effect_on(inputs, "package_index")] if inputs.refreshes else [], output)


async def manager_of(host: Host, inputs: PatchInput) -> PackageManager:
    """The package manager of ``host``.  Raises ``ActionError`` with code ``manager_missing``."""
    from activities.hosts.apt import Apt
    from activities.hosts.dnf import Dnf

    name = inputs.manager if inputs.manager != "auto" else (await host.run(DETECT)).text.strip()
    kinds: dict[str, type[PackageManager]] = {"apt": Apt, "dnf": Dnf}
    if name not in kinds:
        raise ActionError("manager_missing", f"{host.place} has neither apt nor dnf.", retryable=False)
    return kinds[name](host, sudo=inputs.sudo)


async def _looked(manager: PackageManager, inputs: PatchInput, *, simulate: bool) -> PatchOutput:
    state = await manager.look(inputs.package)
    target, satisfied = await _aim(manager, inputs, state)
    output = _output(manager, state, target, satisfied)
    if not simulate or (wish := await _wish(manager, inputs, state, target, satisfied)) is None:
        return output
    return output.model_copy(update={"changes": await _simulated(manager, wish, state)})


async def _simulated(manager: PackageManager, wish: Wish, state: PackageState) -> list[PackageChange]:
    """What would change; dnf leaves out what there was."""
    changes = await manager.simulate(wish)
    return [
        change.model_copy(update={"from_version": state.installed})
        if change.package == wish.package and change.from_version is None
        else change
        for change in changes
    ]


async def _applied(manager: PackageManager, inputs: PatchInput, job: Job) -> PatchOutput:
    """Bring it there; or, when the host has this very work already, see how that ends."""
    ended = await job.earlier()
    if ended is None and inputs.refreshes:
        await manager.refresh(inputs.lock_timeout)
    for _ in range(TRIES):
        if ended is not None:
            break
        state = await manager.look(inputs.package)
        target, satisfied = await _aim(manager, inputs, state)
        wish = await _wish(manager, inputs, state, target, satisfied)
        if wish is None:
            return await _finished(manager, _output(manager, state, target, satisfied))
        # What is half-way is repaired first, and until then no simulation succeeds.
        changes = [] if state.broken else await _simulated(manager, wish, state)
        notes = {"before": state.installed, "target": wish.version, "changes": [c.model_dump() for c in changes]}
        ended = await job.run(manager.script(wish), json.dumps(notes))
    if ended is None:
        raise ActionError("job_died", f"{inputs.place}: the package manager was killed on the host, twice.")
    told = json.loads(ended.notes)
    manager.check(ended, f"bring {inputs.package} to {told['target']}")
    return await _verified(manager, inputs, told, ended.log)


async def _verified(manager: PackageManager, inputs: PatchInput, notes: dict[str, Any], log: str) -> PatchOutput:
    """What is installed now, held against what was wanted."""
    state = await manager.look(inputs.package)
    target = str(notes["target"])
    if state.installed != target or state.broken:
        raise ActionError(
            "version_not_reached",
            f"{inputs.package} on {inputs.place} is at {state.installed}, not at {target}, though the package manager "
            "reported success.",
            retryable=False,
        )
    output = _output(manager, state, target, True)
    done = {
        "changed": True,
        "previous_version": notes["before"],
        "changes": [PackageChange.model_validate(change) for change in notes["changes"]],
        "configuration_kept": manager.kept_configuration(log),
    }
    return await _finished(manager, output.model_copy(update=done))


async def _finished(manager: PackageManager, output: PatchOutput) -> PatchOutput:
    aftermath = {
        "reboot_required": await manager.reboot_required(),
        "restart_needed": await stale_processes(manager.host, sudo=manager.sudo),
    }
    return output.model_copy(update=aftermath)


async def _aim(manager: PackageManager, inputs: PatchInput, state: PackageState) -> tuple[str | None, bool]:
    """The version that is meant, in full, and whether it or a newer one is installed."""
    known = (*((state.installed,) if state.installed else ()), *state.available)
    newest = state.candidate or state.installed
    target = newest if inputs.version == LATEST else matching(inputs.version, known)
    if state.installed is None or (target is None and inputs.version == LATEST):
        return target, False
    if target is not None:
        return target, await manager.compare(state.installed, target) >= 0
    return None, await manager.compare(comparable(state.installed, inputs.version), inputs.version) >= 0


async def _wish(
    manager: PackageManager, inputs: PatchInput, state: PackageState, target: str | None, satisfied: bool
) -> Wish | None:
    """What has to be done; None: nothing.  Raises ``ActionError`` where it may not or cannot be done."""
    where = f"{inputs.package} on {inputs.place}"
    older = inputs.allow_downgrade and inputs.version != LATEST
    if state.installed is not None and satisfied and (target == state.installed or not older):
        return None
    if state.installed is None and not state.available:
        _refuse("unknown_package", f"The repositories of {inputs.place} have no package {inputs.package}.")
    # What was left half-way was there before: finishing it is no new installation.
    if state.installed is None and not (inputs.install or state.unfinished):
        _refuse("not_installed", f"{where} is not installed. Say install: true to install it.")
    if target is None:
        have = ", ".join(state.available[:10]) or "none"
        _refuse("version_unavailable", f"{where}: no repository has version {inputs.version}. There are: {have}.")
    if state.held and not inputs.ignore_hold:
        _refuse("held", f"{where} is on hold at {state.installed}. Say ignore_hold: true to change it all the same.")
    assert target is not None
    change: Literal["install", "upgrade", "downgrade"] = "downgrade" if satisfied else "upgrade"
    return Wish(
        package=inputs.package,
        version=target,
        change=change if state.installed is not None else "install",
        ignore_hold=inputs.ignore_hold,
        allow_removals=inputs.allow_removals,
        replace_configuration=inputs.configuration == "replace",
        lock_timeout=inputs.lock_timeout,
    )


def _refuse(code: str, message: str) -> None:
    raise ActionError(code, message, retryable=False)


def _output(manager: PackageManager, state: PackageState, target: str | None, satisfied: bool) -> PatchOutput:
    return PatchOutput(
        manager=manager.name,
        package=state.package,
        architecture=state.architecture,
        installed_version=state.installed,
        previous_version=state.installed,
        wanted_version=target,
        candidate_version=state.candidate,
        available_versions=list(state.available[:SHOWN_VERSIONS]),
        satisfied=satisfied,
        held=state.held,
        index_age_seconds=state.index_age,
    )


def _foreseen(inputs: PatchInput, said: PatchOutput) -> Rehearsal:
    """What the host's simulation says, as the live run's output and effects."""
    changes: list[Json] = [change.model_dump() for change in said.changes]
    others = f", and change {len(changes) - 1} other packages" if len(changes) > 1 else ""
    way = f"from {said.installed_version} to {said.wanted_version}"
    would = f"Would bring {inputs.package} on {inputs.place} {way}{others}."
    output = said.model_copy(update={"changed": True, "installed_version": said.wanted_version, "satisfied": True})
    effect = effect_on(
        inputs,
        "package",
        package=inputs.package,
        **{"from": said.installed_version, "to": said.wanted_version},
        changes=changes,
    )
    return Rehearsal(would, [effect], output)


def _unseen(inputs: PatchInput, problem: ActionError | None = None) -> Rehearsal:
    """What can be said without the host."""
    verb = {"apply": "bring", "simulate": "simulate bringing", "inspect": "look at"}[inputs.mode]
    aim = "" if inputs.mode == "inspect" else f" to {inputs.version} by apt-get or dnf"
    would = f"Would {verb} {inputs.package} on {inputs.place}{aim}."
    details: dict[str, Json] = {"package": inputs.package, "to": inputs.version}
    if problem is not None:
        would += f" As things are now it would fail: {problem.message}"
        details["problem"] = problem.code
    effects = [effect_on(inputs, "package", **details)] if inputs.mode == "apply" else []
    return Rehearsal(would, effects, PatchOutput(package=inputs.package, wanted_version=None))
