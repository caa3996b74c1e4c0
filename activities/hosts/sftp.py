"""Files on a host that is connected, over SFTP: look at one, and replace it in one moment.

A file is written beside its target under another name, brought to the disk, and then renamed over it, so that whoever
reads the target sees the old content or the new one, whenever the connection, the worker or the host dies.
"""

from __future__ import annotations

import asyncio
import posixpath
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import asyncssh
from asyncssh.sftp import start_sftp_client

from activities.errors import ActionError
from activities.hosts.session import Host

CLEANING = 0.8
"""Seconds in which the file that was being written is removed after a failure or a cancel."""

AS_ROOT = """
for server in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server \
/usr/libexec/sftp-server; do [ -x "$server" ] && exec "$server"; done; exit 127
"""
"""Starts the SFTP server where the distributions keep it."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Who may do what with a file: permission bits, and the numbers of its owner and group; None: does not matter."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as it is on the host."""

    path: str
    size: int
    attributes: Attributes


class Files:
    """The files of one host."""

    def __init__(self, sftp: asyncssh.SFTPClient, place: str) -> None:
        self.sftp = sftp
        self.place = place

    async def kind(self, path: str) -> tuple[asyncssh.SFTPAttrs, int] | None:
        """What stands at ``path`` itself, a symbolic link included, and its type as in ``stat``; None: nothing."""
        with self.explained(path):
            try:
                found = await self.sftp.lstat(path)
            except asyncssh.SFTPNoSuchFile:
                return None
        return found, stat.S_IFMT(found.permissions or 0)

    async def look(self, path: str) -> RemoteFile | None:
        """The regular file at ``path``; None where there is nothing.

        Raises ``ActionError`` with code ``target_not_a_file`` for anything else, and ``permission_denied``.
        """
        found = await self.kind(path)
        if found is None:
            return None
        attributes, kind = found
        if not stat.S_ISREG(kind):
            what = "a directory" if stat.S_ISDIR(kind) else "no regular file"
            raise ActionError("target_not_a_file", f"{path} on {self.place} is {what}.", retryable=False)
        mode = stat.S_IMODE(attributes.permissions or 0)
        return RemoteFile(path, attributes.size or 0, Attributes(mode, attributes.uid, attributes.gid))

    async def resolve(self, path: str) -> str:
        """The file that the symbolic link at ``path`` leads to."""
        with self.explained(path):
            try:
                resolved = await self.sftp.realpath(path)
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPFailure):
                raise ActionError(
                    "target_is_symlink", f"{path} on {self.place} is a symbolic link to nothing.", retryable=False
                ) from None
        return str(resolved)

    async def read(self, file: RemoteFile, limit: int) -> bytes:
        """The first ``limit`` bytes of ``file``."""
        with self.explained(file.path):
            async with self.sftp.open(file.path, "rb", encoding=None) as opened:
                content = await opened.read(limit)
        assert isinstance(content, bytes)
        return content

    async def make_parents(self, path: str) -> None:
        """Make the directories above ``path`` that are missing."""
        with self.explained(path):
            await self.sftp.makedirs(posixpath.dirname(path), exist_ok=True)

    async def change(self, path: str, attributes: Attributes) -> None:
        """Give the file ``attributes``: the owner first, since a change of owner takes permission bits away."""
        with self.explained(path):
            for values in _steps(attributes):
                await self.sftp.setstat(path, values)

    async def replace(self, path: str, content: bytes, attributes: Attributes, mark: str) -> None:
        """Put ``content`` at ``path`` in one moment.  ``mark`` makes the name under which it is written first.

        Raises ``ActionError``: ``permission_denied``, ``disk_full``, ``rename_unsupported``, ``write_failed``.
        """
        beside = posixpath.join(posixpath.dirname(path), f".{mark}.tmp")
        try:
            with self.explained(path):
                await self._write(beside, content, attributes)
                await self._rename(beside, path)
        except asyncssh.SFTPFailure as error:
            full = await self._is_full(posixpath.dirname(path))
            await self._remove(beside)
            raise self._failure(path, full, error) from None
        except BaseException:
            await self._remove(beside)
            raise

    async def _write(self, beside: str, content: bytes, attributes: Attributes) -> None:
        private = asyncssh.SFTPAttrs(permissions=0o600)
        with suppress(asyncssh.SFTPNoSuchFile):
            await self.sftp.remove(beside)  # left by a worker that died
        # Exclusive: somebody else's link of this name would lead the content elsewhere.
        async with self.sftp.open(beside, "xb", private, encoding=None) as opened:
            await opened.write(content)
            for values in _steps(attributes):
                await opened.setstat(values)
            with suppress(asyncssh.SFTPOpUnsupported):
                await opened.fsync()

    async def _rename(self, beside: str, path: str) -> None:
        try:
            await self.sftp.posix_rename(beside, path)
        except asyncssh.SFTPOpUnsupported:
            if await self.kind(path) is not None:
                raise ActionError(
                    "rename_unsupported",
                    f"The SFTP server of {self.place} cannot replace a file in one moment. Remove {path} beforehand.",
                    retryable=False,
                ) from None
            await self.sftp.rename(beside, path)

    async def _is_full(self, folder: str) -> bool:
        with suppress(OSError, asyncssh.Error):
            space = await self.sftp.statvfs(folder or "/")
            return 0 in (space.bavail, space.favail)
        return False

    async def _remove(self, beside: str) -> None:
        with suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(CLEANING):
                await self.sftp.remove(beside)

    def _failure(self, path: str, full: bool, error: asyncssh.SFTPError) -> ActionError:
        if full:
            return ActionError("disk_full", f"The file system of {path} on {self.place} is full.")
        return ActionError("write_failed", f"{self.place} could not write {path}: {error.reason}.")

    @contextmanager
    def explained(self, path: str) -> Iterator[None]:
        """What the server says of ``path``, in the words of a playbook; a plain failure is for the caller."""
        try:
            yield
        except asyncssh.SFTPPermissionDenied:
            text = f"{self.place} allows the user no access to {path}, or to set its owner."
            raise ActionError("permission_denied", text, retryable=False) from None
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory):
            raise missing_parent(path, self.place) from None
        except (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded) as error:
            raise self._failure(path, True, error) from None


