"""Ways out of the sandbox of ``script.run``, each tried for real: none leads anywhere."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from pathlib import Path

import pytest

from activities.action import ActionContext, ActionError
from activities.script import ScriptInput, ScriptRun
from tests.unit.activities.test_action_script import gone

PREPARED = """
import ctypes, errno, os, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) == 0:
        print("succeeded:", name, arguments)
        sys.exit(1)
    print(errno.errorcode[ctypes.get_errno()])
def refused(act):
    try:
        found = act()
    except (OSError, ValueError) as error:
        print(type(error).__name__)
    else:
        print("succeeded:", found)
        sys.exit(1)
"""


async def attempt(context: ActionContext, script: str, interpreter: str = "python3", **inputs: object) -> str:
    """What the script says; it ends with 0 unless something succeeded that must not."""
    text = PREPARED + script if interpreter == "python3" else script
    given = {"script": text, "interpreter": interpreter, **inputs}
    return (await ScriptRun().run(ScriptInput.model_validate(given), context)).stdout


@pytest.mark.parametrize(
    "script",
    [
        'call("mount", b"none", b"/tmp", b"tmpfs", 0, None)',
        'call("mount", b"/usr", b"/tmp", None, 4096, None)',
        'call("mount", None, b"/", None, 32 | 4096, None)',
        'call("umount2", b"/proc", 2)',
        'os.mkdir("/tmp/old"); call("pivot_root", b"/tmp", b"/tmp/old")',
        'call("chroot", b"/tmp")',
        'call("unshare", 0x10000000)',
        'call("unshare", 0x00020000)',
        'call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)',
        'call("sethostname", b"x", 1)',
        'call("swapon", b"/tmp/x", 0)',
    ],
)
async def test_no_mount_and_no_namespace(context: ActionContext, script: str) -> None:
    """Neither a new file system, nor an old one writable, nor another root or namespace."""
    assert (await attempt(context, script)).strip() in ("EPERM", "ENOSPC", "EINVAL", "EACCES")


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/sys/vm/drop_caches",
        "/proc/1/oom_score_adj",
        "/proc/1/mem",
    ],
)
async def test_proc_is_not_written(context: ActionContext, path: str) -> None:
    """Nothing of the kernel, nor of the first process, can be set."""
    script = f'refused(lambda: os.write(os.open("{path}", os.O_WRONLY), b"-1000"))'
    assert "Error" in await attempt(context, script)


@pytest.mark.parametrize("path", ["/proc/1/root", "/proc/self/root", "/proc/self/cwd/..", "/proc/thread-self/root"])
async def test_proc_leads_to_no_other_root(context: ActionContext, tmp_path: Path, path: str) -> None:
    """Its links lead into the sandbox again."""
    (tmp_path / "secret").write_text("x")
    assert "Error" in await attempt(context, f'refused(lambda: open("{path}{tmp_path}/secret").read())')


@pytest.mark.parametrize(
    "path", ["/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/sda", "/dev/fuse", "/dev/kvm"]
)
async def test_no_memory_and_no_device_of_the_host(context: ActionContext, path: str) -> None:
    """Nothing of them can be read."""
    assert "Error" in await attempt(context, f'refused(lambda: os.read(os.open("{path}", os.O_RDONLY), 1))')


async def test_devices_are_the_harmless_ones(context: ActionContext) -> None:
    """No terminal, no disk; what is there gives or swallows bytes."""
    found = set((await attempt(context, "ls /dev", "sh")).split())
    harmless = "core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert found <= set(harmless.split())
    assert "Error" in await attempt(context, 'refused(lambda: os.open("/dev/tty", os.O_RDWR))')


async def test_no_device_node_can_be_made(context: ActionContext) -> None:
    """Not a block device, not a character device."""
    script = """
for kind, major, minor in ((stat.S_IFBLK, 8, 0), (stat.S_IFBLK, 254, 0), (stat.S_IFCHR, 1, 1)):
    refused(lambda: os.mknod("/tmp/node", kind | 0o666, os.makedev(major, minor)))
"""
    assert (await attempt(context, script)).split() == ["PermissionError"] * 3


async def test_a_socket_without_a_path_is_not_reached(context: ActionContext) -> None:
    """Abstract sockets belong to the network of the host, which is another one."""
    name = f"\0stanchion-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        script = f"import socket; refused(lambda: socket.socket(socket.AF_UNIX).connect({name!r}))"
        assert (await attempt(context, script)).strip() == "ConnectionRefusedError"


async def test_a_socket_with_a_path_is_not_seen(context: ActionContext, tmp_path: Path) -> None:
    """Nor those where Docker, D-Bus and systemd listen."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        paths = [str(tmp_path / "s"), "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/run/systemd/private"]
        script = f"import socket\nfor path in {paths!r}: refused(lambda: socket.socket(socket.AF_UNIX).connect(path))"
        assert (await attempt(context, script)).split() == ["FileNotFoundError"] * len(paths)


async def test_no_raw_socket(context: ActionContext) -> None:
    """Nothing can be sniffed or forged."""
    script = """
import socket
refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
"""
    assert (await attempt(context, script)).split() == ["PermissionError"] * 2


