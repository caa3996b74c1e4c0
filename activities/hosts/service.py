"""``service.restart``: a service of a host restarted or reloaded, and seen to be well afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from activities.action import Action, ActionContext, ActionError, OutputModel, Rehearsal
from activities.error_advice import SSH_ERRORS
from activities.hosts.target import HostInput, effect_on
from playbooks.record import Json

if TYPE_CHECKING:
    from activities.hosts.service_managers import ServiceManager, ServiceState

POLL = 0.25

Operation = Literal["restart", "reload"]


class ServiceInput(HostInput):
    """Which service, and what is done with it."""

    service: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,200}$",
            description="Its name: nginx, nginx.service, or that of its script in /etc/init.d.",
        ),
    ]
    operation: Annotated[
        Operation,
        Field(
            description="reload: have it read its configuration again, without a restart. A service that does not "
            "run is started by restart, and cannot be reloaded."
        ),
    ] = "restart"
    settle_seconds: Annotated[
        float, Field(ge=0, le=300, description="It must be well for so long after the operation.")
    ] = 3.0
    timeout_seconds: Annotated[
        int, Field(ge=1, le=3600, description="The operation itself must have ended within that.")
    ] = 90
    sudo: Annotated[bool, Field(description="Work as root by sudo, which must ask for no password.")] = False


class ServiceOutput(OutputModel):
    """The service before and after."""

    service: str
    manager: Annotated[Literal["systemd", "sysv"] | None, Field(description="What runs the host's services.")] = None
    state_before: Annotated[str | None, Field(description="active, inactive, failed, …")] = None
    state_after: str | None = None
    pid_before: Annotated[int | None, Field(description="Its main process, where that is known.")] = None
    pid_after: int | None = None
    restarts: Annotated[int | None, Field(description="How often systemd had to restart it by itself.")] = None


class ServiceRestart(Action[ServiceInput, ServiceOutput]):
    """Restarts or reloads a service, and fails unless it is well for a while afterwards.

    With systemd where the host runs it, or else with the scripts in /etc/init.d.  The error of a service that did not
    come up has the end of its log.  A cancel ends the watching; a restart that has begun is finished by the host.
    """

    name = "service.restart"
    title = "Restart a service"
    rehearsal = (
        "Reads the service's state on the host; with dry_run_reads: false it connects to nothing and says what it "
        "would do."
    )
    Input = ServiceInput
    Output = ServiceOutput
    idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        **SSH_ERRORS,
        "unknown_service": "The host has no such service.",
        "service_masked": "Somebody has masked the service, so that nobody starts it.",
        "not_running": "A service that does not run cannot be reloaded.",
        "reload_unsupported": "The service cannot be reloaded; restart it.",
        "operation_failed": "The host could not do it; the message has the end of the service's log.",
        "service_failed": "The service ended again within settle_seconds; the message has the end of its log.",
        "operation_timed_out": "It had not ended within timeout_seconds; the host goes on with it.",
        "permission_denied": "The user may not do that; log in as root, or say sudo: true.",
        "manager_missing": "The host runs neither systemd nor scripts in /etc/init.d.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "{{ asset.hostname }}",
        "username": "ops",
        "private_key": "{{ secrets.ssh_key }}",
        "sudo": True,
        "service": "nginx",
        "operation": "reload",
    }

    async def run(self, inputs: ServiceInput, context: ActionContext) -> ServiceOutput:
        """Do it, and watch it for ``settle_seconds``.

        Raises ``ActionError``: the class's ``errors``, and what ``connected`` and ``Host.run`` raise.
        """
        from activities.hosts.connection import connected
        from activities.hosts.service_managers import service_manager

        async with connected(inputs, context) as host:
            manager = await service_manager(host, inputs.service, sudo=inputs.sudo)
            before = await _checked(manager, inputs)
            await manager.operate(inputs.operation, inputs.timeout_seconds)
            after = await _settled(manager, inputs)
        return ServiceOutput(
            service=inputs.service,
            manager=manager.name,
            state_before=before.state,
            state_after=after.state,
            pid_before=before.pid,
            pid_after=after.pid,
            restarts=after.restarts,
        )

    async def rehearse(self, inputs: ServiceInput, context: ActionContext) -> Rehearsal:
        """Say what would be done, and to what, where that may be looked at."""
        would = f"Would {inputs.operation} {inputs.service} on {inputs.place}"
        details: dict[str, Json] = {"service": inputs.service, "operation": inputs.operation}
        if not context.dry_run_reads:
            effect = effect_on(inputs, "service", **details)
            return Rehearsal(f"{would}.", [effect], ServiceOutput(service=inputs.service))
        try:
            return await _foreseen(inputs, context, would, details)
        except ActionError as error:
            # An earlier step, which was only rehearsed, may be what is missing: so this is told, not raised.
            text = f"{would}. As things are now it would fail: {error.message}"
            effect = effect_on(inputs, "service", **details, problem=error.code)
            return Rehearsal(text, [effect], ServiceOutput(service=inputs.service))


async def _foreseen(inputs: ServiceInput, context: ActionContext, would: str, details: dict[str, Json]) -> Rehearsal:
    from activities.hosts.connection import connected
    from activities.hosts.service_managers import service_manager

    async with connected(inputs, context) as host:
        manager = await service_manager(host, inputs.service, sudo=inputs.sudo)
        state = await _checked(manager, inputs)
    output = ServiceOutput(
        service=inputs.service,
        manager=manager.name,
        state_before=state.state,
        state_after="active",
        pid_before=state.pid,
    )
    effect = effect_on(inputs, "service", **details, state=state.state)
    return Rehearsal(f"{would}, which is {state.state}.", [effect], output)


async def _checked(manager: ServiceManager, inputs: ServiceInput) -> ServiceState:
    """The state before.  Raises ``ActionError`` where the operation makes no sense."""
    state = await manager.state()
    where = f"{inputs.service} on {inputs.place}"
    if not state.known:
        raise ActionError("unknown_service", f"{inputs.place} has no service {inputs.service}.", retryable=False)
    if state.masked:
        raise ActionError("service_masked", f"{where} is masked, so that nobody starts it.", retryable=False)
    if inputs.operation == "reload" and not state.running:
        raise ActionError(
            "not_running", f"{where} does not run ({state.state}), so it cannot be reloaded.", retryable=False
        )
    if inputs.operation == "reload" and not state.reloads:
        raise ActionError("reload_unsupported", f"{where} cannot be reloaded; restart it instead.", retryable=False)
    return state


async def _settled(manager: ServiceManager, inputs: ServiceInput) -> ServiceState:
    """The state after it was as it should be for the whole time.  Raises ``ActionError``: ``service_failed``."""
    loop = asyncio.get_running_loop()
    state = await manager.state()
    first = state
    end = loop.time() + inputs.settle_seconds
    while True:
        # Another main process, or another count, is a service that dies and is started again and again.
        same = (state.pid, state.restarts) == (first.pid, first.restarts)
        if not (state.finished or (state.running and same)):
            log = await manager.log_tail()
            text = f"{inputs.service} on {inputs.place} is {state.state} after the {inputs.operation}"
            raise ActionError("service_failed", f"{text}: {log}" if log else f"{text}.")
        if loop.time() >= end:
            return state
        await asyncio.sleep(min(POLL, max(end - loop.time(), 0)))
        state = await manager.state()
