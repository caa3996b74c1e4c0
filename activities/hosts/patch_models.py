"""What ``package.patch`` is told, and what it tells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from activities.action import OutputModel
from activities.hosts.packages import LATEST, VERSION, PackageChange
from activities.hosts.stale import StaleProcess
from activities.hosts.target import HostInput


class PatchInput(HostInput):
    """Which package, to which version, and how far to go."""

    package: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_:-]{0,199}$", description="Name as the package manager has it.")
    ]
    version: Annotated[
        str,
        Field(
            description="Version to reach: latest, or one such as 3.0.17-1~deb12u2. The epoch and the distribution's "
            "revision may be left out: 3.0.17 means the newest build of it."
        ),
    ] = LATEST
    mode: Annotated[
        Literal["apply", "simulate", "inspect"],
        Field(
            description="apply: bring it there. simulate: have the package manager say what it would do. inspect: only "
            "tell what is installed and what there is; the last two change nothing and run in a dry run too."
        ),
    ] = "apply"
    refresh: Annotated[
        bool | None,
        Field(
            description="Fetch the package index before. null: only to apply, since it changes files of the host; "
            "index_age_seconds of the output says how old it is."
        ),
    ] = None
    install: Annotated[bool, Field(description="Install the package where it is missing; false: that is an error.")] = (
        False
    )
    allow_downgrade: Annotated[
        bool, Field(description="Go back to an older version, as a rollback does; false: a newer one is fine.")
    ] = False
    ignore_hold: Annotated[bool, Field(description="Change a package that somebody has put on hold.")] = False
    allow_removals: Annotated[bool, Field(description="Let the package manager remove other packages for it.")] = False
    configuration: Annotated[
        Literal["keep", "replace"],
        Field(
            description="Configuration files that were changed on the host: keep them, or take the package's. rpm "
            "decides by itself. Those that were kept beside a new one are in the output."
        ),
    ] = "keep"
    lock_timeout: Annotated[
        int, Field(ge=0, le=3600, description="Seconds to wait for another package manager that is at work.")
    ] = 300
    manager: Annotated[
        Literal["auto", "apt", "dnf"], Field(description="The host's package manager; auto: ask the host.")
    ] = "auto"
    sudo: Annotated[bool, Field(description="Work as root by sudo, which must ask for no password.")] = False

    @field_validator("version")
    @classmethod
    def _version(cls, version: str) -> str:
        if not VERSION.fullmatch(version):
            raise ValueError("a version is letters, digits and . + ~ ^ : - _, with a letter or a digit first")
        return version

    @property
    def refreshes(self) -> bool:
        """True when the index is fetched before."""
        return self.mode == "apply" if self.refresh is None else self.refresh


class PatchOutput(OutputModel):
    """The package as it is now, and what was done."""

    manager: Annotated[Literal["apt", "dnf"] | None, Field(description="What the host has.")] = None
    package: Annotated[str, Field(description="The package.")]
    architecture: str | None = None
    installed_version: Annotated[str | None, Field(description="What is installed; null: it is not.")] = None
    previous_version: Annotated[str | None, Field(description="What was installed before this step.")] = None
    wanted_version: Annotated[
        str | None, Field(description="The version that is meant, in full; null when the host knows none.")
    ] = None
    candidate_version: Annotated[str | None, Field(description="What the host would install by itself.")] = None
    available_versions: Annotated[list[str], Field(description="The newest first, at most 50.")] = Field(
        default_factory=list
    )
    satisfied: Annotated[
        bool | None,
        Field(description="The wanted version, or a newer one, is installed. null in a rehearsal that cannot look."),
    ] = None
    held: Annotated[bool, Field(description="Somebody has put it on hold.")] = False
    changed: Annotated[bool, Field(description="False when nothing had to be done.")] = False
    changes: Annotated[list[PackageChange], Field(description="What happened, or would, to each package.")] = Field(
        default_factory=list
    )
    configuration_kept: Annotated[list[str], Field(description="Files that stayed beside a new one.")] = Field(
        default_factory=list
    )
    reboot_required: Annotated[
        bool | None, Field(description="The host asks for a reboot; null: it has no way to tell.")
    ] = None
    restart_needed: Annotated[
        list[StaleProcess], Field(description="Processes that still run what is no longer on the disk.")
    ] = Field(default_factory=list)
    index_age_seconds: Annotated[int | None, Field(description="Since the package index was fetched.")] = None
