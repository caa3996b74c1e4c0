"""``scan.host``: what Lynis finds on a host, reached over SSH, or on the worker's own."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from activities.action import Action, ActionContext, ActionError, OutputModel
from activities.findings import Finding, Severity, merged, tally
from activities.hosts.target import HOST_NAME, HostInput
from activities.scans.child import run_child
from activities.scans.lynis import (
    MISSING,
    NO_FOLDER,
    Answer,
    facts_of,
    findings_of,
    read_answer,
    read_report,
    read_ssh,
    script,
    tidy,
)
from playbooks.record import Json

OUTPUT_BYTES = 8 * 1024 * 1024
TIDYING = 0.5
"""Seconds in which a scan that was ended takes its files away."""

SHOWN = 500


class HostScanInput(HostInput):
    """The host, and which tests run there."""

    host: Annotated[
        str,
        Field(
            pattern=rf"^$|{HOST_NAME}",
            description="Name or address of the host; empty for the machine that the worker runs on.",
        ),
    ] = ""
    sudo: Annotated[
        bool, Field(description="Scan as root by sudo, which must ask for no password. Without root much is not seen.")
    ] = False
    groups: Annotated[
        list[Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]],
        Field(
            max_length=50,
            description="Only the tests of these groups (`lynis show groups`): faster, and without the facts of a "
            "whole scan. By default all.",
        ),
    ] = Field(default_factory=list)
    timeout_seconds: Annotated[int, Field(ge=5, le=3600, description="The scan is ended after that.")] = 900
    asset: Annotated[
        str | None,
        Field(min_length=1, max_length=300, description="What the findings are about; by default the host's own name."),
    ] = None

    @model_validator(mode="after")
    def _local_without_login(self) -> Self:
        if not self.host and (self.sudo or self.jump is not None):
            raise ValueError("sudo and jump are for a host that is reached over SSH")
        return self


class HostScanOutput(OutputModel):
    """What was found."""

    findings: Annotated[
        list[Finding], Field(description="Packages with known holes: high; warnings: medium; suggestions: low.")
    ]
    severities: Annotated[dict[str, int], Field(description="How many findings of each severity there are.")]
    worst: Annotated[Severity | None, Field(description="The worst severity; null without a finding.")]
    facts: Annotated[
        dict[str, Json],
        Field(
            description="What is true of the host, for `policy.compare`: `hostname`, `os`, `packages`, "
            "`vulnerable_packages`, `firewall`, `access_control`, `ssh` (effective settings of the server, as root), "
            "`details`, `report` (every value of Lynis's report), and of a whole scan `hardening_index`, `warnings`, "
            "`suggestions`. What was not looked at is not there."
        ),
    ]
    hostname: str
    os: Annotated[str, Field(description="Full name of the operating system.")]
    hardening_index: Annotated[int | None, Field(description="Lynis's own index, 0 to 100; null for a part of a scan.")]
    warnings: int
    suggestions: int
    packages: Annotated[int | None, Field(description="How many are installed; null where that was not looked at.")]
    tests: Annotated[int, Field(description="How many tests ran.")]
    as_root: Annotated[bool, Field(description="Whether the scan ran as root; without, many tests are left out.")]
    whole: Annotated[bool, Field(description="Whether all tests were asked for.")]
    scanner: Annotated[str, Field(description="Lynis and its version.")]


class HostScan(Action[HostScanInput, HostScanOutput]):
    """Scans a host with Lynis: hardening, updates, services, logins, firewall.

    Lynis must be installed on the host (`apt-get install lynis`); nothing is installed or changed there. It runs for a
    minute or two. A cancel kills it there. With `host` empty it scans the machine that the worker runs on.
    """

    name = "scan.host"
    title = "Scan a host"
    Input = HostScanInput
    Output = HostScanOutput
    safe = idempotent = True
    errors: ClassVar[Mapping[str, str]] = {
        "scanner_missing": "There is no Lynis on the host.",
        "scan_failed": "Lynis did not come to its end; the message has what it said.",
        "invalid_report": "The host answered something that is no report of Lynis.",
        "timed_out": "The scan did not end within timeout_seconds, or the login within connect_timeout.",
        "output_limit": "The report has more than 8 MiB.",
        "sudo_refused": "The user may not use sudo without a password.",
        "shell_missing": "The host runs no POSIX shell.",
        "egress_refused": "The host is not one that actions may reach.",
        "resolve_failed": "The name of the host has no address.",
        "connect_failed": "Nothing answers there.",
        "connection_lost": "The connection broke; worth a retry.",
        "host_key_unknown": "Nobody has trusted the host's key: stanchion host trust.",
        "host_key_changed": "The host shows another key than the trusted one.",
        "store_unavailable": "The database with the trusted host keys cannot be read now; worth a retry.",
        "login_refused": "The host refused the login.",
        "no_credentials": "Neither a private key nor a password is given.",
        "invalid_key": "The private key cannot be used.",
        "ssh_failed": "The host speaks SSH in a way that is not taken.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "{{ asset.ip }}",
        "username": "audit",
        "sudo": True,
        "private_key": "{{ secrets.ssh_key }}",
    }

    async def run(self, inputs: HostScanInput, context: ActionContext) -> HostScanOutput:
        """Scan.  Raises ``ActionError`` with the codes in ``errors``."""
        answer = await (_remote(inputs, context) if inputs.host else _local(inputs))
        return await asyncio.to_thread(_output, inputs, answer)


async def _remote(inputs: HostScanInput, context: ActionContext) -> Answer:
    from activities.hosts.connection import connected

    folder = f"/tmp/stanchion-scan-{secrets.token_hex(8)}"
    async with connected(inputs, context) as host:
        try:
            async with asyncio.timeout(inputs.timeout_seconds):
                done = await host.run(script(folder, inputs.groups), limit=OUTPUT_BYTES, sudo=inputs.sudo)
        except BaseException as error:
            tidying = asyncio.ensure_future(host.run(tidy(folder), sudo=inputs.sudo))
            # Shielded by asyncio.wait(): the cancel that brings us here has been told once already.
            await asyncio.wait({tidying}, timeout=TIDYING)
            tidying.cancel()
            await asyncio.gather(tidying, return_exceptions=True)
            if isinstance(error, TimeoutError):
                raise _too_slow(inputs.place, inputs.timeout_seconds) from None
            raise
    return _answer(inputs.place, done.exit_code, done.text, done.said())


async def _local(inputs: HostScanInput) -> Answer:
    home = tempfile.mkdtemp(prefix="stanchion-scan-")
    command = ["/bin/sh", "-c", script(f"{home}/scan", inputs.groups)]
    try:
        ended = await run_child(
            command, seconds=inputs.timeout_seconds, output_bytes=OUTPUT_BYTES, environment={"HOME": home}
        )
    except ActionError as error:
        if error.code == "timed_out":
            raise _too_slow("this worker", inputs.timeout_seconds) from None
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return _answer("This worker", ended.exit_code, ended.stdout.decode("utf-8", "replace"), ended.stderr)


def _answer(place: str, exit_code: int, text: str, said: str) -> Answer:
    said = " ".join(said.split())[-SHOWN:]
    if exit_code == MISSING:
        message = f"{place} has no lynis: install it there (apt-get install lynis)."
        raise ActionError("scanner_missing", message, retryable=False)
    if exit_code == NO_FOLDER:
        raise ActionError("scan_failed", f"{place}: no folder for the report can be made in /tmp: {said}.")
    if exit_code != 0:
        raise ActionError("scan_failed", f"{place}: the scan ended with exit code {exit_code}: {said or 'no word'}.")
    answer = read_answer(text)
    if not answer.report.strip():
        raise ActionError("scan_failed", f"{place}: Lynis ended with {answer.exit_code} and no report: {said}.")
    return answer


def _too_slow(place: str, seconds: int) -> ActionError:
    return ActionError("timed_out", f"{place}: Lynis did not end within {seconds} s.")


def _output(inputs: HostScanInput, answer: Answer) -> HostScanOutput:
    report = read_report(answer.report)
    if not report.finished:
        raise ActionError("scan_failed", f"Lynis on {inputs.host or 'this worker'} did not come to its end.")
    facts = facts_of(report, read_ssh(answer.ssh))
    found = merged(findings_of(report, inputs.asset or report.get("hostname") or inputs.host))
    index = facts.get("hardening_index")
    return HostScanOutput(
        findings=found,
        severities=tally(one.severity for one in found),
        worst=found[0].severity if found else None,
        facts=facts,
        hostname=report.get("hostname"),
        os=report.get("os_fullname") or report.get("os_name"),
        hardening_index=index if isinstance(index, int) else None,
        warnings=len(report.all("warning")),
        suggestions=len(report.all("suggestion")),
        packages=len(facts["packages"]) if "packages" in facts else None,
        tests=len(report.executed),
        as_root=answer.user == "0",
        whole=report.whole,
        scanner=f"Lynis {report.get('lynis_version')}",
    )
