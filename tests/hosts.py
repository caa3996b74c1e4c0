"""A host for tests: a Debian machine of its own to look at, reached over a real sshd on a free port of the loopback.

It is this machine's own system under an overlay in memory, in namespaces of its own for mounts and processes: packages
are really installed and files really written, and all of it is gone with the host.  Needs root, for the namespaces.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

from tests.failures.namespaces import Network

OPS_PASSWORD = "correct horse battery"
START_SECONDS = 30.0

# The overlay's upper layer must not lie on an overlay itself, as the root of a container does: it lies in memory.
BOOT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$BASE"
mkdir "$BASE/upper" "$BASE/work" "$BASE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" "$BASE/root"
mount -t proc proc "$BASE/root/proc"
mount --rbind /dev "$BASE/root/dev"
mount -t tmpfs -o mode=755 tmpfs "$BASE/root/run"
mount -t tmpfs -o mode=1777 tmpfs "$BASE/root/tmp"
mkdir -p "$BASE/root/run/sshd" "$BASE/root/host"
cp -r "$FILES/." "$BASE/root/host/"
chmod 755 "$BASE/root/host"
chmod 600 "$BASE/root/host"/key_*
$CONTROL_GROUPS
exec chroot "$BASE/root" /bin/sh -eu /host/init
"""

# systemd wants its control groups: its own hierarchy, or the only one there is.  Below a group of this host alone, so
# that nothing of it stays in those of the machine.
CONTROL_GROUPS = r"""
groups="$BASE/root/sys/fs/cgroup"
mount -t sysfs -o ro sysfs "$BASE/root/sys"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 "$groups"
else
    mount -t tmpfs tmpfs "$groups"
    mkdir "$groups/systemd" "$groups/unified"
    mount -t cgroup -o none,name=systemd cgroup "$groups/systemd"
    mount -t cgroup2 cgroup2 "$groups/unified"
fi
"""

INIT = r"""
usermod -p '*' root
id ops >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ops
echo "ops:$OPS_PASSWORD" | chpasswd
mkdir -p /etc/sudoers.d
echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops
chmod 440 /etc/sudoers.d/ops
"""

SYSTEMD = r"""
rm -rf /etc/systemd/system/*.wants
for unit in systemd-udevd systemd-udev-trigger systemd-logind systemd-resolved systemd-timesyncd systemd-sysctl; do
    ln -sf /dev/null "/etc/systemd/system/$unit.service"
done
cat > /etc/systemd/system/host.target <<END
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service systemd-journald.socket dbus.socket host-sshd.service
END
cat > /etc/systemd/system/host-sshd.service <<END
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/sbin/sshd -D -e -f /host/sshd_config
KillMode=process
END
printf '0123456789abcdef0123456789abcdef\n' > /etc/machine-id
exec env container=docker /lib/systemd/systemd --system --unit=host.target --show-status=0
"""
"""Ends ``init`` on a host whose services are run by systemd."""