def missing_parent(path: str, place: str) -> ActionError:
    """There is no directory for ``path``."""
    folder = posixpath.dirname(path)
    text = f"{place} has no directory {folder}. Make it beforehand, or say create_parents: true."
    return ActionError("parent_missing", text, retryable=False)


def _steps(attributes: Attributes) -> list[asyncssh.SFTPAttrs]:
    steps = []
    if attributes.uid is not None and attributes.gid is not None:
        steps.append(asyncssh.SFTPAttrs(uid=attributes.uid, gid=attributes.gid))
    if attributes.mode is not None:
        steps.append(asyncssh.SFTPAttrs(permissions=attributes.mode))
    return steps


@asynccontextmanager
async def opened(host: Host, *, sudo: bool = False) -> AsyncIterator[Files]:
    """The files of ``host``, as root by ``sudo`` where that is asked for.

    Raises ``ActionError``: ``sudo_refused``, and ``sftp_missing`` when the server offers no SFTP.
    """
    if sudo:
        await host.run("true", sudo=True)
    try:
        sftp = await (_as_root(host) if sudo else host.connection.start_sftp_client())
    except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as error:
        text = f"{host.place} offers no SFTP: {error.reason}."
        raise ActionError("sftp_missing", text, retryable=False) from None
    async with sftp:
        yield Files(sftp, host.place)


async def _as_root(host: Host) -> asyncssh.SFTPClient:
    command = f"sudo -n -- sh -c '{AS_ROOT.strip()}'"
    writer, reader, _ = await host.connection.open_session(command, encoding=None)
    return await start_sftp_client(
        host.connection, asyncio.get_running_loop(), "strict", reader, writer, "utf-8", "strict", 3
    )