async def test_processes_of_the_host_cannot_be_touched(context: ActionContext) -> None:
    """Not traced, not read, not signalled: their numbers mean nothing inside."""
    script = f"""
target = {os.getpid()}
if target > 100:
    call("ptrace", 16, target, 0, 0)
    refused(lambda: os.kill(target, 0))
refused(lambda: open("/proc/%d/environ" % max(target, 101)).read())
refused(lambda: os.pidfd_open(max(target, 101)))
"""
    assert "succeeded" not in await attempt(context, script)


async def test_a_fork_bomb_ends_with_its_time(context: ActionContext) -> None:
    """The machine stays usable, the script fails, and nothing of it is left."""
    mark = f"bomb-{secrets.token_hex(8)}"
    with pytest.raises(ActionError):
        await attempt(context, f"b() {{ b | b & }}; : {mark}; b; sleep 60", "bash", timeout_seconds=2)
    assert await gone(mark)
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0


@pytest.mark.parametrize("path", ["/etc/shadow", "/root", "/home", "/var/lib", "/boot", "/sys/kernel"])
async def test_a_link_leads_no_further_than_its_path(context: ActionContext, path: str) -> None:
    """What is not there is not there by a link either."""
    script = f'os.symlink("{path}", "/tmp/link"); refused(lambda: os.stat("/tmp/link"))'
    assert "Error" in await attempt(context, script)


async def test_no_link_and_no_rename_makes_the_system_writable(context: ActionContext) -> None:
    """A hard link would keep a program that is replaced; a symbolic one leads to what is read-only."""
    script = """
refused(lambda: os.link("/usr/bin/env", "/tmp/env"))
os.symlink("/usr/bin", "/tmp/bin")
refused(lambda: open("/tmp/bin/new", "w"))
refused(lambda: os.rename("/usr/bin/env", "/tmp/env"))
refused(lambda: os.chmod("/usr/bin/env", 0o4755))
refused(lambda: os.unlink("/usr/bin/env"))
"""
    assert (await attempt(context, script)).split() == ["OSError"] * 5


async def test_no_program_gives_another_user(context: ActionContext) -> None:
    """Neither the system's setuid programs nor one that the script makes: there are no new privileges."""
    script = """
import shutil, subprocess
refused(lambda: os.setuid(0))
refused(lambda: os.setgroups([0]))
shutil.copy("/usr/bin/id", "/tmp/id")
os.chmod("/tmp/id", 0o6755)
print(subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True).stdout.strip())
found = subprocess.run("find / -xdev -perm /6000 -type f", shell=True, capture_output=True, text=True)
for program in found.stdout.split():
    if program.endswith("/su"):
        told = subprocess.run([program, "-c", "id -u"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        print("su:", told.stdout.strip() or "nothing")
print([line for line in open("/proc/self/status") if line.startswith("NoNewPrivs")][0].split()[1])
"""
    lines = (await attempt(context, script)).split("\n")
    assert [line.endswith("Error") for line in lines[:2]] == [True, True]
    assert lines[2] not in ("0", "")
    assert "su: 0" not in lines
    assert lines[-2] == "1"


async def test_limits_cannot_be_raised(context: ActionContext) -> None:
    """Those of memory, processes and files are the hard ones."""
    script = """
import resource
for limit in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
    soft, hard = resource.getrlimit(limit)
    assert hard != resource.RLIM_INFINITY, limit
    refused(lambda: resource.setrlimit(limit, (hard + 1, hard + 1)))
"""
    assert "succeeded" not in await attempt(context, script)


async def test_nothing_but_the_three_streams_is_inherited(context: ActionContext) -> None:
    """No file of the worker is open inside, and no directory from which one could climb out."""
    script = """
for name in os.listdir("/proc/self/fd"):
    try:
        print(name, os.readlink("/proc/self/fd/" + name))
    except OSError:
        pass
"""
    lines = (await attempt(context, script)).splitlines()
    others = [line for line in lines if line.split()[0] not in ("0", "1", "2")]
    assert all(line.split(maxsplit=1)[1].startswith(("/proc/", "/script", "/tmp")) for line in others), others


CALLS = {
    "x86_64": {"bpf": 321, "perf_event_open": 298, "kexec_load": 246, "init_module": 175, "reboot": 169},
    "aarch64": {"bpf": 280, "perf_event_open": 241, "kexec_load": 104, "init_module": 105, "reboot": 142},
}
"""Numbers of calls that need a capability."""


@pytest.mark.parametrize("call", ["bpf", "perf_event_open", "kexec_load", "init_module", "reboot"])
async def test_the_kernel_is_asked_in_vain(context: ActionContext, call: str) -> None:
    """Calls that need a capability get none."""
    number = CALLS.get(os.uname().machine, CALLS["aarch64"])[call]
    script = f"""
libc.syscall.restype = ctypes.c_long
found = libc.syscall({number}, 3, 0, 0, 0, 0)
print("refused" if found < 0 else "succeeded")
"""
    assert (await attempt(context, script)).strip() == "refused"