SSHD = """
Port {port}
ListenAddress {address}
HostKey /host/key_ed25519
HostKey /host/key_rsa
AuthorizedKeysFile /host/authorized_keys
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication yes
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""


@dataclass
class Machine:
    """A host that runs; ``private_key`` logs ``root`` and ``ops`` in, ``OPS_PASSWORD`` only ``ops``."""

    folder: Path
    port: int
    private_key: str
    host_key: str
    process: subprocess.Popen[bytes] = field(repr=False)
    address: str = "127.0.0.1"

    def login(self, **changes: object) -> dict[str, object]:
        """The parameters of an action that log in as root, with ``changes``."""
        return {
            "host": self.address,
            "port": self.port,
            "private_key": self.private_key,
            "host_key": [self.host_key],
            **changes,
        }

    def inside(self, command: str, check: bool = True) -> str:
        """The output of ``command``, run as root on the host without any SSH."""
        pid = _first_process(self.process.pid)
        entered = [
            "nsenter",
            f"--target={pid}",
            "--mount",
            "--pid",
            "--net",
            f"--root=/proc/{pid}/root",
            f"--wd=/proc/{pid}/root",
        ]
        done = subprocess.run(
            [*entered, "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def log(self) -> str:
        """What booting and sshd said."""
        return (self.folder / "log").read_text()


@contextmanager
def running_machine(
    folder: Path,
    prepare: str = "",
    *,
    files: dict[str, bytes] | None = None,
    systemd: bool = False,
    network: Network | None = None,
) -> Iterator[Machine]:
    """A host that is up.  ``prepare`` runs on it as root before sshd does, with ``files`` in ``/host``.

    ``folder``: of the test's own.  ``systemd``: it runs the services.  ``network``: it is the host of this name in
    there, ``web``, with a packet filter of its own; otherwise it is reached by the loopback.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.fail("A host for tests needs root: run the tests as root, or leave out those of real hosts.")
    base, shared = folder / "base", folder / "files"
    base.mkdir()
    shared.mkdir()
    port = _free_port()
    address = network.address("web") if network else "127.0.0.1"
    client = asyncssh.generate_private_key("ssh-ed25519")
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    (shared / "key_ed25519").write_bytes(host_key.export_private_key())
    (shared / "key_rsa").write_bytes(asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_private_key())
    (shared / "authorized_keys").write_bytes(client.export_public_key())
    (shared / "sshd_config").write_text(SSHD.format(port=port, address=address))
    sshd = SYSTEMD if systemd else "exec /usr/sbin/sshd -D -e -f /host/sshd_config"
    (shared / "init").write_text("\n".join([INIT, prepare, sshd]) + "\n")
    for name, content in (files or {}).items():
        (shared / name).parent.mkdir(parents=True, exist_ok=True)
        (shared / name).write_bytes(content)
    groups = ControlGroups(f"stanchion-{port}") if systemd else None
    process = _boot(folder, base, shared, groups, network.inside("web") if network else [])
    machine = Machine(
        folder,
        port,
        client.export_private_key().decode(),
        " ".join(host_key.export_public_key().decode().split()[:2]),
        process,
        address,
    )
    try:
        _wait(machine)
        yield machine
    finally:
        # The first process of its namespace dies with it, and with that one the kernel kills all others.
        process.kill()
        process.wait()
        if groups:
            groups.remove()


@dataclass(frozen=True)
class ControlGroups:
    """Control groups of a host alone, in each hierarchy that systemd uses."""

    name: str

    @property
    def folders(self) -> list[Path]:
        root = Path("/sys/fs/cgroup")
        hierarchies = [root] if (root / "cgroup.controllers").exists() else [root / "systemd", root / "unified"]
        return [hierarchy / self.name for hierarchy in hierarchies]

    def enter(self) -> str:
        """The shell commands that put the shell into them."""
        return "".join(f"mkdir {folder} && echo $$ > {folder}/cgroup.procs || exit 1\n" for folder in self.folders)

    def remove(self) -> None:
        """Remove them, with those that systemd has made below, once their processes are gone."""
        deadline = time.monotonic() + START_SECONDS
        for folder in self.folders:
            while folder.exists() and time.monotonic() < deadline:
                subprocess.run(
                    ["find", str(folder), "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
                    check=False,
                    capture_output=True,
                )
                time.sleep(0.02)


def _boot(
    folder: Path, base: Path, shared: Path, groups: ControlGroups | None, inside: list[str]
) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "BASE": str(base),
        "FILES": str(shared),
        "OPS_PASSWORD": OPS_PASSWORD,
        "LANG": "C.UTF-8",
    }
    boot = BOOT.replace("$CONTROL_GROUPS", CONTROL_GROUPS if groups else "")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "sh", "-c", boot]
    if groups:
        command.insert(1, "--cgroup")
        command = ["sh", "-c", groups.enter() + 'exec "$@"', "sh", *command]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*inside, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def _wait(machine: Machine) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if machine.process.poll() is not None:
            pytest.fail(f"The host for tests did not start; it needs namespaces and an overlay. {machine.log()}")
        with suppress(OSError), socket.create_connection((machine.address, machine.port), timeout=1) as probe:
            if probe.recv(4) == b"SSH-":
                return
        time.sleep(0.02)
    pytest.fail(f"The host for tests did not start in {START_SECONDS:g} s. {machine.log()}")


def _first_process(unshare: int) -> int:
    """The process with number 1 on the host: the only child of ``unshare``."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
    return int(children[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def quoted(text: str) -> str:
    """``text`` as one word for ``Machine.inside``."""
    return shlex.quote(text)
